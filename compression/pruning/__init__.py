"""Pruning: which weights to remove, how to keep them removed, and how to recover."""

from .finetune import ARTICLE_SPARSITY, FineTuned, finetune
from .masks import kth_value_mask, model_sparsity
from .pruner import SparsePruner

__all__ = ["ARTICLE_SPARSITY", "FineTuned", "SparsePruner", "finetune", "kth_value_mask", "model_sparsity"]
