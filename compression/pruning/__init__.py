"""Pruning: which weights to remove, how to keep them removed, and how to recover."""

from .criteria import CRITERIA, output_change, prunable
from .finetune import ARTICLE_SPARSITY, FineTuned, finetune
from .formulas import clip_weights, indicator, indicator_as_written, indicator_plus_epsilon_as_written
from .ledger import Blame, Ledger
from .masks import kth_value_mask, model_sparsity
from .patterns import block_mask, n_of_m_mask
from .pruner import SparsePruner
from .schedules import (
    Round,
    adjust_dropout,
    adjusted_dropout,
    cubic_sparsity,
    even_targets,
    gradual,
    lottery_targets,
    one_shot,
    prune_rounds,
    with_penalty,
)
from .selection import Choice, choose, choose_by_std, select
from .sensitivity import (
    SensitivityScan,
    StabilityScan,
    allocate_sparsity,
    sensitivity_scan,
    stability_scan,
)
from .structure import channel_masks, group_mask, prune_channels, prune_conv
from .surgery import shrink

__all__ = [
    "ARTICLE_SPARSITY",
    "CRITERIA",
    "Blame",
    "Choice",
    "FineTuned",
    "Ledger",
    "Round",
    "SensitivityScan",
    "SparsePruner",
    "StabilityScan",
    "adjust_dropout",
    "adjusted_dropout",
    "allocate_sparsity",
    "block_mask",
    "channel_masks",
    "choose",
    "choose_by_std",
    "clip_weights",
    "cubic_sparsity",
    "even_targets",
    "finetune",
    "gradual",
    "group_mask",
    "indicator",
    "indicator_as_written",
    "indicator_plus_epsilon_as_written",
    "kth_value_mask",
    "lottery_targets",
    "model_sparsity",
    "n_of_m_mask",
    "one_shot",
    "output_change",
    "prunable",
    "prune_channels",
    "prune_conv",
    "prune_rounds",
    "select",
    "sensitivity_scan",
    "shrink",
    "stability_scan",
    "with_penalty",
]
