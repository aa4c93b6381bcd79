"""Run all benchmarks one after the other and print one table: what `make bench` does.

A missed target is reported and is no error; a benchmark that fails is one. Rounds and threads are each benchmark's own
unless given here.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import TARGETS, limit, measured, verdict

BENCHMARKS = {
    "train": ["train"],
    "inference": ["inference_64", "inference_1000"],
    "mlp": ["mlp"],
    "caffe_lenet": ["caffe_lenet"],
    "conv": ["conv"],
    "scalar_graph": ["scalar_10000", "scalar_500"],
    "sparse": [
        *("sparse_scipy", "sparse_torch", "sparse_dense", "sparse_fc1", "sparse_planned", "sparse_lenet"),
        *("surgery_64", "surgery_1000"),
    ],
    "integer": [
        *("integer_int8_64", "integer_float_64", "integer_onnx_64", "integer_plain_64"),
        *("integer_int8_1000", "integer_float_1000", "integer_onnx_1000", "integer_plain_1000", "integer_int8_1"),
    ],
    "binary": ["binary_64", "binary_1000"],
    "data_parallel": ["data_parallel"],
    "startup": ["import", "compile", "first_step", "memory"],
    "scaling": ["scaling_batch", "scaling_pixels", "scaling_channels"],
}
"""The rows that each script measures."""


def run(name: str, options: list[str]) -> dict[str, Any] | None:
    """Run a script and return what it wrote; None if it failed."""
    print(f"\n--- {name}", flush=True)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), "--json", str(file), *options]
        failed = subprocess.run(command, check=False).returncode
        return None if failed else json.loads(file.read_text())


def table(results: dict[str, dict[str, Any] | None]) -> str:
    """Return the rows of all results as a Markdown table."""
    lines = [("work", "against", "target", "measured", "")]
    for name, result in results.items():
        if result is None:
            lines += [(TARGETS[key].work, TARGETS[key].against, "", "", "failed") for key in BENCHMARKS[name]]
        else:
            lines += [(r["work"], r["against"], limit(r), measured(r), verdict(r)) for r in result["rows"].values()]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    lines.insert(1, tuple("-" * width for width in widths))
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in padded)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (all): {', '.join(BENCHMARKS)}")
    parser.add_argument("--rounds", type=int, help="measured turns a side")
    parser.add_argument("--processes", type=int, help="repeat each benchmark in so many")
    parser.add_argument("--threads", type=int, help="for each side")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    given = {name: getattr(options, name) for name in ("rounds", "processes", "threads")}
    passed_on = [f"--{name}={value}" for name, value in given.items() if value is not None]
    results = {name: run(name, passed_on) for name in options.names or BENCHMARKS}
    print("\nRatios are minigrad's time over the other side's: median (smallest–largest).\n")
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 1 if None in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
