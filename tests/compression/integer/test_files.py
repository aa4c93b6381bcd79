"""Integer models in files: what is read back is the same model; what is damaged is refused."""

import json
from dataclasses import fields

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from minigrad.checkpoint import save_checkpoint
from minigrad.compression.integer import IntegerModel, Scale
from minigrad.compression.models import LeNet
from minigrad.errors import CheckpointError
from tests.compression.integer.integer_cases import random_images, small_lenet


def same(one, other):
    if isinstance(one, Scale):
        return same(one.mantissa, other.mantissa) and same(one.exponent, other.exponent)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and (one == other).all()
    return type(one) is type(other) and one == other


@pytest.mark.parametrize(
    "settings", [{}, {"profile": "single", "pool": "average", "padding": (1, 1), "pad_value": -95}]
)
def test_a_model_comes_back_field_by_field(tmp_path, settings):
    model = small_lenet(3, **settings)
    model.save(tmp_path / "model.safetensors", note="kept")
    loaded = IntegerModel.load(tmp_path / "model.safetensors")
    assert loaded.profile == model.profile
    for one, other in zip((model.input, *model.layers), (loaded.input, *loaded.layers), strict=True):
        assert type(one) is type(other)
        for field in fields(one):
            assert same(getattr(one, field.name), getattr(other, field.name)), field.name
    images = random_images(0, 5)
    np.testing.assert_array_equal(loaded.logits(images), model.logits(images))


def test_the_same_model_gives_the_same_bytes_and_holds_integers_only(tmp_path):
    for name in ("a", "b"):
        small_lenet(3).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with safe_open(tmp_path / "a", framework="numpy") as file:
        kinds = {file.get_tensor(name).dtype.kind for name in file.keys()}  # noqa: SIM118
    assert kinds == {"i", "u"}


def test_every_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "model.safetensors"
    small_lenet().save(path)
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 60).astype(int):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(CheckpointError):
            IntegerModel.load(path)
    path.write_bytes(content[:-100])
    with pytest.raises(CheckpointError, match="expected a safetensors file of arrays, and it is damaged"):
        IntegerModel.load(path)
    flipped = content[:-7] + bytes([content[-7] ^ 1]) + content[-6:]
    path.write_bytes(flipped)
    with pytest.raises(CheckpointError, match="is damaged: what it holds does not match its checksum"):
        IntegerModel.load(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        IntegerModel.load(tmp_path / "none")
    save_checkpoint(tmp_path / "float", LeNet())
    with pytest.raises(CheckpointError, match=r"is not a file of IntegerModel.save: it describes no integer layers"):
        IntegerModel.load(tmp_path / "float")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about["layers"].pop(0), "holds no integer model that fits together"),
        (lambda about: about["layers"][0].update(kind="Conv3d"), "holds no integer model that fits together: 'Conv3d'"),
        (lambda about: about.update(profile="fast"), "profile is 'fast'"),
        (lambda about: about["layers"][0].update(low="x"), "holds no integer model that fits together"),
    ],
)
def test_models_that_do_not_fit_together_are_refused(tmp_path, change, message):
    """With a checksum that is right, so that only the model itself is wrong."""
    from minigrad.compression.checksum import digest

    path = tmp_path / "model.safetensors"
    small_lenet().save(path)
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = json.loads(file.metadata()["minigrad"])
    metadata.pop("sha256")
    change(metadata["integer"])
    metadata["sha256"] = digest(arrays, metadata)
    save_file(arrays, path, metadata={"minigrad": json.dumps(metadata)})
    with pytest.raises(CheckpointError, match=message):
        IntegerModel.load(path)
