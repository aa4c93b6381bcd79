"""Time training Caffe's LeNet-5 (batch 64) here and in PyTorch eager: wider than LeNet, and without ReLU before pooling.

A turn is 100 steps; an epoch is 938 such steps: --steps 938.

Source:
    The network of Caffe's MNIST example, lenet_train_test.prototxt.
"""

from argparse import Namespace

from common import main
from epochs import race, training_parser


def caffe_lenet(nn):
    """The network; nn is minigrad's or PyTorch's."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


def measure(options: Namespace) -> dict:
    import torch

    from minigrad import nn

    return {"caffe_lenet": race(caffe_lenet(nn), caffe_lenet(torch.nn), 64, options)}


if __name__ == "__main__":
    main(measure, training_parser(__doc__, steps=100))
