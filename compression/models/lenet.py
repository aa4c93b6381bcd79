"""LeNets: as the pruning article's code has it, and the two networks that papers on pruning compare by."""

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import functional as F
from minigrad import nn
from minigrad.checkpoint import load_checkpoint
from minigrad.tensor import Array, Tensor

LENET_CHECKPOINT = Path(str(resources.files("minigrad.checkpoints"))) / "lenet.safetensors"
"""The trained LeNet that comes with the package."""

LENET_WIDTHS = (6, 16, 120, 84)
"""Outputs of the article's conv1, conv2, fc1 and fc2."""


def _dropout(rate: float) -> Callable[[Tensor], Tensor]:
    """Return a layer, or a function, which is no module, if there is nothing to drop."""
    return nn.Dropout(rate) if rate else _unchanged


def _unchanged(x: Tensor) -> Tensor:
    return x


class LeNet(nn.Module):
    """LeNet for 28×28 grey images: two convolutions with pooling, three linear layers; 44,426 parameters.

    The article's prose speaks of 32×32 inputs, of 1×400 features, and once of AlexNet; its code, and this, is the
    28×28 network with 16 * 4 * 4 = 256 features.

    Args:
        num_classes: number of logits.
        widths: outputs of conv1, conv2, fc1 and fc2. The article's network has 6, 16, 120 and 84; channels that are pruned
            away leave fewer.
        dropout: rate after fc1 and after fc2. 0: none, as in the article.

    Source:
        The pruning article's listing, after LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    Example:
        >>> import numpy as np
        >>> LeNet()(np.zeros((64, 1, 28, 28), np.float32)).shape
        (64, 10)
    """

    def __init__(self, num_classes: int = 10, widths: Sequence[int] = LENET_WIDTHS, dropout: float = 0.0):
        c1, c2, f1, f2 = widths
        self.conv1 = nn.Conv2d(in_channels=1, out_channels=c1, kernel_size=5)
        self.conv2 = nn.Conv2d(in_channels=c1, out_channels=c2, kernel_size=5)
        self.maxpool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.fc1, self.dropout1 = nn.Linear(in_features=c2 * 4 * 4, out_features=f1), _dropout(dropout)
        self.fc2, self.dropout2 = nn.Linear(in_features=f1, out_features=f2), _dropout(dropout)
        self.fc3 = nn.Linear(in_features=f2, out_features=num_classes)

    def forward(self, x: Any) -> Tensor:
        """(N, 1, 28, 28) -> logits (N, num_classes)"""
        x = self.maxpool(F.relu(self.conv1(x)))  # (N, 6, 12, 12)
        x = self.maxpool(F.relu(self.conv2(x)))  # (N, 16, 4, 4)
        x = F.flatten(x, start_dim=1)  # (N, 256)
        x = self.dropout1(F.relu(self.fc1(x)))  # (N, 120)
        x = self.dropout2(F.relu(self.fc2(x)))  # (N, 84)
        return self.fc3(x)


def lenet_widths(arrays: Mapping[str, Array]) -> tuple[int, ...]:
    """Return the `widths` of the LeNet whose state_dict this is; the article's, if it is not one of a LeNet.

    Example:
        >>> from minigrad.compression.pruning import prune_channels, shrink
        >>> lenet_widths(shrink(prune_channels(LeNet(), 0.5)).state_dict())
        (3, 8, 60, 42)
    """
    shapes = [arrays.get(f"{name}.weight", np.zeros(())).shape for name in ("conv1", "conv2", "fc1", "fc2")]
    c1, c2, f1, _ = widths = tuple(shape[0] if shape else 0 for shape in shapes)
    reads = [shape[1:2] for shape in shapes[1:]]
    return widths if min(widths) and reads == [(c1,), (16 * c2,), (f1,)] else LENET_WIDTHS


class LeNet300100(nn.Module):
    """Three linear layers for 28×28 grey images, 784-300-100-10; 266,610 parameters, 266,200 of them weights.

    Args:
        dropout: rate after each hidden layer. 0: none, as in LeCun et al.

    Source:
        LeCun et al., "Gradient-based learning applied to document recognition", 1998; Han et al., "Learning both weights
        and connections for efficient neural networks", 2015.

    Example:
        >>> import numpy as np
        >>> LeNet300100()(np.zeros((64, 1, 28, 28), np.float32)).shape
        (64, 10)
    """

    def __init__(self, dropout: float = 0.0):
        self.fc1, self.dropout1 = nn.Linear(784, 300), _dropout(dropout)
        self.fc2, self.dropout2 = nn.Linear(300, 100), _dropout(dropout)
        self.fc3 = nn.Linear(100, 10)

    def forward(self, x: Any) -> Tensor:
        """(N, 1, 28, 28) -> logits (N, 10)"""
        x = F.flatten(x, start_dim=1)  # (N, 784)
        x = self.dropout1(F.relu(self.fc1(x)))  # (N, 300)
        x = self.dropout2(F.relu(self.fc2(x)))  # (N, 100)
        return self.fc3(x)


class CaffeLeNet(nn.Module):
    """LeNet-5 as Caffe's MNIST example has it, for 28×28 grey images; 431,080 parameters, 430,500 of them weights.

    Wider than `LeNet`, and with a single ReLU: the convolutions are pooled without one.

    Args:
        dropout: rate after the hidden linear layer. 0: none, as in Caffe.

    Source:
        Caffe's lenet_train_test.prototxt; Han et al., "Learning both weights and connections for efficient neural
        networks", 2015, call it LeNet-5.

    Example:
        >>> import numpy as np
        >>> CaffeLeNet()(np.zeros((64, 1, 28, 28), np.float32)).shape
        (64, 10)
    """

    def __init__(self, dropout: float = 0.0):
        self.conv1, self.conv2 = nn.Conv2d(1, 20, kernel_size=5), nn.Conv2d(20, 50, kernel_size=5)
        self.maxpool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.fc1, self.dropout = nn.Linear(50 * 4 * 4, 500), _dropout(dropout)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x: Any) -> Tensor:
        """(N, 1, 28, 28) -> logits (N, 10)"""
        x = self.maxpool(self.conv1(x))  # (N, 20, 12, 12)
        x = self.maxpool(self.conv2(x))  # (N, 50, 4, 4)
        x = F.flatten(x, start_dim=1)  # (N, 800)
        x = self.dropout(F.relu(self.fc1(x)))  # (N, 500)
        return self.fc2(x)


def trained_lenet() -> LeNet:
    """Return the LeNet that comes with the package: 5 epochs on MNIST's 60,000 training images, seed 0.

    Example:
        >>> sum(p.size for p in trained_lenet().parameters())
        44426
    """
    model = LeNet()
    load_checkpoint(LENET_CHECKPOINT, model)
    return model
