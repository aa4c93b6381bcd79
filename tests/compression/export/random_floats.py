"""Float chains with random weights, of any layers that the file formats can hold."""

import numpy as np

from minigrad import nn
from tests.compression.random_models import settle


def random_chain(rng):
    """Return a chain for (N, 2, 13, 12), in float32: convolutions with all settings, norms, both kinds of pooling."""

    def one(*choices):
        return choices[rng.integers(len(choices))]

    layers = [
        nn.Conv2d(2, 4, 3, padding=one(0, 1, (2, 1)), stride=one(1, (1, 2)), bias=one(True, False)),
        *one([], [nn.BatchNorm2d(4)]), one(nn.ReLU, nn.ReLU6)(),
        one(nn.MaxPool2d, nn.AvgPool2d)(3, stride=one(1, 2), padding=one(0, 1)), *one([], [nn.ReLU()]),
        nn.Conv2d(4, 6, (2, 1), groups=one(1, 2), dilation=one(1, (2, 1)), padding=one(0, 1)), one(nn.ReLU, nn.ReLU6)(),
        nn.Flatten(), *one([], [nn.ReLU6()]),
    ]  # fmt: skip
    features = nn.Sequential(*layers)(np.zeros((1, 2, 13, 12), np.float32)).shape[1]
    layers += [nn.Linear(features, 7, bias=one(True, False)), nn.ReLU(), nn.Linear(7, 5)]
    return settle(nn.Sequential(*layers), rng, np.float32)
