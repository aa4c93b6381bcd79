"""Time CSR times dense, float32, 64 columns, here and in SciPy, PyTorch (MKL) and NumPy's dense product; and LeNet.

Sizes are 1024² and 4096², sparsities 0.7, 0.9 and 0.99, and the shape of LeNet's fc1 at 0.75. What is reported is the
largest of a row's ratios: a target is met where it is met at every size and sparsity. LeNet is the article's pruned one,
with every layer forced sparse, beside the same pruned weights in dense layers.
"""

import statistics
import warnings
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from common import check_same, main, make_parser, take_turns, use_threads

COLUMNS = 64
SIZES = {1024: 20, 4096: 2}
"""Rows and columns, and how many products a turn has."""
SPARSITIES = (0.7, 0.9, 0.99)
SIDES = ("scipy", "torch", "dense")


def products(rows: int, columns: int, sparsity: float) -> tuple[Callable[[], Any], dict[str, Callable[[], Any]]]:
    """Return our product, and the others' by name, of one random matrix."""
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
    return lambda: ours @ x, {"scipy": lambda: scipys @ x, "torch": lambda: torchs @ torch_x, "dense": lambda: w @ x}


def ratio(what: str, ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int, calls: int) -> float:
    """Return the median of our time over theirs, turn by turn."""
    check_same(what, ours(), theirs(), atol=1e-3)
    seconds = take_turns(ours, theirs, rounds, calls)
    value = statistics.median(o / t for o, t in zip(seconds["ours"], seconds["theirs"], strict=True))
    mine, other = (1e6 * statistics.median(seconds[side]) for side in ("ours", "theirs"))
    print(f"  {what}: minigrad {mine:.0f} µs, other {other:.0f} µs, ratio {value:.2f}", flush=True)
    return value


def lenets() -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return the article's pruned LeNet on a batch of 64, sparse and dense."""
    import numpy as np

    import minigrad
    from minigrad.compression.models import trained_lenet
    from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
    from minigrad.compression.sparse import to_sparse
    from minigrad.functional.peephole import fusion
    from minigrad.ops.layout import innermost, outermost

    model = trained_lenet()
    dense = SparsePruner(model, ARTICLE_SPARSITY).prune(model).eval()
    sparse = to_sparse(dense)
    x = outermost(innermost(np.random.default_rng(0).normal(size=(64, 1, 28, 28)).astype(np.float32)))

    def run(network: Any) -> Callable[[], Any]:
        def forward() -> Any:
            with minigrad.no_grad(), fusion():
                return network(x).data

        return forward

    return run(sparse), run(dense)


def measure(options: Namespace) -> dict:
    import torch  # noqa: F401  so that its threads are set too

    use_threads(options.threads)
    worst: dict[str, float] = {}
    for size, calls in SIZES.items():
        for sparsity in SPARSITIES:
            ours, others = products(size, size, sparsity)
            for side in SIDES:
                value = ratio(f"{size}² at {sparsity}, {side}", ours, others[side], options.rounds, calls)
                worst[side] = max(value, worst.get(side, 0))
    ours, others = products(120, 256, 0.75)
    fc1 = ratio("120×256 at 0.75, dense", ours, others["dense"], options.rounds, 200)
    sparse, dense = lenets()
    lenet = ratio("LeNet, every layer sparse", sparse, dense, options.rounds, 20)
    found = {f"sparse_{side}": value for side, value in worst.items()} | {"sparse_fc1": fc1, "sparse_lenet": lenet}
    return {key: {"values": [value]} for key, value in found.items()}


if __name__ == "__main__":
    main(measure, make_parser(__doc__))
