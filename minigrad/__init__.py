"""minigrad: a small deep-learning engine on NumPy and Numba, written to be read.

The model-compression laboratory built on it is `minigrad.compression`.
"""

from minigrad import datasets, functional, kernels, nn, ops, optim, training
from minigrad._version import __version__
from minigrad.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from minigrad.errors import CheckpointError, DatasetError, NonFiniteLossError
from minigrad.gradcheck import GradcheckError, gradcheck
from minigrad.loader import DataLoader
from minigrad.random import manual_seed
from minigrad.tape import no_grad
from minigrad.tensor import Tensor
from minigrad.training import evaluate, train

__all__ = [
    "CheckpointError",
    "DataLoader",
    "DatasetError",
    "GradcheckError",
    "NonFiniteLossError",
    "Tensor",
    "__version__",
    "datasets",
    "evaluate",
    "functional",
    "gradcheck",
    "kernels",
    "load_checkpoint",
    "manual_seed",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "read_checkpoint",
    "save_checkpoint",
    "train",
    "training",
]
