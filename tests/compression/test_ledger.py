"""The ledger: undo, difference, blame, files."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad
from minigrad import nn
from minigrad.checkpoint import write_checkpoint
from minigrad.compression.pruning import CRITERIA, Choice, Ledger, SparsePruner, choose
from minigrad.compression.pruning.criteria import WITHOUT_DATA
from minigrad.errors import CheckpointError


def net():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def prune_in_steps(model, ledger, sparsities, **settings):
    """Return the model after each step, the dense one first."""
    models = [model]
    for sparsity in sparsities:
        choice = choose(models[-1], sparsity, earlier=ledger.masks(), **settings)
        ledger.record(models[-1], choice)
        models.append(SparsePruner.from_masks(ledger.masks()).prune(models[-1]))
    return models


def assert_same(model, other):
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name])


STEPS = st.lists(st.floats(0, 1), min_size=1, max_size=4).map(sorted)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    sparsities=STEPS,
    criterion=st.sampled_from(WITHOUT_DATA),
    scope=st.sampled_from(["local", "global"]),
    ties=st.sampled_from(["drop", "exact"]),
    seed=st.integers(0, 9),
)
def test_undoing_every_step_gives_the_dense_model_back(sparsities, criterion, scope, ties, seed, tmp_path_factory):
    minigrad.manual_seed(seed)
    model, ledger = net(), Ledger()
    models = prune_in_steps(model, ledger, sparsities, criterion=criterion, scope=scope, ties=ties)
    path = tmp_path_factory.mktemp("ledger") / "a.safetensors"
    ledger.save(path)
    ledger = Ledger.load(path)
    current = models[-1]
    for step in range(len(sparsities), 0, -1):
        before = current.state_dict()
        restored = ledger.undo(current)
        assert_same(restored, models[step - 1])
        for name, array in current.state_dict().items():
            np.testing.assert_array_equal(array, before[name])  # the caller's model is left alone
        current = restored
        assert len(ledger) == step - 1
    assert ledger.masks() == {}
    with pytest.raises(IndexError, match="there is no step to undo"):
        ledger.undo(current)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(sparsities=STEPS, criterion=st.sampled_from(WITHOUT_DATA))
def test_every_zero_is_explained(sparsities, criterion):
    minigrad.manual_seed(0)
    model, ledger = net(), Ledger()
    models = prune_in_steps(model, ledger, sparsities, criterion=criterion)
    masks = [ledger.masks(step) for step in range(1, len(sparsities) + 1)]
    scores = [CRITERIA[criterion](m) for m in models[:-1]]
    for name in masks[0]:
        w = model.state_dict()[name]
        for place in np.ndindex(w.shape):
            blame = ledger.blame(name, place)
            gone = [number for number, mask in enumerate(masks, 1) if not mask[name][place]]
            assert blame.step == (gone[0] if gone else None)
            if blame.step is not None:
                assert blame.value == w[place]
                assert blame.score == scores[blame.step - 1][name][place] <= blame.threshold
                assert f"zeroed in step {blame.step}, |w| = {abs(w[place]):.4g}" in str(blame)


def test_training_between_steps_is_not_undone():
    model, ledger = net(), Ledger()
    _, pruned = prune_in_steps(model, ledger, [0.5])
    mask = ledger.masks()["0.weight"]
    pruned[0].weight.data[mask] = 7
    restored = ledger.undo(pruned)[0].weight.data
    assert (restored[mask] == 7).all()
    np.testing.assert_array_equal(restored[~mask], model[0].weight.data[~mask])


def test_blame_speaks_in_a_sentence():
    layer, ledger = nn.Linear(4, 1), Ledger()
    layer.weight.data[...] = [[0.5, -0.012, 0.0131, 1.0]]
    prune_in_steps(layer, ledger, [0.5, 0.75])
    assert str(ledger.blame("weight", (0, 1))) == "zeroed in step 1, |w| = 0.012, threshold 0.0131"
    assert str(ledger.blame("weight", (0, 0))) == "zeroed in step 2, |w| = 0.5, threshold 0.5"
    assert str(ledger.blame("weight", [0, 3])) == "never zeroed (steps recorded: 2)"
    ledger.record(layer, choose(layer, 0.75, "l2", earlier=ledger.masks()))
    assert str(ledger.blame("weight", (0, 0))).startswith("zeroed in step 2")
    ledger = Ledger()
    ledger.record(layer, choose(layer, 0.75, "l2"))
    text = str(ledger.blame("weight", (0, 0)))
    assert text == "zeroed in step 1, |w| = 0.5, score 0.25 (l2, local), threshold 0.25"
    ledger = Ledger()
    ledger.record(layer, choose(layer, 0.5, pattern="2:4"))
    assert str(ledger.blame("weight", (0, 1))) == "zeroed in step 1, |w| = 0.012, by magnitude, 2:4"


def test_difference_lists_indices():
    layer, ledger = nn.Linear(2, 2), Ledger()
    layer.weight.data[...] = [[4, 1], [2, 3]]
    prune_in_steps(layer, ledger, [0.25, 0.75])
    np.testing.assert_array_equal(ledger.difference(0, 1)["weight"], [[0, 1]])
    np.testing.assert_array_equal(ledger.difference(1, 2)["weight"], [[1, 0], [1, 1]])
    np.testing.assert_array_equal(ledger.difference(2, 1)["weight"], [[1, 0], [1, 1]])
    assert ledger.difference(2, 2)["weight"].shape == (0, 2)
    with pytest.raises(IndexError, match="there is no step 3; it holds 2"):
        ledger.difference(1, 3)


def test_steps_may_prune_different_parameters():
    model, ledger = net(), Ledger()
    ledger.record(model, choose(model, 0.5, names=["0.weight"]))
    ledger.record(model, choose(model, 0.5, names=["2.bias"]))
    assert list(ledger.masks()) == ["0.weight", "2.bias"]
    assert len(ledger.difference(1, 2)["2.bias"]) == 2
    assert ledger.difference(1, 2)["0.weight"].size == 0
    index = int(np.argmin(abs(model[2].bias.data)))
    assert ledger.blame("2.bias", index).step == 2


def test_what_does_not_fit_is_refused():
    model, ledger = net(), Ledger()
    ledger.record(model, choose(model, 0.5))
    with pytest.raises(
        ValueError, match=r"step 2 brings back 12 removed weight\(s\) of 0.weight; choose with earlier="
    ):
        ledger.record(model, choose(model, 0.0))
    with pytest.raises(KeyError, match=r"Linear has no parameter '0.weight'"):
        ledger.record(nn.Linear(4, 6), choose(model, 0.5))
    with pytest.raises(ValueError, match=r"2.weight has shape \(3, 6\), its mask \(2, 2\), before it was \(3, 6\)"):
        ledger.record(model, Choice({"2.weight": np.ones((2, 2), bool)}, {"2.weight": np.ones((2, 2))}))
    assert len(ledger) == 1
    with pytest.raises(KeyError, match=r"no step pruned '1.weight'; steps pruned \['0.weight', '2.weight'\]"):
        ledger.blame("1.weight", (0, 0))
    for index in ((6, 0), (0, -1), (0,), (0, 0, 0)):
        with pytest.raises(IndexError, match=r"0.weight has shape \(6, 4\) and no weight"):
            ledger.blame("0.weight", index)
    with pytest.raises(KeyError, match="Linear has no parameter"):
        ledger.undo(nn.Linear(4, 6))
    with pytest.raises(ValueError, match=r"0.weight has shape \(6, 5\), its mask \(6, 4\)"):
        ledger.undo(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)))
    assert len(ledger) == 1


def damage(arrays, note):
    yield {**arrays, "1/mask/weight": ~arrays["1/mask/weight"]}, note
    yield {**arrays, "1/mask/weight": arrays["1/mask/weight"].astype(np.uint8)}, note
    yield {**arrays, "1/values/weight": arrays["1/values/weight"][1:]}, note
    yield {**arrays, "1/scores/weight": arrays["1/scores/weight"][1:]}, note
    yield {key: a for key, a in arrays.items() if key != "1/scores/weight"}, note
    yield {**arrays, "2/mask/weight": arrays["1/mask/weight"]}, note
    for steps in ([], [5], [{"how": 3, "thresholds": {}}], [{"how": "", "thresholds": {"weight": "x"}}], None):
        yield arrays, {**note, "steps": steps}
    yield arrays, {**note, "kind": "model"}


def test_damaged_files_are_refused(tmp_path):
    layer, ledger = nn.Linear(4, 1), Ledger()
    ledger.record(layer, choose(layer, 0.25))
    ledger.save(tmp_path / "good")
    arrays, note = minigrad.read_checkpoint(tmp_path / "good")
    assert len(Ledger.load(tmp_path / "good")) == 1
    for number, (bad_arrays, bad_note) in enumerate(damage(arrays, note)):
        write_checkpoint(tmp_path / "bad", bad_arrays, bad_note)
        with pytest.raises(CheckpointError, match=r"is damaged|is no pruning ledger|belongs to none of its steps"):
            Ledger.load(tmp_path / "bad")
        assert number < 12
    with pytest.raises(FileNotFoundError):
        Ledger.load(tmp_path / "nowhere")
