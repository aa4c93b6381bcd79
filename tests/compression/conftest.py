"""Fixtures of the laboratory's tests."""

import pytest

from minigrad.checkpoint import save_checkpoint
from minigrad.compression.models import trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner


@pytest.fixture
def pruned(tmp_path):
    """The trained LeNet, pruned at the article's rates; its checkpoint is tmp_path / "pruned"."""
    model = trained_lenet()
    model = SparsePruner(model, ARTICLE_SPARSITY).prune(model)
    save_checkpoint(tmp_path / "pruned", model, seed=0, epoch=5)
    return model
