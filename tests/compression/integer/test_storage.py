"""Integer weights as bytes: what comes back, in how many bytes, and whether the accounting is the file's size."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors import safe_open

from minigrad.compression.integer import IntegerModel, to_integer
from minigrad.compression.integer.storage import bits_needed, layer_bytes, layout, pack_weights, unpack_weights
from minigrad.compression.models import trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.compression.sparse import format_bytes
from tests.compression.integer.integer_cases import random_images, small_lenet

VALUES = st.one_of(*(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in range(1, 9)), st.just(0))
WEIGHTS = st.one_of(
    arrays(np.int8, array_shapes(max_dims=4, max_side=6), elements=VALUES),
    arrays(np.int8, array_shapes(max_dims=4, max_side=6), elements=st.sampled_from([-1, 1])),
    arrays(np.int8, array_shapes(max_dims=4, max_side=6), elements=st.sampled_from([0, 0, 0, -7, 6])),
)


@given(WEIGHTS)
def test_weights_come_back_and_take_the_shorter_of_two_layouts(q):
    parts, about = pack_weights(q)
    np.testing.assert_array_equal(unpack_weights(parts, **about), q)
    assert {array.dtype for array in parts.values()} == {np.dtype(np.uint8)}
    kept = q[q != 0]
    whole = -(-q.size * bits_needed(q) // 8)
    masked = -(-q.size // 8) - (-kept.size * bits_needed(kept) // 8)
    assert sum(array.nbytes for array in parts.values()) == min(whole, masked)


@given(WEIGHTS.filter(lambda q: (np.abs(q.astype(int)) != 1).any()))
def test_no_fewer_bits_would_hold_them(q):
    bits = bits_needed(q)
    assert -(2 ** (bits - 1)) <= q.min() <= q.max() < 2 ** (bits - 1)
    assert bits == 2 or q.min() < -(2 ** (bits - 2)) or q.max() >= 2 ** (bits - 2)


def test_four_bits_share_a_byte_and_signs_take_one_bit():
    four = np.array([[-7, 7, 3, -1]], np.int8)
    assert layout(four) == (4, False)
    assert pack_weights(four)[0]["values"].tolist() == [0x79, 0xF3]
    signs = np.array([1, -1, -1, 1, 1, 1, 1, 1, -1], np.int8)
    assert pack_weights(signs)[0]["values"].tolist() == [0b11111001, 0]
    assert layout(np.zeros(9, np.int8)) == (1, True)  # the mask says it all
    assert pack_weights(np.zeros(9, np.int8))[0]["values"].size == 0


def test_layouts_that_do_not_fit_are_refused():
    parts, about = pack_weights(np.array([[5, 0, 0, 0], [0, 0, -6, 0]], np.int8))
    with pytest.raises(ValueError, match=r"unpack: 2 numbers of 5 bits take 2 bytes, got 1"):
        unpack_weights(parts, bits=5, shape=about["shape"])
    with pytest.raises(ValueError, match=r"unpack: 9 numbers of 1 bits take 2 bytes, got 1"):
        unpack_weights(parts, bits=4, shape=[3, 3])


@pytest.fixture(scope="module")
def pruned():
    """The article's LeNet: 73.87 % of its parameters are zero."""
    model = trained_lenet()
    return SparsePruner(model, ARTICLE_SPARSITY).prune(model)


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("dense", [True, False], ids=["dense", "pruned"])
def test_the_accounting_is_the_size_of_the_file(dense, bits, pruned, tmp_path):
    model = to_integer(trained_lenet() if dense else pruned, random_images(0, 20), bits=bits)
    path = tmp_path / "model.safetensors"
    said = model.save(path, note="kept")
    assert said.total == path.stat().st_size
    assert [row.weights for row in said.layers] == [150, 2400, 30720, 10080, 840]
    with safe_open(path, framework="numpy") as file:
        sizes = {name: file.get_tensor(name).nbytes for name in file.keys()}  # noqa: SIM118
    for i, row in zip((0, 2, 5, 6, 7), said.layers, strict=True):
        assert row.total == sum(size for name, size in sizes.items() if name.startswith(f"layers.{i}."))
        assert row.bits <= bits
        assert row.values == sizes[f"layers.{i}.weight.values"]
    assert said.header == path.stat().st_size - sum(sizes.values())


def test_pruned_weights_are_integer_zeros_and_take_what_bit_masks_take(pruned, tmp_path):
    images = random_images(0, 20)
    model = to_integer(pruned, images)
    said = model.save(tmp_path / "model")
    loaded = IntegerModel.load(tmp_path / "model")
    weighted = [layer for layer in loaded.layers if hasattr(layer, "weight")]
    for layer, row in zip(weighted, said.layers, strict=True):
        gone = getattr(pruned, layer.name).weight.data == 0
        assert not layer.weight[gone].any()
        assert gone.sum() <= row.zeros <= gone.sum() + 0.02 * gone.size  # the smallest of the others round to zero
        assert row.mask == -(-gone.size // 8)
    np.testing.assert_array_equal(loaded.logits(images), model.logits(images))
    # Weights that round to zero are left out too, so that it is a little less than the accounting of the float model.
    reckoned = format_bytes(pruned, "bitmask", np.int8)
    assert 0.97 * reckoned < sum(row.values + row.mask for row in said.layers) <= reckoned


def test_scales_count_for_channels_or_once():
    one, many = (small_lenet(per_channel=per_channel).layers[0] for per_channel in (False, True))
    assert layer_bytes(many).scales - layer_bytes(one).scales == 5 * 8
    assert layer_bytes(replace(one, weight=np.zeros_like(one.weight))).values == 0
