"""Optimizers, learning-rate schedules, and constraints on gradients and weights."""

from minigrad.optim.constraints import clip_grad_norm_, clip_grad_value_, max_norm_
from minigrad.optim.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from minigrad.optim.schedules import CosineAnnealingLR, OneCycleLR, Schedule, StepLR

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "OneCycleLR",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
    "max_norm_",
]
