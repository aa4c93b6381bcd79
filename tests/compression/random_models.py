"""Small models drawn at random, for what must hold for every model."""

import numpy as np

from minigrad import functional as F
from minigrad import nn
from minigrad.nn.module import Buffer, Parameter


class Residual(nn.Module):
    """Two convolutions around which the input goes unchanged (or, if asked, through a third one)."""

    def __init__(self, channels, width, norm, shortcut):
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=not norm)
        self.norm1 = nn.BatchNorm2d(width) if norm else nn.Sequential()
        self.conv2 = nn.Conv2d(width, channels, 3, padding=1, bias=not norm)
        self.norm2 = nn.BatchNorm2d(channels) if norm else nn.Sequential()
        self.shortcut = nn.Conv2d(channels, channels, 1) if shortcut else nn.Sequential()

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class Branches(nn.Module):
    """Two convolutions side by side, joined; then each channel by itself, then all of them."""

    def __init__(self, channels, width):
        self.left, self.right = nn.Conv2d(channels, width, 1), nn.Conv2d(channels, width + 1, 3, padding=1)
        self.each = nn.Conv2d(2 * width + 1, 2 * width + 1, 3, padding=1, groups=2 * width + 1)
        self.point = nn.Conv2d(2 * width + 1, width, 1)

    def forward(self, x):
        x = F.concatenate([self.left(x), self.right(x)], axis=1)
        return F.relu(self.point(F.relu(self.each(x))))


def random_model(rng, dtype=np.float64):
    """Return a model for (N, 2, 8, 8): convolution, a block or none, pooling, linear layers; and its norms trained."""
    width = int(rng.integers(2, 6))
    norm = bool(rng.integers(2))
    parts = [nn.Conv2d(2, width, 3, padding=int(rng.integers(2)), bias=bool(rng.integers(2)))]
    parts += [nn.BatchNorm2d(width)] if norm else []
    block = rng.integers(4)
    # Sigmoid makes 0.5 of a masked channel, which the padding of the other blocks would not let go.
    parts += [[nn.ReLU(), nn.LeakyReLU(), nn.Sigmoid()][rng.integers(2 if block else 3)]]
    if block == 1:
        parts += [Residual(width, int(rng.integers(2, 5)), norm, bool(rng.integers(2)))]
    elif block == 2:
        parts += [Branches(width, width)]
    elif block == 3:
        parts += [nn.Conv2d(width, width + 1, 3, padding=1), nn.ReLU()]
        width += 1
    parts += [nn.MaxPool2d(2) if rng.integers(2) else nn.AvgPool2d(2), nn.Flatten()]
    features = nn.Sequential(*parts)(np.zeros((2, 2, 8, 8), np.float32)).shape[1]
    hidden = int(rng.integers(2, 7))
    parts += [nn.Linear(features, hidden), nn.BatchNorm1d(hidden) if norm else nn.Dropout(0.5), nn.ReLU()]
    parts += [nn.Linear(hidden, hidden + 1, bias=norm), nn.Tanh(), nn.Linear(hidden + 1, 3, bias=bool(rng.integers(2)))]
    return settle(nn.Sequential(*parts), rng, dtype)


def settle(model, rng, dtype):
    """Give every parameter and buffer the dtype, biases and norms other values than those they start with."""
    for module in model.modules():
        for name, part in list(vars(module).items()):
            if isinstance(part, Parameter | Buffer):
                values = part.data if part.ndim > 1 else rng.uniform(0.3, 1.0, part.shape) * rng.choice([-1, 1])
                values = np.abs(values) if name == "running_var" else values
                setattr(module, name, type(part)(values.astype(dtype)))
    return model.eval()
