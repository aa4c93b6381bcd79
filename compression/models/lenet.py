"""LeNet as the pruning article's code has it."""

from importlib import resources
from pathlib import Path
from typing import Any

from minigrad import functional as F
from minigrad import nn
from minigrad.checkpoint import load_checkpoint
from minigrad.tensor import Tensor

LENET_CHECKPOINT = Path(str(resources.files("minigrad.checkpoints"))) / "lenet.safetensors"
"""The trained LeNet that comes with the package."""


class LeNet(nn.Module):
    """LeNet for 28×28 grey images: two convolutions with pooling, three linear layers; 44,426 parameters.

    The article's prose speaks of 32×32 inputs, of 1×400 features, and once of AlexNet; its code, and this, is the
    28×28 network with 16 * 4 * 4 = 256 features.

    Args:
        num_classes: number of logits.

    Source:
        The pruning article's listing, after LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    Example:
        >>> import numpy as np
        >>> LeNet()(np.zeros((64, 1, 28, 28), np.float32)).shape
        (64, 10)
    """

    def __init__(self, num_classes: int = 10):
        self.conv1 = nn.Conv2d(in_channels=1, out_channels=6, kernel_size=5)
        self.conv2 = nn.Conv2d(in_channels=6, out_channels=16, kernel_size=5)
        self.maxpool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.fc1 = nn.Linear(in_features=16 * 4 * 4, out_features=120)
        self.fc2 = nn.Linear(in_features=120, out_features=84)
        self.fc3 = nn.Linear(in_features=84, out_features=num_classes)

    def forward(self, x: Any) -> Tensor:
        """(N, 1, 28, 28) -> logits (N, num_classes)"""
        x = self.maxpool(F.relu(self.conv1(x)))  # (N, 6, 12, 12)
        x = self.maxpool(F.relu(self.conv2(x)))  # (N, 16, 4, 4)
        x = F.flatten(x, start_dim=1)  # (N, 256)
        x = F.relu(self.fc1(x))  # (N, 120)
        x = F.relu(self.fc2(x))  # (N, 84)
        return self.fc3(x)


def trained_lenet() -> LeNet:
    """Return the LeNet that comes with the package: 5 epochs on MNIST's 60,000 training images, seed 0.

    Example:
        >>> sum(p.size for p in trained_lenet().parameters())
        44426
    """
    model = LeNet()
    load_checkpoint(LENET_CHECKPOINT, model)
    return model
