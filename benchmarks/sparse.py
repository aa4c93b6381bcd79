"""Time sparse products and the pruned LeNet: CSR times dense beside SciPy, PyTorch (MKL) and NumPy, LeNet beside itself.

Products are float32, with 64 columns: 1024² and 4096² at sparsities 0.7, 0.9 and 0.99, and the shape of LeNet's fc1 at
0.75. What is reported is the largest of a row's ratios: a target is met where it is met at every size and sparsity. LeNet is
the article's pruned one, with the formats that the planner chooses and with every layer forced sparse, beside the same
weights in dense layers; and a LeNet whose convolutions have lost half their filters by surgery, beside the whole one, both
frozen.
"""

import statistics
import warnings
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from common import check_same, main, make_parser, rotate, use_threads

COLUMNS = 64
SIZES = (1024, 4096)
SPARSITIES = (0.7, 0.9, 0.99)
TURN = 0.1
"""Seconds of a turn."""

Work = Callable[[], Any]
Seconds = dict[str, list[float]]


def products(rows: int, columns: int, sparsity: float) -> dict[str, Work]:
    """Return the product of one random matrix by everybody: "ours", "scipy", "torch", "dense"."""
    import numpy as np
    import scipy.sparse
    import torch

    from minigrad.compression.sparse import CSRMatrix

    rng = np.random.default_rng(0)
    w = rng.normal(size=(rows, columns)).astype(np.float32)
    w[rng.random(w.shape) < sparsity] = 0
    x = rng.normal(size=(columns, COLUMNS)).astype(np.float32)
    ours, scipys = CSRMatrix.from_dense(w), scipy.sparse.csr_array(w)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls its sparse CSR a beta
        torchs = torch.from_numpy(w).to_sparse_csr()
    torch_x = torch.from_numpy(x)
    return {
        "ours": lambda: ours @ x,
        "scipy": lambda: scipys @ x,
        "torch": lambda: torchs @ torch_x,
        "dense": lambda: w @ x,
    }


def lenets(batch: int) -> dict[str, Work]:
    """Return the article's pruned LeNet on a batch: "dense", "planned" and "sparse"."""
    from minigrad.compression.models import trained_lenet
    from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
    from minigrad.compression.sparse import plan, to_sparse

    model = trained_lenet()
    dense = SparsePruner(model, ARTICLE_SPARSITY).prune(model).eval()
    x = images(batch)
    planned = plan(dense, x)
    print(f"  the planner's choice: {', '.join(f'{name} {choice}' for name, choice in planned.choices.items())}")
    return {"planned": run(planned.apply(dense), x), "sparse": run(to_sparse(dense), x), "dense": run(dense, x)}


def halved_lenets(batch: int) -> dict[str, Work]:
    """Return LeNet on a batch, "dense", and with half the filters of each convolution, "half".

    Both are frozen: in a small network a Python call a layer would be a third of the time of both. "dense, not frozen" and
    "half, not frozen" are for comparison.
    """
    from minigrad import freeze
    from minigrad.compression.models import trained_lenet
    from minigrad.compression.pruning import prune_channels, shrink

    model, x = trained_lenet().eval(), images(batch)
    masked = prune_channels(model, {"conv1": 0.5, "conv2": 0.5})
    half = shrink(masked)
    check_same("LeNet with half its filters", run(half, x)(), run(masked, x)(), atol=1e-3)
    asked = {"dense, not frozen": run(model, x), "half, not frozen": run(half, x)}
    return asked | {"dense": run(freeze(model), x), "half": run(freeze(half), x)}


def images(count: int) -> Any:
    """Return random images, laid out as the loader lays out a batch."""
    import numpy as np

    from minigrad.ops.layout import innermost, outermost

    x = np.random.default_rng(0).normal(size=(count, 1, 28, 28)).astype(np.float32)
    return outermost(innermost(x))


def run(model: Any, x: Any) -> Work:
    """Return the work of running a model as `evaluate` does."""
    import minigrad
    from minigrad.functional import fusion

    def forward() -> Any:
        with minigrad.no_grad(), fusion():
            return model(x).data

    return forward


def race(what: str, sides: dict[str, Work], rounds: int, same: bool = True) -> Seconds:
    """Check that all sides compute the same as the last, let them take turns, print their medians, return their seconds."""
    expected = list(sides.values())[-1]()
    for name, work in sides.items() if same else ():
        check_same(f"{what}, {name}", work(), expected, atol=1e-3)
    seconds = rotate(sides, rounds, turn=TURN)
    medians = (f"{name} {1e6 * statistics.median(times):.0f}" for name, times in seconds.items())
    print(f"  {what}, µs: {', '.join(medians)}", flush=True)
    return seconds


def beside(seconds: Seconds, ours: str, theirs: str) -> Seconds:
    """Return what a row is made of."""
    return {"ours": seconds[ours], "theirs": seconds[theirs]}


def measure(options: Namespace) -> dict[str, Seconds]:
    import torch  # noqa: F401  so that its threads are set too

    use_threads(options.threads)
    largest: dict[str, list[float]] = {}
    for size in SIZES:
        for sparsity in SPARSITIES:
            seconds = race(f"{size}² at {sparsity}", products(size, size, sparsity), options.rounds)
            for side in ("scipy", "torch", "dense"):
                ratios = [ours / theirs for ours, theirs in zip(seconds["ours"], seconds[side], strict=True)]
                largest[side] = max(ratios, largest.get(side, [0]), key=statistics.median)
    found: dict[str, Seconds] = {f"sparse_{side}": {"values": ratios} for side, ratios in largest.items()}
    found["sparse_fc1"] = beside(race("120×256 at 0.75", products(120, 256, 0.75), options.rounds), "ours", "dense")
    pruned = race("pruned LeNet, batch 64", lenets(64), options.rounds)
    found["sparse_planned"] = beside(pruned, "planned", "dense")
    found["sparse_lenet"] = beside(pruned, "sparse", "dense")
    for batch in (64, 1000):
        rounds = 3 * options.rounds  # turns are short, and both sides nearly equal
        halved = race(f"LeNet with half its filters, batch {batch}", halved_lenets(batch), rounds, same=False)
        found[f"surgery_{batch}"] = beside(halved, "half", "dense")
    return found


if __name__ == "__main__":
    main(measure, make_parser(__doc__, rounds=3))
