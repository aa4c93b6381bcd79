"""minigrad: a small deep-learning engine on NumPy and Numba, written to be read.

The model-compression laboratory built on it is `minigrad.compression`.
"""

from minigrad import datasets, debug, functional, kernels, nn, ops, optim, training, transforms
from minigrad._version import __version__
from minigrad.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from minigrad.debug import detect_anomaly, draw, profile, step_backward, summary
from minigrad.errors import AnomalyError, CheckpointError, DatasetError, NonFiniteLossError, ParallelError
from minigrad.frozen import freeze
from minigrad.gradcheck import GradcheckError, gradcheck
from minigrad.loader import DataLoader
from minigrad.random import manual_seed
from minigrad.resume import fit, load_training, save_training
from minigrad.tape import no_grad
from minigrad.tensor import Tensor
from minigrad.training import Position, evaluate, train

__all__ = [
    "AnomalyError",
    "CheckpointError",
    "DataLoader",
    "DatasetError",
    "GradcheckError",
    "NonFiniteLossError",
    "ParallelError",
    "Position",
    "Tensor",
    "__version__",
    "datasets",
    "debug",
    "detect_anomaly",
    "draw",
    "evaluate",
    "fit",
    "freeze",
    "functional",
    "gradcheck",
    "kernels",
    "load_checkpoint",
    "load_training",
    "manual_seed",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "profile",
    "read_checkpoint",
    "save_checkpoint",
    "save_training",
    "step_backward",
    "summary",
    "train",
    "training",
    "transforms",
]
