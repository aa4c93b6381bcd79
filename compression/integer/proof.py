"""The proof that no float is used: a search through what the compiler made of the kernels.

Numba turns a kernel into LLVM IR, a typed assembly language, and that into machine code. In it a float cannot hide: its
values have the type `float`, `double` or `half`, and its instructions are called `fadd`, `sitofp` and so on. The search
takes the kernel's own functions and those that run its parallel loops; the wrappers that Numba adds for calls from Python
and C, which do not compute, are left out.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numba

FLOAT_TYPES = r"half|bfloat|float|double|fp128|x86_fp80|ppc_fp128"

FLOAT_INSTRUCTIONS = (
    "fneg|fadd|fsub|fmul|fdiv|frem|fcmp|fptrunc|fpext|fptoui|fptosi|uitofp|sitofp|"
    r"llvm\.(?:fma|fmuladd|sqrt|rint|nearbyint|round|floor|ceil|trunc|fabs|minnum|maxnum)\.\w+"
)

_FLOAT = re.compile(
    rf"(?<![\w.$@%\"-])(?:{FLOAT_TYPES}|{FLOAT_INSTRUCTIONS})(?![\w\"])"
    r"|@llvm\.\w[\w.]*\.(?:v\d+)?(?:nxv\d+)?f\d+"  # such as @llvm.fma.v8f32
)
_FUNCTION = re.compile(r'^define [^\n]*?@"?([^"(\s]+)"?\([^\n]*\{\n(.*?)^\}', re.MULTILINE | re.DOTALL)


class Finding(NamedTuple):
    """A line of LLVM IR with a float in it.

    Attributes:
        function: mangled name of the native function.
        line: the line.
    """

    function: str
    line: str


class Scan(NamedTuple):
    """What a search found.

    Attributes:
        functions: names of the native functions that were read.
        instructions: how many lines they have.
        findings: lines with floats, none if the proof holds.
    """

    functions: list[str]
    instructions: int
    findings: list[Finding]


def scan_kernel(function: Callable[..., Any], *arguments: Any) -> Scan:
    """Compile a kernel anew for arguments of these types, and search its LLVM IR for floats.

    Args:
        function: a plain Python function that Numba can compile; of a `Kernel`, its `python`.
        arguments: of the types that it is called with; it is not run.

    Example:
        >>> import numpy as np
        >>> def halve(x, out):
        ...     for i in numba.prange(x.size):
        ...         out[i] = x[i] * 0.5
        >>> any("fmul" in line for _, line in scan_kernel(halve, np.zeros(3, np.int32), np.zeros(3, np.int32)).findings)
        True
    """
    compiled = numba.njit(parallel=True, nogil=True)(function)  # what a cache returns has no IR any more
    compiled.compile(tuple(numba.typeof(argument) for argument in arguments))
    (text,) = compiled.inspect_llvm().values()
    return scan_ir(text)


def scan_ir(text: str) -> Scan:
    """Search LLVM IR for floats, function by function; Numba's wrappers are passed over.

    Raises:
        ValueError: the text defines no native function: there would be nothing to prove.
    """
    names, findings, count = [], [], 0
    for name, body in _FUNCTION.findall(text):
        if _is_wrapper(name):
            continue
        names.append(name)
        lines = [_code(line) for line in body.splitlines()]
        count += len(lines)
        findings += [Finding(name, line.strip()) for line in lines if _FLOAT.search(line)]
    if not names:
        raise ValueError("scan_ir: there is no native function in this LLVM IR")
    return Scan(names, count, findings)


def _is_wrapper(name: str) -> bool:
    """Tell whether a function is one of those that Numba adds for calls from Python or C."""
    return name.startswith(("_ZN7cpython", "cfunc.", "PyInit", "numba_"))


def _code(line: str) -> str:
    """Return a line without its metadata, comments, and strings."""
    return re.sub(r'c"[^"]*"|"[^"]*"', "", line.split(", !")[0].split(";")[0])
