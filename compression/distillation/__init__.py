"""Distillation: teaching a small network by a large one."""

from .explorer import explore_temperature, plot_explorer
from .hints import Hint, attention_loss, attention_map, capture, hint_loss, regressor
from .losses import (
    DistillationLoss,
    LogitMatchingLoss,
    Terms,
    soft_targets,
    softmax_distillation,
    temperature_distillation,
)
from .plots import (
    plot_confusions,
    plot_gain,
    plot_gap,
    plot_gradient_cosine,
    plot_gradient_terms,
    plot_mistakes_of_the_teacher,
    plot_negative_share,
    plot_noise_effect,
    plot_soft_targets,
    plot_temperature_entropy,
)
from .teachers import ShiftAveraged, SoftBatch, SoftLoader, checksum_of_images, checksum_of_model, teacher_logits
from .training import born_again, distill

__all__ = [
    "DistillationLoss",
    "Hint",
    "LogitMatchingLoss",
    "ShiftAveraged",
    "SoftBatch",
    "SoftLoader",
    "Terms",
    "attention_loss",
    "attention_map",
    "born_again",
    "capture",
    "checksum_of_images",
    "checksum_of_model",
    "distill",
    "explore_temperature",
    "hint_loss",
    "plot_confusions",
    "plot_explorer",
    "plot_gain",
    "plot_gap",
    "plot_gradient_cosine",
    "plot_gradient_terms",
    "plot_mistakes_of_the_teacher",
    "plot_negative_share",
    "plot_noise_effect",
    "plot_soft_targets",
    "plot_temperature_entropy",
    "regressor",
    "soft_targets",
    "softmax_distillation",
    "teacher_logits",
    "temperature_distillation",
]
