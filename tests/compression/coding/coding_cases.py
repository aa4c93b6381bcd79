"""Small models with zeros, and files of them."""

import zlib

import numpy as np

import minigrad
from minigrad import nn
from minigrad.compression.coding import Storage

INPUT = (1, 12, 12)
STORAGES = [
    {},
    {"0": Storage("float", 16), "3": Storage("integer")},
    {"0": Storage("codebook", 3, 2), "5": Storage("integer", 4), "7": Storage("codebook", 2, 3)},
]


def small_model(seed=0, zeros=0.7):
    """Every kind of layer; about `zeros` of the weights are zero."""
    minigrad.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, bias=False, stride=(1, 2)),
        nn.Flatten(), nn.Linear(32, 12), nn.ReLU6(), nn.Linear(12, 5),
    )  # fmt: skip
    for p in model.parameters():
        if p.ndim > 1:
            p.data[rng.random(p.shape) < zeros] = 0
    return model


def with_crc(content):
    """Put a checksum that is right behind the bytes of a file."""
    return content + zlib.crc32(content).to_bytes(4, "little")
