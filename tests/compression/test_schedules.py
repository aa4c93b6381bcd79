"""Schedules: what is pruned when, with which weights training begins."""

import copy

import numpy as np
import pytest

import minigrad
from minigrad import DataLoader, nn
from minigrad import functional as F
from minigrad.compression.models import LeNet
from minigrad.compression.pruning import (
    Ledger,
    SparsePruner,
    adjust_dropout,
    adjusted_dropout,
    choose,
    cubic_sparsity,
    even_targets,
    gradual,
    lottery_targets,
    model_sparsity,
    one_shot,
    prunable,
    prune_rounds,
    with_penalty,
)
from minigrad.optim import SGD


def net():
    return nn.Sequential(nn.Linear(4, 50), nn.ReLU(), nn.Linear(50, 3))


def assert_same(model, other):
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name])


@pytest.fixture
def train_(rng):
    x = rng.normal(size=(64, 4)).astype(np.float32)
    loader = DataLoader(x, np.argmax(x[:, :3], axis=1), 8)

    def run(model, after_step):
        minigrad.train(model, loader, nn.CrossEntropyLoss(), SGD(model.parameters(), 0.1, 0.9), after_step)

    return run


def zeros(model):
    return {name: int((p.data == 0).sum()) for name, p in prunable(model).items()}


def test_one_shot_prunes_and_does_not_train():
    model, ledger = net(), Ledger()
    before = copy.deepcopy(model)
    done = one_shot(model, 0.5, choose, ledger=ledger)
    assert_same(model, before)
    assert_same(done.pruned, SparsePruner(model, {"0.weight": 0.5, "2.weight": 0.5}).prune(model))
    assert_same(done.trained, done.pruned)
    assert len(ledger) == 1


def test_rounds_prune_what_training_left(train_):
    model, ledger = net(), Ledger()
    before = copy.deepcopy(model)
    rounds = list(prune_rounds(model, even_targets(0.75, 2), choose, train_, ledger=ledger))
    assert_same(model, before)
    assert [r.number for r in rounds] == [1, 2]
    assert [zeros(r.trained)["0.weight"] for r in rounds] == [100, 150]
    first, second = rounds
    assert_same(second.pruned, second.pruner.prune(first.trained))
    assert (second.pruned[0].weight.data != first.pruned[0].weight.data).any()
    for name, mask in choose(first.trained, 0.75).masks.items():
        np.testing.assert_array_equal(second.pruner.masks[name], mask)
        np.testing.assert_array_equal(ledger.masks(2)[name], mask)
        assert not (mask & ~first.pruner.masks[name]).any()


def test_a_round_can_be_the_last():
    rounds = prune_rounds(net(), [0.1, 0.2], choose, lambda model, after_step: None)
    assert next(rounds).number == 1


def test_earlier_masks_hold_from_the_start(train_):
    model = net()
    earlier = SparsePruner(model, {"0.weight": 0.0, "2.weight": 0.9}).masks
    (done,) = prune_rounds(model, [{"0.weight": 0.5}], _only_first, train_, earlier=earlier)
    assert zeros(done.trained) == {"0.weight": 100, "2.weight": 135}


def _only_first(model, target, earlier=None):
    return choose(model, target, names=["0.weight"], earlier=earlier)


def test_lottery_tickets_return_to_the_first_weights(train_):
    untrained = net()
    first = untrained.state_dict()
    trained = copy.deepcopy(untrained)
    train_(trained, lambda model: None)
    targets = lottery_targets(trained, 2)
    rounds = list(prune_rounds(trained, targets, choose, train_, rewind_to=first))
    assert zeros(rounds[0].pruned) == {"0.weight": 40, "2.weight": 15}
    assert zeros(rounds[1].pruned) == {"0.weight": 72, "2.weight": round(150 * 0.19)}
    models = [trained, rounds[0].trained]
    for r, chosen_from, target in zip(rounds, models, targets, strict=True):
        for name, mask in choose(chosen_from, target).masks.items():
            np.testing.assert_array_equal(r.pruner.masks[name], mask)  # chosen by trained weights
            ticket = dict(r.pruned.named_parameters())[name].data
            np.testing.assert_array_equal(ticket, np.where(mask, first[name], 0))  # with untrained values
        np.testing.assert_array_equal(r.pruned[0].bias.data, first["0.bias"])
        assert (r.trained[0].bias.data != first["0.bias"]).any()
    for name, array in untrained.state_dict().items():
        np.testing.assert_array_equal(array, first[name])


def test_lottery_targets_are_the_papers():
    targets = lottery_targets(LeNet(), 7)
    assert targets[0] == pytest.approx({**dict.fromkeys(targets[0], 0.2), "fc3.weight": 0.1})
    assert 1 - targets[6]["fc1.weight"] == pytest.approx(0.2097, abs=1e-4)
    with pytest.raises(ValueError, match="rounds is 0, expected 1 or more"):
        lottery_targets(LeNet(), 0)
    with pytest.raises(ValueError, match=r"a share is 1\.2, expected 0 to 1"):
        lottery_targets(LeNet(), 1, share=1.2)


def test_even_targets_take_the_same_share_of_what_is_left():
    targets = even_targets({"a": 0.9, "b": 0.0}, 4)
    left = [1.0] + [1 - target["a"] for target in targets]
    assert np.allclose(np.diff(np.log(left)), np.log(0.1) / 4)
    assert targets[-1] == {"a": 0.9, "b": 0.0}
    assert even_targets(1.0, 2) == [1.0, 1.0]
    with pytest.raises(ValueError, match="even_targets: rounds is 0"):
        even_targets(0.5, 0)
    with pytest.raises(ValueError, match="a share is -1, expected 0 to 1"):
        even_targets(-1, 1)


def test_cubic_sparsity_follows_zhu_and_gupta():
    for step, expected in ((0, 0.1), (10, 0.1), (35, 0.8 - 0.7 * 0.75**3), (60, 0.8 - 0.7 / 8), (110, 0.8), (500, 0.8)):
        assert cubic_sparsity(step, 100, final=0.8, initial=0.1, begin=10) == pytest.approx(expected)
    with pytest.raises(ValueError, match="cubic_sparsity: steps is 0"):
        cubic_sparsity(0, 0, 0.5)


def test_gradual_pruning_rises_during_training(train_):
    model, ledger = net(), Ledger()
    before, seen = copy.deepcopy(model), []

    def watched(model, after_step):
        def both(current):
            after_step(current)
            seen.append(zeros(current)["0.weight"])

        train_(model, both)

    done = gradual(model, 0.5, choose, watched, steps=5, every=2, begin=1, ledger=ledger)
    assert_same(model, before)
    # Steps 1 to 8; pruned at 3, 5, and 6, the end.
    expected = [round(200 * cubic_sparsity(step, 5, 0.5, begin=1)) for step in (3, 5, 6)]
    assert seen == [0, 0, expected[0], expected[0], expected[1], 100, 100, 100]
    assert done.number == len(ledger) == 3
    assert zeros(done.trained)["0.weight"] == zeros(done.pruned)["0.weight"] == 100
    assert (done.trained[0].weight.data != done.pruned[0].weight.data).any()
    np.testing.assert_array_equal(ledger.masks()["0.weight"], done.pruner.masks["0.weight"])


def test_gradual_pruning_needs_enough_training(train_):
    with pytest.raises(ValueError, match=r"training ended after 8 steps, and the sparsity is reached at step 9; train"):
        gradual(net(), 0.5, choose, train_, steps=9)
    with pytest.raises(ValueError, match="steps is 5 and every is 0, expected 1 or more of both"):
        gradual(net(), 0.5, choose, train_, steps=5, every=0)


def test_gradual_pruning_keeps_earlier_zeros(train_):
    model = net()
    earlier = SparsePruner(model, {"0.weight": 0.25, "2.weight": 0.0}).masks
    done = gradual(model, 0.5, choose, train_, steps=2, every=1, earlier=earlier)
    assert zeros(done.trained)["0.weight"] == 100
    assert not (done.pruner.masks["0.weight"] & ~earlier["0.weight"]).any()


def test_a_penalty_makes_weights_small_before_pruning(rng):
    x = rng.normal(size=(64, 4)).astype(np.float32)
    loader = DataLoader(x, np.argmax(x[:, :3], axis=1), 8)
    plain = net()
    sizes = {}
    for name, settings in (("none", {}), ("l1", {"l1": 0.03}), ("l2", {"l2": 0.1})):
        model = copy.deepcopy(plain)
        loss_fn = with_penalty(F.cross_entropy, prunable(model).values(), **settings)
        for _ in range(10):
            minigrad.train(model, loader, loss_fn, SGD(model.parameters(), 0.1))
        w = abs(model[0].weight.data)
        sizes[name] = (w.sum(), (w**2).sum(), float((w < 0.01).mean()))
    assert sizes["l1"][0] < 0.7 * sizes["none"][0]
    assert sizes["l2"][1] < 0.7 * sizes["none"][1]
    assert sizes["l1"][2] > 3 * sizes["none"][2]  # L1 leaves more weights near zero


def test_a_penalty_adds_its_value():
    w = nn.Parameter(np.array([[3.0, -4.0]]))
    logits, labels = np.zeros((2, 3)), np.array([0, 1])
    loss = with_penalty(F.cross_entropy, [w], l1=0.1, l2=0.01)(logits, labels)
    assert loss.item() == pytest.approx(np.log(3) + 0.7 + 0.25)
    assert with_penalty(F.cross_entropy, [w])(logits, labels).item() == pytest.approx(np.log(3))
    with pytest.raises(ValueError, match=r"with_penalty: l1 is -1 and l2 is 0\.0"):
        with_penalty(F.cross_entropy, [w], l1=-1)
    with pytest.raises(ValueError, match="there are no parameters"):
        with_penalty(F.cross_entropy, [], l1=1)


def test_dropout_shrinks_with_the_root_of_what_is_left(train_):
    assert adjusted_dropout(0.5, 8, 100) == pytest.approx(0.5 * np.sqrt(0.08))
    assert adjusted_dropout(0.5, 0, 0) == 0.5
    model = nn.Sequential(
        nn.Dropout(0.2),
        nn.Linear(4, 50),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(50, 50),
        nn.Dropout(0.4),
        nn.Linear(50, 3),
    )
    targets = [
        {"1.weight": 0.5, "4.weight": 0.0, "6.weight": 0.0},
        {"1.weight": 0.75, "4.weight": 0.36, "6.weight": 0.0},
    ]
    rounds = list(prune_rounds(model, targets, choose, train_, dropout=True))
    rates = [[m.p for m in r.trained.modules() if isinstance(m, nn.Dropout)] for r in rounds]
    assert rates[0] == pytest.approx([0.2, 0.5 * np.sqrt(0.5), 0.4])
    assert rates[1] == pytest.approx([0.2, 0.25, 0.4 * 0.8])  # from the rates before pruning, not the last ones
    assert model[3].p == 0.5
    untouched = next(prune_rounds(model, targets, choose, train_)).trained
    assert untouched[3].p == 0.5
    with pytest.raises(KeyError, match=r"the original model has no Dropout '3'"):
        adjust_dropout(model, rounds[0].pruner.masks, original=nn.Sequential(nn.Linear(4, 2)))


def test_sparsity_of_the_article_in_rounds():
    model = LeNet()
    targets = even_targets(dict.fromkeys(prunable(model), 0.5), 3)
    *_, last = prune_rounds(model, targets, choose, lambda model, after_step: None)
    assert model_sparsity(last.trained) == pytest.approx(22_095 / 44_426)


def test_masks_from_elsewhere_must_be_boolean():
    with pytest.raises(TypeError, match="the mask of a holds float64, expected bool"):
        SparsePruner.from_masks({"a": np.ones(3)})
