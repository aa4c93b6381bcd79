"""Time training an MLP 784-1200-1200-10 (batch 100) here and in PyTorch eager.

A turn is 100 steps; an epoch is 600 such steps and takes six times as long on either side: --steps 600.
"""

from argparse import Namespace

from common import main
from epochs import race, training_parser


def mlp(nn):
    """The network; nn is minigrad's or PyTorch's."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 1200), nn.ReLU(), nn.Linear(1200, 1200), nn.ReLU(), nn.Linear(1200, 10)
    )


def measure(options: Namespace) -> dict:
    import torch

    from minigrad import nn

    return {"mlp": race(mlp(nn), mlp(torch.nn), 100, options)}


if __name__ == "__main__":
    main(measure, training_parser(__doc__, steps=100, rounds=15))
