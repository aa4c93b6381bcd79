"""Time an epoch of LeNet (60,000 images, batch 64) here and in PyTorch eager.

PyTorch's speed differs from process to process, so the comparison is repeated in several, and our median is held against
its best. One process is tried with --processes 1.
"""

from argparse import Namespace

from common import main
from epochs import race, training_parser


def torch_lenet():
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def measure(options: Namespace) -> dict:
    from minigrad.compression.models import LeNet

    return {"train": race(LeNet(), torch_lenet(), 64, options)}


if __name__ == "__main__":
    main(measure, training_parser(__doc__, processes=5))
