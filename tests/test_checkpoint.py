"""Checkpoints: the same bytes for the same content, whole or not at all, and nothing foreign gets in."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from safetensors.numpy import save_file

from minigrad import CheckpointError, load_checkpoint, nn, read_checkpoint, save_checkpoint
from minigrad.checkpoint import METADATA_KEY, write_atomically, write_checkpoint


def model():
    return nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))


def test_what_is_saved_is_loaded(tmp_path):
    path, original, other = tmp_path / "a.safetensors", model(), model()
    save_checkpoint(path, original, epoch=3, seed=0)
    metadata = load_checkpoint(path, other)
    assert metadata == {"architecture": "Sequential", "epoch": 3, "seed": 0}
    for name, array in original.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], array)


def test_an_array_in_any_memory_order_is_written_as_it_reads(tmp_path):
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    arrays = {
        "rows": rows,
        "columns": np.asfortranarray(rows),
        "turned": rows.T,
        "part": rows[:, ::2],
        "0-d": rows[0, 0],
    }
    write_checkpoint(tmp_path / "a", arrays, {})
    found, _ = read_checkpoint(tmp_path / "a")
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    net = model()
    save_checkpoint(tmp_path / "a", net, seed=0, epoch=3, note="x")
    save_checkpoint(tmp_path / "b", net, note="x", epoch=3, seed=0)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_without_our_metadata_is_welcome(tmp_path):
    net = model()
    save_file(net.state_dict(), tmp_path / "plain.safetensors")
    assert load_checkpoint(tmp_path / "plain.safetensors", model()) == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content[:7],
        lambda content: b"",
        lambda content: b"\xff" * 8 + content[8:],
        lambda content: content + b"more",
        lambda content: b"PK\x03\x04" + content,
        lambda content: content.replace(b"F32", b"X32"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_the_model_is_unchanged(damage, tmp_path):
    path, net = tmp_path / "damaged.safetensors", model()
    save_checkpoint(path, net)
    path.write_bytes(damage(path.read_bytes()))
    before = net.state_dict()
    with pytest.raises(CheckpointError, match=r"damaged.safetensors: expected a safetensors file of arrays"):
        load_checkpoint(path, net)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("note", ["{", "[1]", "3"])
def test_foreign_metadata_is_refused(note, tmp_path):
    save_file(model().state_dict(), tmp_path / "a", metadata={METADATA_KEY: note})
    with pytest.raises(CheckpointError, match=r"checkpoint .*a"):
        read_checkpoint(tmp_path / "a")


def test_another_architecture_is_refused_by_name_and_shape(tmp_path):
    save_checkpoint(tmp_path / "a", nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(CheckpointError, match=r"a is not one of Sequential: .*missing \['2.bias', '2.weight'\]"):
        load_checkpoint(tmp_path / "a", model())
    save_checkpoint(tmp_path / "b", nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 1)))
    with pytest.raises(CheckpointError, match=r"0.weight has shape \(2, 4\), but Sequential expects \(2, 3\)"):
        load_checkpoint(tmp_path / "b", model())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.safetensors: there is no such file"):
        read_checkpoint(tmp_path / "nowhere.safetensors")
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_litter(function, tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX's")
def test_a_disk_that_takes_no_more_leaves_the_old_checkpoint(tmp_path):
    """A real limit on file size, in a process of its own, in place of a full disk."""
    save_checkpoint(tmp_path / "a.safetensors", model())
    before = (tmp_path / "a.safetensors").read_bytes()
    script = f"""
        import resource, signal
        from minigrad import nn, save_checkpoint
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        save_checkpoint({str(tmp_path / "a.safetensors")!r}, nn.Linear(100, 100))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert "OSError" in result.stderr
    assert (tmp_path / "a.safetensors").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_new_file_has_the_usual_rights(tmp_path):
    write_atomically(tmp_path / "a", b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_metadata_is_one_key_of_sorted_json(tmp_path):
    save_checkpoint(tmp_path / "a", model(), zebra=1, ant=2)
    content = (tmp_path / "a").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["__metadata__"] == {METADATA_KEY: '{"ant": 2, "architecture": "Sequential", "zebra": 1}'}


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    path = tmp_path / "nowhere" / "a.safetensors"
    with pytest.raises(FileNotFoundError, match=r"cannot write: No such file or directory: '.*nowhere/a.safetensors'"):
        save_checkpoint(path, model())
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"cannot write: .*: '.*/folder'"):
        save_checkpoint(tmp_path / "folder", model())


def test_any_name_may_be_metadata_and_numpy_numbers_are_numbers(tmp_path):
    save_checkpoint(tmp_path / "a", model(), path="x", model="y", accuracy=np.float32(0.5))
    assert read_checkpoint(tmp_path / "a")[1] == {
        "architecture": "Sequential", "path": "x", "model": "y", "accuracy": 0.5,
    }  # fmt: skip
    with pytest.raises(TypeError, match="metadata holds object, which JSON cannot"):
        save_checkpoint(tmp_path / "b", model(), thing=object())


@pytest.mark.parametrize("note", ["[" * 100_000, "1" * 5_000])
def test_hostile_metadata_is_refused(note, tmp_path):
    save_file(model().state_dict(), tmp_path / "a", metadata={METADATA_KEY: note})
    with pytest.raises(CheckpointError, match=r"checkpoint .*a"):
        read_checkpoint(tmp_path / "a")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions and links")
def test_permissions_and_links_survive_a_rewrite(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o600
