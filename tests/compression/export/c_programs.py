"""Compiles what `to_c` writes, and runs it."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
NO_FLOATS = "-mgeneral-regs-only"
"""Registers of floating-point numbers are not there: what needs one does not compile."""

SANITIZERS = ("-fsanitize=undefined,address", "-fno-sanitize-recover=all", "-g")
"""What is undefined in C, or beyond an array's end, ends the program."""


def sanitizers():
    """Return flags; where memory is limited, without the search for wrong addresses, which reserves terabytes of them."""
    try:
        import resource
    except ImportError:  # not on Windows
        return SANITIZERS
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        return SANITIZERS
    return ("-fsanitize=undefined", *SANITIZERS[1:])


COMPILER = next((name for name in ("gcc", "cc") if shutil.which(name)), None)
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler: neither gcc nor cc")


def compile_c(sources, out, *flags):
    """Compile sources with all warnings as errors, and return the file."""
    command = [COMPILER, *FLAGS, *flags, *map(str, sources), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[:2000]}"
    return Path(out)


def load(sources, folder):
    """Compile sources as one library, and load it."""
    return ctypes.CDLL(str(compile_c(sources, folder / "lib.so", "-shared", "-fPIC", "-O1", NO_FLOATS)))


def call(library, name, made, model, pixels, with_sums):
    """Run NAME_run on each image: int8 (N, outputs) and int32 (N, outputs), the latter None without sums.

    Behind each of the arrays lie bytes that must stay as they are.
    """
    count = int(np.prod(model.shapes[-1]))
    outputs, sums, rows = np.full(count + 8, 77, np.int8), np.full(count + 2, 77, np.int32), []
    work = np.full(made.work + 8, 77, np.int8)
    run = getattr(library, f"{name}_run")
    for image in np.ascontiguousarray(pixels):
        arguments = [image, outputs, *([sums] if with_sums else []), work]
        run(*(ctypes.c_void_p(array.ctypes.data) for array in arguments))
        rows.append((outputs[:count].copy(), sums[:count].copy()))
    for array, length in ((outputs, count), (sums, count), (work, made.work)):
        assert (array[length:] == 77).all()
    logits, found = (np.array(part) for part in zip(*rows, strict=True))
    return logits, found if with_sums else None


def run_main(program, pixels, *arguments):
    """Feed images to a program made of NAME_main.c, and return what it prints, (N, outputs)."""
    done = subprocess.run([program, *arguments], input=np.ascontiguousarray(pixels).tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[:2000]
    return np.array([line.split() for line in done.stdout.decode().splitlines()], np.int64)
