"""From scores to masks: local and global, what is removed stays removed, Han's threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad import nn
from minigrad.compression.models import LeNet
from minigrad.compression.pruning import (
    ARTICLE_SPARSITY,
    SparsePruner,
    choose,
    choose_by_std,
    kth_value_mask,
    select,
)

FEW_VALUES = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 3.0])  # many ties
SCORES = st.dictionaries(
    st.sampled_from("abc"),
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), elements=FEW_VALUES),
    min_size=1,
)


def net():
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(scores=SCORES, sparsity=st.floats(0, 1), ties=st.sampled_from(["drop", "exact"]))
def test_global_is_local_on_everything_laid_end_to_end(scores, sparsity, ties):
    choice = select(scores, sparsity, "global", ties)
    together = {"all": np.concatenate([s.reshape(-1) for s in scores.values()])}
    expected = select(together, sparsity, "local", ties)
    mask = np.concatenate([choice.masks[name].reshape(-1) for name in scores])
    np.testing.assert_array_equal(mask, expected.masks["all"])
    for name, s in scores.items():
        assert choice.masks[name].shape == s.shape
        if name in choice.thresholds:
            assert (s[~choice.masks[name]] <= choice.thresholds[name]).all()
            assert (s[choice.masks[name]] >= choice.thresholds[name]).all()
    if ties == "exact":
        assert (~mask).sum() == round(mask.size * sparsity)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data(), scope=st.sampled_from(["local", "global"]), ties=st.sampled_from(["drop", "exact"]))
def test_what_is_removed_stays_removed_and_counts(data, scope, ties):
    scores = data.draw(SCORES)
    earlier = select(scores, data.draw(st.floats(0, 0.5)), scope, "exact").masks
    scores = {name: data.draw(hnp.arrays(np.float32, s.shape, elements=FEW_VALUES)) for name, s in scores.items()}
    sparsity = data.draw(st.floats(0.5, 1))
    masks = select(scores, sparsity, scope, ties, earlier).masks
    total, removed = sum(m.size for m in masks.values()), sum(int((~m).sum()) for m in masks.values())
    for name, mask in masks.items():
        assert not (mask & ~earlier[name]).any()
    if ties == "exact" and scope == "global":
        assert removed == round(total * sparsity)


def test_magnitude_and_local_are_the_articles_rule():
    model = LeNet()
    choice = choose(model, ARTICLE_SPARSITY)
    for name, mask in SparsePruner(model, ARTICLE_SPARSITY).masks.items():
        np.testing.assert_array_equal(choice.masks[name], mask)
    assert choice.how == "magnitude, local"
    w = np.sort(abs(model.conv1.weight.data), axis=None)
    assert choice.thresholds["conv1.weight"] == float(w[127])


def test_biases_and_normalisation_are_left_alone_unless_asked():
    assert list(choose(net(), 0.5).masks) == ["0.weight", "3.weight"]
    assert list(choose(net(), 0.5, names=["1.weight", "3.bias"]).masks) == ["1.weight", "3.bias"]


def test_global_pruning_takes_from_the_layer_with_small_weights():
    model = net()
    model[3].weight.data[...] = 100
    choice = choose(model, 24 / 42, scope="global")
    assert not choice.masks["0.weight"].any()
    assert choice.masks["3.weight"].all()
    assert choice.thresholds["0.weight"] == choice.thresholds["3.weight"] == abs(model[0].weight.data).max()


def test_patterns_through_choose():
    model = net()
    masks = choose(model, 0.0, pattern="2:4").masks
    assert (masks["0.weight"].sum(axis=1) == 2).all()
    np.testing.assert_array_equal(masks["3.weight"][:, 4:], True)  # the last two of six keep two
    blocks = choose(model, 0.5, pattern="2x2")
    assert blocks.how == "magnitude, 2x2"
    assert blocks.thresholds == {}
    first = blocks.masks["0.weight"].reshape(3, 2, 2, 2)
    assert (first.all(axis=(1, 3)) | ~first.any(axis=(1, 3))).all()
    assert (~blocks.masks["0.weight"]).sum() == 12
    assert choose(model, 0.5, pattern="2:4", names=["0.bias"]).masks["0.bias"].all()


def test_a_removed_weight_does_not_drag_its_block_down():
    layer = nn.Linear(2, 2)
    layer.weight.data[...] = [[9, 9], [1, 1]]
    earlier = {"weight": np.array([[False, True], [True, True]])}
    masks = choose(layer, 0.5, pattern="1x2", earlier=earlier).masks
    np.testing.assert_array_equal(masks["weight"], [[False, True], [False, False]])


def test_han_compares_with_the_deviation_of_the_weights_that_are_left():
    layer = nn.Linear(4, 2)
    layer.weight.data[...] = [[-1, 1, 3, -3], [0, 0, 0, 0]]
    choice = choose_by_std(layer, 1.0)
    assert choice.thresholds["weight"] == pytest.approx(np.sqrt(5))
    np.testing.assert_array_equal(choice.masks["weight"], [[False, False, True, True], [False] * 4])
    earlier = {"weight": np.array([[True, False, True, True], [True] * 4])}
    assert choose_by_std(layer, 2.0, earlier=earlier).thresholds["weight"] == pytest.approx(2 * np.std([-1, 3, -3]))
    assert choose_by_std(layer, {"weight": 0.0}).masks["weight"].sum() == 4
    layer.weight.data[...] = 0
    assert not choose_by_std(layer, 1.0).masks["weight"].any()
    with pytest.raises(ValueError, match=r"choose_by_std: weight: quality is -1.0, expected 0 or more"):
        choose_by_std(layer, -1.0)
    layer.weight.data[...] = np.nan
    with pytest.raises(ValueError, match="the weights of weight hold NaN"):
        choose_by_std(layer, 1.0)


def test_wrong_arguments_are_refused():
    model, scores = net(), {"a": np.ones(3)}
    with pytest.raises(ValueError, match="there is no criterion 'size'; there are magnitude, l2, random"):
        choose(model, 0.5, "size")
    with pytest.raises(ValueError, match="the pattern 2:4 is kept layer by layer; scope must be 'local'"):
        choose(model, 0.5, scope="global", pattern="2:4")
    with pytest.raises(ValueError, match="'2-4' is no pattern; expected n:m such as 2:4, or a block such as 4x4"):
        choose(model, 0.5, pattern="2-4")
    with pytest.raises(ValueError, match="scope is 'layer', expected 'local' or 'global'"):
        select(scores, 0.5, "layer")
    with pytest.raises(ValueError, match="ties is 'keep'"):
        select(scores, 0.5, ties="keep")
    with pytest.raises(ValueError, match="'global' ranks all weights together and takes one sparsity"):
        select(scores, {"a": 0.5}, "global")
    for scope in ("local", "global"):
        with pytest.raises(ValueError, match=r"is 1.5, expected 0 to 1"):
            select(scores, 1.5, scope)
        with pytest.raises(ValueError, match="the scores of a hold NaN"):
            select({"a": np.array([1.0, np.nan])}, 0.5, scope)
    with pytest.raises(KeyError, match=r"no such weight: \['b'\]; without a number \(0 keeps all\): \['a'\]"):
        select(scores, {"b": 0.5})


def test_integer_scores_rank_too():
    masks = select({"a": np.array([3, 1, 2])}, 1 / 3, earlier={"a": np.array([False, True, True])}).masks
    np.testing.assert_array_equal(masks["a"], [False, True, True])
    np.testing.assert_array_equal(kth_value_mask(np.array([3, 1, 2]), 1 / 3), [True, False, True])
