"""A folder that keeps a search's models and candidates as they are found, so that it can go on after an interruption."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minigrad.checkpoint import to_json
from minigrad.nn import Module, Sequential

from ..coding import Storage, load_mgz, save_mgz
from ..report import write_report
from .candidates import Candidate

WHAT = {"model": "another checkpoint", "images": "other images", "plan": "other settings"}
"""What a folder's search can differ in → words."""


class Store:
    """The folder of one search. Everything in it is written whole or not at all.

    Args:
        folder: is made, unless it is there.
        identity: "model", "images", "plan": what must agree for files that are there to be used.

    Raises:
        ValueError: the folder holds another search.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        own, file = json.loads(to_json(identity)), folder / "search.json"
        if file.is_file():
            other = _read(file)
            for key, words in WHAT.items():
                if other.get(key) != own[key]:
                    raise ValueError(
                        f"compress: {folder} holds the search of {words}; give another folder with --runs, or delete it"
                    )
        write_report(file, own)

    def model(self, name: str, make: Callable[[], Module]) -> Sequential:
        """Return the model of that name, from its file or else made now and kept: as float32, to the last bit."""
        file = self.folder / f"{name}.mgz"
        if not file.is_file():
            with self._timed():
                save_mgz(file, make(), Storage("float"))
        return load_mgz(file)

    def file(self, name: str) -> Path:
        """Return where a candidate's file is."""
        folder = self.folder / "candidates"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.mgz"

    def candidate(self, name: str, make: Callable[[Path], Candidate]) -> Candidate:
        """Return the candidate of that name, from its files or else made now, with `make(file)`, and kept."""
        file = self.file(name)
        record = file.with_suffix(".json")
        found = _read_candidate(record)
        if found is not None and file.is_file() and found.bytes == file.stat().st_size:
            return found
        with self._timed():
            found = make(file)
        write_report(record, asdict(found))
        return found

    @property
    def seconds(self) -> float:
        """What all that is here took, in however many runs."""
        return float(_read(self.folder / "seconds.json").get("seconds", 0.0))

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Add up the seconds. Making may lead to making something else, which is counted once."""
        start, before = time.perf_counter(), self.seconds
        yield
        write_report(self.folder / "seconds.json", {"seconds": before + time.perf_counter() - start})


def _read_candidate(file: Path) -> Candidate | None:
    """Return a candidate; None if there is none, or if another version wrote it: then it is made anew."""
    try:
        return Candidate(**_read(file))
    except TypeError:
        return None


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
