"""What `minigrad compress` does: searches for a file that meets the wishes, and says what it was traded for."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minigrad
from minigrad import nn
from minigrad.checkpoint import write_atomically
from minigrad.datasets import ImageDataset

from .coding import layer_rows, load_mgz, read_mgz
from .demo import evaluation_loader
from .pruning import prunable
from .report import write_report
from .search import Candidate, Plan, Search, Wishes, choose, frontier
from .search.latency import with_latency
from .search.report import as_table, plot_frontier, traded, why_not
from .sparse.timing import describe_machine
from .sweep import versions


class Images(NamedTuple):
    """Images to train on; held out, which decide; test, which are looked at once."""

    training: ImageDataset
    held_out: ImageDataset
    test: ImageDataset


def run(
    model: nn.Module,
    wishes: Wishes,
    plan: Plan,
    images: Images,
    runs: Path,
    out: Path,
    say: Callable[[str], Any],
    batch_size: int = 64,
) -> str | None:
    """Search, choose, read the test images, and write compress.mgz, compress.json and compress.png.

    Args:
        model: a trained chain of layers; it stays as it is.
        wishes: what is asked for.
        plan: what to try.
        images: see `Images`.
        runs: folder of the search, which goes on there.
        out: folder for the results. If nothing meets the wishes, there is no compress.mgz.
        say: called with a line of text for the reader.
        batch_size: images that are timed at once, where the wishes have a time.

    Returns:
        None; or in a sentence why the wishes are not met: the report is written all the same.

    Raises:
        ValueError: see `Search`.
    """
    search = Search(model, plan, images.training, images.held_out, runs)
    candidates = search.run(wishes.accuracy, say)
    given = _given(search.source)
    if wishes.milliseconds is not None:
        x = images.held_out.images[:batch_size]
        say(f"timing, {len(x)} images at once")
        candidates, given["milliseconds"] = with_latency(candidates, search.store, search.source, x)
    best, chosen = frontier(candidates), choose(candidates, wishes)
    say(f"\nfrontier: what no other candidate beats\n{as_table(best, chosen)}\n")
    (out / "compress.mgz").unlink(missing_ok=True)  # of other wishes
    found: dict[str, Any] = {}
    if chosen is None:
        problem: str | None = why_not(candidates, wishes)
    else:
        found, problem = _finish(search, chosen, given, images.test, wishes, out)
        say("\n".join([f"chosen: {chosen.name}", *found["traded"]]))
    report = {
        "wishes": asdict(wishes),
        "chosen": chosen and chosen.name,
        "problem": problem,
        **found,
        "given": given,
        "frontier": [c.name for c in best],
        "candidates": [c.as_json() for c in candidates],
        "plan": asdict(plan),
        "images timed at once": batch_size if wishes.milliseconds is not None else None,
        "machine": describe_machine(),
        "versions": versions(),
        "seconds": round(search.store.seconds, 1),
    }
    write_report(out / "compress.json", report)
    title = f"{type(model).__name__}: {len(candidates)} files and what no other beats"
    plot_frontier(candidates, wishes, chosen, title).savefig(out / "compress.png", dpi=120)
    return problem


def _given(source: nn.Module) -> dict[str, Any]:
    """Return weights and widths of the given model by layer, its bytes as float32, and a place for its time."""
    weights = {name.removesuffix(".weight"): p.data for name, p in prunable(source).items()}
    return {
        "weights": {name: int(np.count_nonzero(w)) for name, w in weights.items()},
        "widths": {name: len(w) for name, w in weights.items()},
        "bytes": 4 * sum(p.size for p in source.parameters()),
        "milliseconds": None,
    }


def _finish(
    search: Search, chosen: Candidate, given: dict[str, Any], test: ImageDataset, wishes: Wishes, out: Path
) -> tuple[dict[str, Any], str | None]:
    """Write the chosen file, and read the test images with it, with the given model and with the teacher.

    Returns:
        "test", "layers" and "traded" of the report, and a problem, if the test images say otherwise than those held out.
    """
    file = search.store.file(chosen.name)
    write_atomically(out / "compress.mgz", file.read_bytes())
    container = read_mgz(file)
    models = {"given": search.source, "teacher": search.teacher, "chosen": load_mgz(file)}
    accuracy = {name: minigrad.evaluate(model, evaluation_loader(test)) for name, model in models.items()}
    found = {
        "test": accuracy,
        "layers": [row._asdict() for row in layer_rows(container)],
        "traded": traded(chosen, container, given, accuracy),
    }
    if accuracy["chosen"] >= wishes.accuracy:
        return found, None
    return found, (
        f"the held-out images made {chosen.sure:.2f} % sure, but of the test images {accuracy['chosen']:.2f} % are read, less "
        f"than {wishes.accuracy:g} %: bad luck in the draw of either, or images of another kind"
    )
