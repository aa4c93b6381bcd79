"""Files with a checksum: what sparse and integer models share. Their own tests break files of theirs."""

import numpy as np
import pytest

from minigrad.checkpoint import read_checkpoint, write_checkpoint
from minigrad.compression.checksum import digest, read_checked, write_checked
from minigrad.errors import CheckpointError

ARRAYS = {"b": np.arange(6, dtype=np.int16).reshape(2, 3), "a": np.ones(4, np.float32)}
METADATA = {"odd": {"a": 1}, "epoch": 5}


def test_what_was_written_is_read_and_the_header_is_what_is_no_array(tmp_path):
    header = write_checked(tmp_path / "file", ARRAYS, METADATA)
    assert header + 12 + 16 == (tmp_path / "file").stat().st_size
    arrays, metadata = read_checked(tmp_path / "file", "odd", "save_odd")
    assert metadata == METADATA
    assert {name: (array.dtype, array.tolist()) for name, array in arrays.items()} == {
        name: (array.dtype, array.tolist()) for name, array in ARRAYS.items()
    }


def test_every_part_counts():
    other = {
        "a value": ({**ARRAYS, "a": np.array([1, 1, 1, 2], np.float32)}, METADATA),
        "a dtype": ({**ARRAYS, "a": np.ones(4, np.float32).view(np.int32)}, METADATA),
        "a shape": ({**ARRAYS, "b": ARRAYS["b"].reshape(3, 2)}, METADATA),
        "a name": ({"b": ARRAYS["b"], "c": ARRAYS["a"]}, METADATA),
        "metadata": (ARRAYS, {**METADATA, "epoch": 6}),
    }
    digests = {what: digest(*parts) for what, parts in other.items()}
    assert len({digest(ARRAYS, METADATA), *digests.values()}) == 6
    assert digest(dict(reversed(ARRAYS.items())), {"epoch": np.int64(5), "odd": {"a": 1}}) == digest(ARRAYS, METADATA)


@pytest.mark.parametrize("metadata", [{"even": {"a": 1}}, {"odd": 3}, {}])
def test_files_of_others_are_refused(metadata, tmp_path):
    write_checked(tmp_path / "file", ARRAYS, metadata)
    with pytest.raises(
        CheckpointError, match=r"file is not a file of save_odd: it describes no odd layers, or has no checksum"
    ):
        read_checked(tmp_path / "file", "odd", "save_odd")


def test_damage_and_a_missing_checksum_are_noticed(tmp_path):
    write_checkpoint(tmp_path / "file", ARRAYS, METADATA)
    with pytest.raises(CheckpointError, match=r"describes no odd layers, or has no checksum"):
        read_checked(tmp_path / "file", "odd", "save_odd")
    write_checked(tmp_path / "file", ARRAYS, METADATA)
    _, metadata = read_checkpoint(tmp_path / "file")
    for arrays, about in (({**ARRAYS, "a": 2 * ARRAYS["a"]}, metadata), (ARRAYS, {**metadata, "epoch": 6})):
        write_checkpoint(tmp_path / "file", arrays, about)
        with pytest.raises(CheckpointError, match=r"file is damaged: what it holds does not match its checksum"):
            read_checked(tmp_path / "file", "odd", "save_odd")
