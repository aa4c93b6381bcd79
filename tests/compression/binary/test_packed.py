"""Packed layers give the trained ones' bits, and refuse what has no bits."""

import numpy as np
import pytest

from minigrad import kernels, nn
from minigrad.checkpoint import load_checkpoint, save_checkpoint
from minigrad.compression.binary import BinaryConv2d, BinaryLeNet, BinaryLinear, PackedConv2d, PackedLinear, pack
from minigrad.compression.binary.packed import pack_bits
from minigrad.compression.models import LeNet


@pytest.mark.parametrize("channels", [1, 20, 64, 65])
@pytest.mark.parametrize("images", [1, 64, 65])
def test_packed_convolutions_equal_trained_ones_bit_by_bit(rng, channels, images):
    layer = BinaryConv2d(channels, 7, kernel_size=(3, 2), stride=(1, 2))
    x = rng.normal(size=(images, channels, 5, 6)).astype(np.float32)
    x[0, 0, 0, :3] = 0.0, -0.0, np.nan
    out = PackedConv2d(layer).eval()(x)
    np.testing.assert_array_equal(out.data, layer(x).data)
    assert out.dtype == np.float32


@pytest.mark.parametrize("features", [1, 63, 64, 65, 800])
def test_packed_linear_layers_equal_trained_ones_bit_by_bit(rng, features):
    layer = BinaryLinear(features, 150)
    layer.weight.data[0, 0] = -0.0
    x = rng.normal(size=(9, features)).astype(np.float32)
    np.testing.assert_array_equal(PackedLinear(layer).eval()(x).data, layer(x).data)


def test_memory_order_does_not_matter(rng):
    packed = PackedConv2d(BinaryConv2d(20, 5, kernel_size=5)).eval()
    x = rng.normal(size=(70, 20, 12, 12)).astype(np.float32)
    innermost = np.ascontiguousarray(x.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(packed(x).data, packed(innermost).data)


def test_the_trained_layer_is_not_needed_any_more(rng):
    layer = BinaryConv2d(2, 3, kernel_size=2)
    packed, x = PackedConv2d(layer).eval(), rng.normal(size=(2, 2, 4, 4)).astype(np.float32)
    before = packed(x).data.copy()
    layer.weight.data *= -3
    np.testing.assert_array_equal(packed(x).data, before)


def test_bits_of_rows():
    rows = np.full((2, 65), -1.0)
    rows[0, [0, 63, 64]] = 5.0, 0.0, 1.0
    np.testing.assert_array_equal(pack_bits(rows), np.array([[2**63 + 1, 1], [0, 0]], np.uint64))


def test_packing_a_model_copies_it_and_replaces_binary_layers_only():
    model = BinaryLeNet()
    weights = {name: p.data.copy() for name, p in model.named_parameters()}
    packed = pack(model)
    assert [type(packed.conv2), type(packed.fc1)] == [PackedConv2d, PackedLinear]
    assert [type(packed.conv1), type(packed.fc2)] == [nn.Conv2d, nn.Linear]
    assert packed.conv1 is not model.conv1
    assert not packed.training
    assert model.training
    assert isinstance(model.conv2, BinaryConv2d)
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.data, weights[name])


def test_a_packed_model_is_saved_and_loaded(rng, tmp_path):
    x = rng.normal(size=(3, 1, 28, 28)).astype(np.float32)
    packed = pack(BinaryLeNet())
    save_checkpoint(tmp_path / "packed.safetensors", packed)
    other = pack(BinaryLeNet())
    assert not np.array_equal(other(x).data, packed(x).data)
    load_checkpoint(tmp_path / "packed.safetensors", other)
    np.testing.assert_array_equal(other(x).data, packed(x).data)
    assert (tmp_path / "packed.safetensors").stat().st_size < 100_000  # of 1.7 MB in float


def test_packed_layers_run_as_python(rng):
    packed = pack(nn.Sequential(BinaryConv2d(2, 3, kernel_size=2), nn.Flatten(), BinaryLinear(12, 4)))
    x = rng.normal(size=(2, 2, 3, 3)).astype(np.float32)
    compiled = packed(x).data
    with kernels.use("python"):
        np.testing.assert_array_equal(packed(x).data, compiled)


def test_refusals(rng):
    conv, linear = BinaryConv2d(2, 3, kernel_size=2), BinaryLinear(5, 4)
    packed = PackedConv2d(conv).eval()
    with pytest.raises(
        ValueError, match=r"^PackedConv2d: x must be \(N, 2, H, W\), .* \(x: \(1, 3, 4, 4\), kernel_siz"
    ):
        packed(np.zeros((1, 3, 4, 4), np.float32))
    with pytest.raises(ValueError, match=r"^PackedConv2d: x must be .* \(x: \(1, 2, 1, 4\)"):
        packed(np.zeros((1, 2, 1, 4), np.float32))
    with pytest.raises(ValueError, match=r"^PackedLinear: x must be \(N, 5\) \(x: \(2, 6\)\)$"):
        PackedLinear(linear).eval()(np.zeros((2, 6), np.float32))
    with pytest.raises(TypeError, match=r"^PackedConv2d: x is int64, expected float32 or float64"):
        packed(np.zeros((1, 2, 4, 4), np.int64))
    with pytest.raises(ValueError, match=r"^PackedConv2d: bits cannot be trained; train the model that was packed"):
        PackedConv2d(conv)(np.zeros((1, 2, 4, 4), np.float32))
    with pytest.raises(ValueError, match=r"^pack: LeNet has no BinaryConv2d or BinaryLinear$"):
        pack(LeNet())
    linear.weight.data[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"^pack: 0: PackedLinear: 1 of 20 weights are NaN, which has no sign$"):
        pack(nn.Sequential(linear))
