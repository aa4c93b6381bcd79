"""SparsePruner and fine-tuning: masks hold, nothing else is touched, the best epoch is kept."""

import numpy as np
import pytest

from minigrad import DataLoader, nn
from minigrad.compression.models import LeNet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner, finetune, kth_value_mask, model_sparsity
from minigrad.optim import SGD

SHARES = {"0.weight": 0.5, "2.weight": 0.25}


def net():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def test_the_articles_sparsities_give_its_figure():
    model = LeNet()
    assert sum(p.size for p in model.parameters()) == 44_426
    pruned = SparsePruner(model, ARTICLE_SPARSITY).prune(model)
    zeros = sum(int((p.data == 0).sum()) for p in pruned.parameters())
    weights = sum(p.size for p in pruned.parameters() if p.ndim > 1)
    assert zeros == 32_816
    assert round(model_sparsity(pruned), 4) == 0.7387
    assert round(zeros / weights, 4) == 0.7426


def test_prune_copies_and_apply_works_in_place():
    model = net()
    before = model.state_dict()
    pruner = SparsePruner(model, SHARES)
    pruned = pruner.prune(model)
    assert type(pruned) is nn.Sequential
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    for name, array in pruned.state_dict().items():
        keep = pruner.masks[name] if name in SHARES else np.ones(array.shape, bool)
        np.testing.assert_array_equal(array, np.where(keep, before[name], 0))
        if name in SHARES:
            np.testing.assert_array_equal(keep, kth_value_mask(before[name], SHARES[name]))
    assert pruner.apply_(model) is model
    np.testing.assert_array_equal(model[0].weight.data, pruned[0].weight.data)


def test_a_pruned_weight_is_plus_zero_whatever_it_was():
    model = net()
    pruner = SparsePruner(model, SHARES)
    for p in model.parameters():
        p.data[...] = np.nan
    pruner.apply_(model)
    for name, mask in pruner.masks.items():
        w = dict(model.named_parameters())[name].data
        assert (w[~mask] == 0).all()
        assert not np.signbit(w[~mask]).any()
        assert np.isnan(w[mask]).all()


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_zeros_stay_zero_through_momentum_and_weight_decay(weight_decay, rng):
    model = net()
    pruner = SparsePruner(model, SHARES)
    pruner.apply_(model)
    optimizer = SGD(model.parameters(), lr=0.5, momentum=0.9, weight_decay=weight_decay)
    x, labels = rng.normal(size=(30, 4)).astype(np.float32), rng.integers(0, 3, 30)
    for _ in range(5):
        optimizer.zero_grad()
        nn.CrossEntropyLoss()(model(x), labels).backward()
        optimizer.step()
        pruner.apply_(model)
        for name, mask in pruner.masks.items():
            assert (dict(model.named_parameters())[name].data[~mask] == 0).all()
    assert model_sparsity(model) > 0.3


def test_masks_can_be_read_off_a_pruned_model():
    model = net()
    pruner = SparsePruner(model, SHARES)
    again = SparsePruner.from_zeros(pruner.prune(model))
    for name, mask in pruner.masks.items():
        np.testing.assert_array_equal(again.masks[name], mask)


def test_names_and_shapes_must_fit():
    with pytest.raises(KeyError, match=r"no such weight: \['3.weight'\]; without a sparsity .*: \['2.weight'\]"):
        SparsePruner(net(), {"0.weight": 0.5, "3.weight": 0.5})
    with pytest.raises(KeyError, match=r"no such weight: \['0.bias'\]"):
        SparsePruner(net(), SHARES | {"0.bias": 0.5})
    with pytest.raises(ValueError, match=r"SparsePruner: 2.weight: .* sparsity is 1.5, expected 0 to 1"):
        SparsePruner(net(), SHARES | {"2.weight": 1.5})
    pruner = SparsePruner(net(), SHARES)
    with pytest.raises(KeyError, match=r"Linear has no weight '0.weight'"):
        pruner.apply_(nn.Linear(4, 6))
    with pytest.raises(ValueError, match=r"0.weight has shape \(6, 5\), its mask \(6, 4\)"):
        pruner.apply_(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)))


@pytest.fixture
def points(rng):
    x = rng.normal(size=(200, 4)).astype(np.float32)
    return x, np.argmax(x[:, :3], axis=1)


def test_finetune_keeps_the_best_epoch_and_the_masks(points):
    model = net()
    pruner = SparsePruner(model, SHARES)
    pruner.apply_(model)
    told = []

    def after_epoch(found, current):
        told.append((len(found.correct), current is model, found.best[0].weight.data.copy()))

    train, choice = DataLoader(*points, 20, shuffle=True), DataLoader(*points, 50)
    found = finetune(model, pruner, train, choice, epochs=4, lr=0.5, after_epoch=after_epoch)
    assert found.correct[found.best_epoch - 1] == max(found.correct)
    assert found.best_epoch == 1 + found.correct.index(max(found.correct))
    assert [(count, same) for count, same, _ in told] == [(1, True), (2, True), (3, True), (4, True)]
    np.testing.assert_array_equal(found.best[0].weight.data, told[found.best_epoch - 1][2])
    assert len(found.losses) == 4
    assert found.losses[-1] < found.losses[0]
    for tuned in (model, found.best):
        for name, mask in pruner.masks.items():
            assert (dict(tuned.named_parameters())[name].data[~mask] == 0).all()


def test_of_equal_epochs_the_first_is_kept(points):
    model = net()
    pruner = SparsePruner(model, SHARES)
    found = finetune(model, pruner, DataLoader(*points, 20), DataLoader(*points, 50), epochs=3, lr=0.0)
    assert found.best_epoch == 1
    with pytest.raises(ValueError, match="epochs is 0, expected 1 or more"):
        finetune(model, pruner, DataLoader(*points, 20), DataLoader(*points, 50), epochs=0)
