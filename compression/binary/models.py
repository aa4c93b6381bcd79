"""LeNet-5 with binary layers, and its float twin."""

from typing import Any

from minigrad import functional as F
from minigrad import nn
from minigrad.tensor import Tensor

from .layers import BinaryConv2d, BinaryLinear


class BinaryLeNet(nn.Module):
    """Caffe's LeNet-5 with batch normalisation, whose second convolution and first linear layer multiply signs by signs.

    These two hold 98 % of the weights. As is the custom, the first layer, which sees the image, and the last, which gives
    the logits, stay float. Before a binary layer come batch normalisation and sign, in this order, as in XNOR-Net; the float
    twin has a ReLU where this takes the sign.

    Args:
        binary: False gives the float twin: the same layers, names and initial weights.

    Source:
        Rastegari et al., "XNOR-Net", 2016; the widths are those of `CaffeLeNet`.

    Example:
        >>> import numpy as np
        >>> model = BinaryLeNet()
        >>> model(np.zeros((64, 1, 28, 28), np.float32)).shape
        (64, 10)
        >>> model.conv2, BinaryLeNet(binary=False).fc1
        (BinaryConv2d(20, 50, kernel_size=(5, 5), stride=(1, 1)), Linear(in_features=800, out_features=500, bias=False))
    """

    def __init__(self, binary: bool = True):
        self.binary = binary
        self.maxpool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv1, self.norm1 = nn.Conv2d(1, 20, kernel_size=5, bias=False), nn.BatchNorm2d(20)
        self.conv2 = BinaryConv2d(20, 50, kernel_size=5) if binary else nn.Conv2d(20, 50, kernel_size=5, bias=False)
        self.norm2 = nn.BatchNorm2d(50)
        self.fc1 = BinaryLinear(50 * 4 * 4, 500) if binary else nn.Linear(50 * 4 * 4, 500, bias=False)
        self.norm3, self.fc2 = nn.BatchNorm1d(500), nn.Linear(500, 10)

    def forward(self, x: Any) -> Tensor:
        """(N, 1, 28, 28) -> logits (N, 10)"""
        x = self.norm1(self.maxpool(self.conv1(x)))  # (N, 20, 12, 12)
        x = self.norm2(self.maxpool(self.conv2(self._activate(x))))  # (N, 50, 4, 4)
        x = self.norm3(self.fc1(F.flatten(self._activate(x), start_dim=1)))  # (N, 500)
        return self.fc2(F.relu(x))

    def _activate(self, x: Tensor) -> Tensor:
        """The binary layers take the signs themselves."""
        return x if self.binary else F.relu(x)
