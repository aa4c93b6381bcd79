"""Compile models that `to_c` wrote and compare them with ours on all test images, logit by logit; also on an 8-bit chip.

Run from the checkout's root, as `make c-export` does: python -m tools.c_export. It needs gcc, valgrind, avr-gcc with
avr-libc, and simavr, and takes about three minutes on an idle core. Figures go to results/c_export.json.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minigrad.compression.export import CSource, to_c
from minigrad.compression.integer import PROFILES, IntegerModel, to_integer
from minigrad.compression.models import trained_lenet
from minigrad.compression.report import write_report
from minigrad.compression.sweep import versions
from minigrad.datasets import mnist
from tests.compression.export.c_programs import FLAGS, NO_FLOATS, SANITIZERS, compile_c, run_main
from tools.conformance import CALIBRATION, CASES

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "results" / "c_export.json"
AVR_MAIN = Path(__file__).with_name("avr_main.c")
CHIP, CLOCK = "atmega1284p", 16_000_000
VALGRIND_IMAGES, AVR_IMAGES = 500, 10


def main() -> int:
    """Compare everything; write the figures if no logit differs."""
    tools = ("gcc", "valgrind", "avr-gcc", "avr-size", "simavr")
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        print(f"c_export: needs {', '.join(missing)}; on Debian: gcc valgrind gcc-avr avr-libc simavr", file=sys.stderr)
        return 2
    calibration, pixels = mnist("train").pixels[:CALIBRATION], mnist("test").pixels
    with tempfile.TemporaryDirectory() as folder:
        figures = {
            "images": len(pixels), "calibration": CALIBRATION, "flags": [*FLAGS, NO_FLOATS, "-O2"],
            "cases": {
                case.name: {
                    profile: compare(to_integer(case.model(), calibration, profile, **case.settings), pixels, Path(folder))
                    for profile in PROFILES
                }
                for case in tqdm(CASES, "models", disable=None)
            },
            "lenet": inspect(to_integer(trained_lenet(), calibration), pixels, Path(folder)),
            "avr": [
                run_on_avr(to_integer(trained_lenet(), calibration, profile), pixels[:AVR_IMAGES], level, Path(folder))
                for profile in PROFILES
                for level in ("-Os", "-O2")
            ],
            "versions": {**versions(), **{tool: tool_version(tool) for tool in ("gcc", "valgrind", "avr-gcc")}},
        }  # fmt: skip
    print(describe(figures))
    differing = [n for case in figures["cases"].values() for n in case.values()]
    differing += [row["differences"] for row in figures["avr"]] + [figures["lenet"]["sanitizers"]["differences"]]
    differing.append(figures["lenet"]["valgrind"]["differences"])
    if any(differing):
        print(f"c_export: {sum(differing):,} logits differ; {FIGURES.name} is left as it was", file=sys.stderr)
        return 1
    write_report(FIGURES, figures)
    return 0


def build(model: IntegerModel, folder: Path, *flags: str) -> tuple[Path, CSource]:
    """Write a model as C and compile it with its `main`; return the program, and what the model needs."""
    made = to_c(model, folder, "lenet")
    return compile_c([folder / "lenet.c", folder / "lenet_main.c"], folder / "lenet", *flags), made


def compare(model: IntegerModel, pixels: np.ndarray, folder: Path) -> int:
    """Return how many logits differ, without registers for floats."""
    program, _ = build(model, folder, NO_FLOATS, "-O2")
    return differences(run_main(program, pixels), model, pixels)


def inspect(model: IntegerModel, pixels: np.ndarray, folder: Path) -> dict[str, Any]:
    """Run a model under gcc's sanitizers and under valgrind, which end with an error at the first complaint."""
    program, _ = build(model, folder, *SANITIZERS, "-O2")
    sanitized = differences(run_main(program, pixels), model, pixels)
    _, made = build(model, folder, "-g", "-O2")
    some = pixels[:VALGRIND_IMAGES]
    command = ("-q", "--leak-check=full", "--error-exitcode=9", folder / "lenet")
    checked = differences(run_main("valgrind", some, *command), model, some)
    return {
        "flash": made.flash, "work": made.work, "buffers": made.buffers, "files": made.files,
        "layers": [row._asdict() for row in made.layers],
        "sanitizers": {"flags": SANITIZERS, "images": len(pixels), "differences": sanitized},
        "valgrind": {"images": len(some), "differences": checked},
    }  # fmt: skip


def differences(logits: np.ndarray, model: IntegerModel, pixels: np.ndarray) -> int:
    """Return how many logits differ from the model's own."""
    expected = model.logits(pixels)
    if logits.shape != expected.shape:
        raise RuntimeError(f"c_export: the program printed {logits.shape} logits, expected {expected.shape}")
    return int(np.count_nonzero(logits != expected))


def run_on_avr(model: IntegerModel, pixels: np.ndarray, level: str, folder: Path) -> dict[str, Any]:
    """Compile a model for the 8-bit chip, run it in simavr, and return what it needed.

    Returns:
        "differences" of logits; "cycles" of an image; bytes: "flash" of constants and code without the test images, "ram" of
        variables, "stack" at most.
    """
    made = to_c(model, folder, "lenet")
    values = ",".join(map(str, pixels.ravel().tolist()))
    (folder / "images.h").write_text(
        f"#define IMAGES {len(pixels)}\nstatic const uint8_t images[] PROGMEM = {{{values}}};\n"
    )
    program = folder / "lenet.elf"
    options = [f"-mmcu={CHIP}", *FLAGS, level, f"-I{folder}"]
    subprocess.run(["avr-gcc", *options, folder / "lenet.c", AVR_MAIN, "-o", program], check=True)
    sizes = dict(re.findall(r"^\.(text|data|bss) +(\d+)", output("avr-size", "-A", program), re.M))
    lines = [
        [int(word) for word in line.split()]
        for line in re.findall(
            r"^[-\d ]+(?=\.$)", strip_colours(output("simavr", "-m", CHIP, "-f", str(CLOCK), program)), re.M
        )
    ]
    if len(lines) != len(pixels) + 1:
        raise RuntimeError(f"c_export: simavr printed {len(lines)} lines, expected {len(pixels) + 1}")
    rows = np.array(lines[:-1])
    cycles = int(1000 * rows[:, -1].mean())
    return {
        "chip": CHIP, "profile": model.profile, "level": level, "images": len(pixels),
        "differences": differences(rows[:, :-1], model, pixels), "cycles": cycles, "seconds": round(cycles / CLOCK, 3),
        "constants": made.flash, "flash": int(sizes["text"]) + int(sizes["data"]) - pixels.size,
        "ram": int(sizes["data"]) + int(sizes["bss"]), "stack": lines[-1][0],
    }  # fmt: skip


def output(*command: Any) -> str:
    """Return what a program prints, also to stderr, which simavr writes the serial port to."""
    return subprocess.run(
        command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600
    ).stdout


def strip_colours(text: str) -> str:
    """Return text without a terminal's escape sequences."""
    return re.sub(r"\x1b\[\d*m", "", text)


def tool_version(tool: str) -> str:
    """Return the version that a tool says it has."""
    found = re.search(r"\d+\.\d+(\.\d+)?", output(tool, "--version").splitlines()[0])
    return found[0] if found else "unknown"


def describe(figures: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [f"differing logits of {figures['images']:,} images, {' '.join(figures['flags'])}:"]
    for name, case in figures["cases"].items():
        lines.append(f"  {name}: " + ", ".join(f"{profile} {count:,}" for profile, count in case.items()))
    lenet = figures["lenet"]
    lines.append(f"sanitizers: {lenet['sanitizers']['images']:,} images, {lenet['sanitizers']['differences']:,} differ")
    lines.append(f"valgrind: {lenet['valgrind']['images']:,} images, {lenet['valgrind']['differences']:,} differ")
    for row in figures["avr"]:
        lines.append(
            f"{row['chip']} {row['profile']} {row['level']}: {row['images']} images, {row['differences']:,} logits differ; "
            f"{row['seconds']:.2f} s at {CLOCK // 10**6} MHz; flash {row['flash']:,} B ({row['constants']:,} B constants), "
            f"RAM {row['ram']:,} B and {row['stack']:,} B of stack"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
