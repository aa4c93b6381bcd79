"""Measure what a user waits for and pays at the start: import, first compilation, first training step; memory of the demo.

Each figure is taken from fresh processes. MB are millions of bytes.
"""

import os
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory

from common import main, make_parser

IMPORT = """
import time
start = time.perf_counter()
import minigrad
print(time.perf_counter() - start)
"""

KERNELS = """
import numpy as np
import minigrad
from minigrad import nn
from minigrad.compression.models import LeNet
model = LeNet()
loader = minigrad.DataLoader(np.zeros((64, 1, 28, 28), np.float32), np.zeros(64, int), 64, shuffle=True)
minigrad.train(model, loader, nn.CrossEntropyLoss(), minigrad.optim.SGD(model.parameters(), lr=0.01, momentum=0.5))
minigrad.evaluate(model, loader)
"""

FIRST_STEP = """
import time
import minigrad
from minigrad import functional as F
from minigrad.compression.models import LeNet
from minigrad.datasets import mnist
data = mnist("train")
model = LeNet()
optimizer = minigrad.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
for x, targets in minigrad.DataLoader(data.images, data.labels, 64, shuffle=True):
    with minigrad.functional.fusion():
        F.cross_entropy(model(x), targets).backward()
    optimizer.step()
    break
print(time.time())
"""
"""time.time() is the same clock in all processes."""

BYTECODE = TemporaryDirectory()
"""Where fresh processes keep bytecode: a cache is warm when Python's is."""


def python(script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a script in a fresh process, which keeps what Python compiles even where PYTHONDONTWRITEBYTECODE is set."""
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPYCACHEPREFIX": BYTECODE.name, "PYTHONDONTWRITEBYTECODE": ""} | environment
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True)


def compile_kernels() -> float:
    """Return the seconds of a process that trains and infers for the first time ever: with an empty cache.

    Raises:
        SystemExit: no line said why it takes so long.
    """
    with TemporaryDirectory() as cache:
        start = time.perf_counter()
        errors = python(KERNELS, NUMBA_CACHE_DIR=cache).stderr
        seconds = time.perf_counter() - start
    if "compiling kernels" not in errors:
        raise SystemExit(f"kernels were compiled, and no line said so; stderr: {errors!r}")
    return seconds


def first_step() -> float:
    """Return the seconds from the start of a process to the end of its first training step, MNIST read in between."""
    start = time.time()
    return float(python(FIRST_STEP).stdout) - start


def peak_memory() -> float:
    """Return the largest resident memory of `minigrad demo`, in MB."""
    with TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("minigrad")), "demo", "--out", folder]
        demo = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(demo.pid, 0)
    if status:
        raise SystemExit(f"`minigrad demo` failed, with status {status}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6  # Linux counts in KiB


def measure(options: Namespace) -> dict:
    python(KERNELS)  # warms the caches: Numba's and the system's
    figures = {
        "import": [float(python(IMPORT).stdout) for _ in range(options.rounds)],
        "compile": [compile_kernels()],
        "first_step": [first_step() for _ in range(options.rounds)],
    }
    if options.demo:
        figures["memory"] = [peak_memory()]
    return {key: {"values": values} for key, values in figures.items()}


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--no-demo", dest="demo", action="store_false", help="leave out the demo, which takes longest")
    main(measure, parser)
