"""What every benchmark needs: its target, a process of its own, sides that take turns, medians, figures as JSON.

A benchmark is a function `measure(options)`. It checks that both sides compute the same, lets them take turns, and returns
their seconds under the name of a target. `main` calls it in a new process with a clean environment and the same number of
threads for each side, says what came out, and writes it where `--json` says.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

PAUSE = 0.3
"""Seconds before each turn: idle threads of the other side spin for a while, and would slow this one down."""


class Target(NamedTuple):
    """A line of the table: what is done, beside whom, and how much it may take."""

    work: str
    against: str
    limit: float | None
    unit: str = ""  # none: a ratio, ours / theirs


TARGETS = {
    "train": Target("LeNet epoch, 60,000 images, batch 64", "PyTorch eager", 0.40),
    "inference_64": Target("LeNet inference, frozen, 10,000 images, batch 64", "onnxruntime float32", 0.9),
    "inference_1000": Target("LeNet inference, frozen, 10,000 images, batch 1,000", "onnxruntime float32", 0.9),
    "mlp": Target("MLP 784-1200-1200-10, training, batch 100", "PyTorch eager", 1.05),
    "caffe_lenet": Target("Caffe LeNet-5 (20, 50, 500), training, batch 64", "PyTorch eager", 1.0),
    "conv": Target("conv2d forward and backward, 3×3, 32→64, 32×32, batch 64", "PyTorch eager", 1.2),
    "scalar_10000": Target("scalar graph, forward and backward, 10,000 nodes", "PyTorch eager", 1.5),
    "scalar_500": Target("scalar graph, forward and backward, 500 nodes", "micrograd's algorithm", 1.0),
    "sparse_scipy": Target("CSR × dense, 1024² and 4096² × 64, sparsity .7 to .99, largest", "SciPy", 0.4),
    "sparse_torch": Target("the same", "PyTorch sparse CSR (MKL)", 1.0),
    "sparse_dense": Target("the same", "NumPy dense", 1.0),
    "sparse_fc1": Target("CSR × dense, 120×256 × 64 at sparsity .75 (fc1)", "NumPy dense", 1.0),
    "sparse_planned": Target("article's pruned LeNet, batch 64, planner's choice", "our dense LeNet", 1.0),
    "sparse_lenet": Target("the same, every layer forced sparse", "our dense LeNet", None),
    "surgery_64": Target(
        "LeNet with half its filters pruned away by surgery, frozen, batch 64", "our dense LeNet, frozen", 0.6
    ),
    "surgery_1000": Target("the same, batch 1,000", "our dense LeNet, frozen", 0.6),
    "integer_int8_64": Target("LeNet in integers, 10,000 images, batch 64", "onnxruntime int8, fastest form", 0.2),
    "integer_float_64": Target("the same", "our float32 LeNet", 0.5),
    "integer_onnx_64": Target("the same", "onnxruntime float32", 0.4),
    "integer_plain_64": Target("the same, plain kernel", "our float32 LeNet", 1.5),
    "integer_int8_1000": Target("LeNet in integers, 10,000 images, batch 1,000", "onnxruntime int8, fastest form", 0.2),
    "integer_float_1000": Target("the same", "our float32 LeNet", 0.5),
    "integer_onnx_1000": Target("the same", "onnxruntime float32", 0.4),
    "integer_plain_1000": Target("the same, plain kernel", "our float32 LeNet", 1.5),
    "integer_int8_1": Target("LeNet in integers, image by image", "onnxruntime int8, fastest form", 1.0),
    "binary_64": Target("binary conv layer, 10,000 images, batch 64", "our float32 conv of that layer", 0.25),
    "binary_1000": Target("binary conv layer, 10,000 images, batch 1,000", "our float32 conv of that layer", 0.25),
    "data_parallel": Target("LeNet, batch 64, two processes of one thread", "one process of two threads", None),
    "import": Target("import minigrad, warm cache", "", 0.7, "s"),
    "compile": Target("all LeNet kernels compiled the first time", "", 30, "s"),
    "first_step": Target("first training step after process start, warm", "", 2, "s"),
    "memory": Target("peak memory of minigrad demo", "", 900, "MB"),
    "scaling_batch": Target("conv2d: largest cost over its line, by batch size", "", None, "×"),
    "scaling_pixels": Target("conv2d: largest cost over its line, by image size", "", None, "×"),
    "scaling_channels": Target("conv2d: largest cost over its line, by channels", "", None, "×"),
}

UNWANTED = ("OPENBLAS_", "OMP_", "GOMP_", "KMP_", "MKL_", "NUMBA_NUM_THREADS")
"""Beginnings of variables left out of the environment: OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE, where somebody set them,
force kernels of another CPU on NumPy and SciPy; the others change how threads are counted or wait."""


def make_parser(description: str, rounds: int = 5, processes: int = 1) -> argparse.ArgumentParser:
    """Return a parser of the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"measured turns a side ({rounds})")
    parser.add_argument("--processes", type=int, default=processes, help=f"repeat in so many ({processes})")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="for each side (2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser


def main(measure: Callable[[argparse.Namespace], dict[str, Any]], parser: argparse.ArgumentParser) -> None:
    """Measure in new processes and say what came out."""
    options = parser.parse_args()
    if options.child:
        measured = measure(options)
        options.child.write_text(json.dumps({"measured": measured, "made_with": describe(options.threads)}))
        return
    busy = busy_share()
    if busy > 0.1:
        print(f"warning: other programs use {busy:.0%} of the CPU; the figures will be off", flush=True)
    runs = [run_child(options.threads) for _ in range(options.processes)]
    rows = {key: make_row(key, [run["measured"][key] for run in runs]) for key in runs[0]["measured"]}
    print(", ".join(f"{name} {value}" for name, value in runs[0]["made_with"].items()))
    for row in rows.values():
        print(sentence(row))
    if options.json:
        result = {"rows": rows, "made_with": runs[0]["made_with"], "busy_before": busy}
        result["runs"] = [run["measured"] for run in runs]
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def busy_share(seconds: float = 0.5) -> float:
    """Return the share of the CPU's time that is used now, while this process sleeps; 0.0 where /proc does not tell."""
    file = Path("/proc/stat")
    if not file.exists():
        return 0.0
    samples = []
    for pause in (seconds, 0):
        samples.append([int(ticks) for ticks in file.read_text().splitlines()[0].split()[1:9]])
        time.sleep(pause)
    spent = [after - before for before, after in zip(*samples, strict=True)]  # user, nice, system, idle, waiting ...
    return 1 - (spent[3] + spent[4]) / max(sum(spent), 1)


def run_child(threads: int) -> dict[str, Any]:
    """Run this script once more, in a process with a clean environment, and return what it measured."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
    environment["OPENBLAS_NUM_THREADS"] = str(threads)  # of NumPy's BLAS; the kernels' and PyTorch's are set by calls
    with TemporaryDirectory() as folder:
        file = Path(folder) / "measured.json"
        subprocess.run([sys.executable, *sys.argv, "--child", str(file)], env=environment, check=True)
        return json.loads(file.read_text())


def use_threads(count: int) -> None:
    """Give both sides the same number of threads."""
    import minigrad

    minigrad.kernels.set_num_threads(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def describe(threads: int) -> dict[str, Any]:
    """Return versions and thread counts of all that took part."""
    import llvmlite.binding
    import numba

    import minigrad

    found: dict[str, Any] = {"Python": platform.python_version(), "CPU": llvmlite.binding.get_host_cpu_name()}
    found |= {"cores": os.cpu_count(), "minigrad": minigrad.__version__}
    peers = [name for name in ("numpy", "numba", "torch", "onnxruntime") if name in sys.modules]
    found |= {name: sys.modules[name].__version__ for name in peers}
    found["minigrad threads"] = f"{minigrad.kernels.get_num_threads()} ({numba.threading_layer()})"
    if "torch" in peers:
        found["torch threads"] = sys.modules["torch"].get_num_threads()
    if "onnxruntime" in peers:
        found["onnxruntime threads"] = threads
    return found


def take_turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int, calls: int = 1
) -> dict[str, list[float]]:
    """Let both sides work in turn, and return the seconds a call of each turn. See `rotate`."""
    return rotate({"ours": ours, "theirs": theirs}, rounds, calls)


def rotate(
    sides: Mapping[str, Callable[[], Any]], rounds: int, calls: int = 1, turn: float | None = None
) -> dict[str, list[float]]:
    """Let all sides work in turn, and return the seconds a call of each turn. The first round only warms up (and compiles).

    Args:
        sides: their work, by name.
        rounds: turns a side.
        calls: in a turn; several where one is too short to be timed well.
        turn: seconds of a turn, for calls that are so short that what a pause leaves behind (threads asleep, a slow clock,
            an empty cache) would be all that is measured: each turn is as many calls as fit, in place of `calls`, after
            untimed calls for half as long. The first round is a single call then.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    gc.freeze()  # a side that leaves garbage pays for clearing it, but not for a look through all objects of all libraries
    for round_ in range(rounds + 1):
        for name, work in sides.items():
            if turn and not round_:
                work()
                continue
            gc.collect()  # what one side left behind is not cleared away in the other's time
            time.sleep(PAUSE)
            if turn:
                _repeat(work, turn / 2)
            a_call = _repeat(work, turn) if turn else _repeat(work, 0, calls)
            if round_:
                seconds[name].append(a_call)
    gc.unfreeze()
    return seconds


def _repeat(work: Callable[[], Any], seconds: float, calls: int = 1) -> float:
    """Call work so many times, and then until so many seconds are over; return the seconds a call."""
    done, start = 0, time.perf_counter()
    while done < calls or time.perf_counter() - start < seconds:
        work()
        done += 1
    return (time.perf_counter() - start) / done


def check_same(what: str, ours: Any, theirs: Any, rtol: float = 1e-3, atol: float = 1e-5) -> None:
    """End the benchmark if the two sides do not compute the same: their times would mean nothing.

    Raises:
        SystemExit: they differ.
    """
    import numpy as np

    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=rtol, atol=atol):
        difference = np.abs(ours - theirs).max() if ours.shape == theirs.shape else f"{ours.shape} and {theirs.shape}"
        raise SystemExit(f"{what}: the two sides do not compute the same (they differ by {difference})")


def make_row(key: str, runs: list[dict[str, list[float]]]) -> dict[str, Any]:
    """Turn what was measured for a target into its row: value, spread, and whether the target is met.

    Args:
        key: of `TARGETS`.
        runs: one a process: {"ours": seconds, "theirs": seconds}, or {"values": figures} where there is no other side.

    With one process, each turn of ours is compared with theirs that followed it. PyTorch's speed differs from process to
    process; with several, all our turns are compared with the median of its best one.
    """
    target, row = TARGETS[key], {}
    if "values" in runs[0]:
        values = [value for run in runs for value in run["values"]]
    else:
        ours = [seconds for run in runs for seconds in run["ours"]]
        theirs = min((run["theirs"] for run in runs), key=statistics.median)
        best = statistics.median(theirs)
        values = [s / t for s, t in zip(ours, theirs, strict=True)] if len(runs) == 1 else [s / best for s in ours]
        row = {"ours_seconds": statistics.median(ours), "theirs_seconds": best}
        if len(runs) > 1:
            row["against"] = f"{target.against}, best of {len(runs)} processes"
    value = statistics.median(values)
    met = None if target.limit is None else value <= target.limit
    return {**target._asdict(), **row, "value": value, "low": min(values), "high": max(values), "met": met}


def sentence(row: dict[str, Any]) -> str:
    """Say a row in words."""
    text = row["work"] + ": "
    if "ours_seconds" in row:
        text += f"minigrad {duration(row['ours_seconds'])}, {row['against']} {duration(row['theirs_seconds'])}, ratio "
    return text + f"{measured(row)}" + (f", target {limit(row)}: {verdict(row)}" if row["met"] is not None else "")


def duration(seconds: float) -> str:
    """Write seconds in a unit that suits them."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def measured(row: dict[str, Any]) -> str:
    """Write a row's median and its spread, where it was measured more than once."""
    digits, unit = (0, " MB") if row["unit"] == "MB" else (2, " " + row["unit"] if row["unit"] else "")
    spread = f" ({row['low']:.{digits}f}–{row['high']:.{digits}f})" if row["low"] < row["high"] else ""
    return f"{row['value']:.{digits}f}{unit}{spread}"


def limit(row: dict[str, Any]) -> str:
    """Write a row's target."""
    return "" if row["limit"] is None else f"≤ {row['limit']:g} {row['unit']}".strip()


def verdict(row: dict[str, Any]) -> str:
    """Say whether the target is met."""
    return "" if row["met"] is None else "met" if row["met"] else "missed"
