"""The `@kernel` decorator: one plain Python function, two ways to run it.

A kernel is written once, as an ordinary function over arrays. `@kernel` keeps that function (`.python`) and compiles a
twin of it with Numba (`.compiled`); a call runs whichever of the two the innermost `with use(...)` block asks for. So a
reader can put a breakpoint into the very lines that train the network, without restarting anything.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, update_wrapper
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.core import event
from numba.extending import lower_builtin, register_jitable, type_callable

from minigrad.kernels import threads

MODES = ("compiled", "python")
_mode: ContextVar[str] = ContextVar("minigrad_kernel_mode", default="compiled")

# What LLVM may assume. Sums may be reordered (that is what fills vector registers) and a*b + c fused, but NaN and
# infinity stay themselves: training must be able to see them.
FAST_MATH = {"reassoc", "contract", "nsz", "arcp"}

# A gufunc, which is what Numba makes of a prange, always divides as NumPy does; where the rest of a kernel would divide as
# Python does, its helpers would be compiled twice. Nobody calls kernels from C.
COMPILED_ONCE = {"error_model": "numpy", "no_cfunc_wrapper": True}

helper = register_jitable(**COMPILED_ONCE)
"""Marks a function that kernels call. It stays a plain function: compiled kernels inline it, Python ones call it, so
`use("python")` reaches it too."""

inlined = register_jitable(forceinline=True, **COMPILED_ONCE)
"""The same for the innermost helpers: LLVM would not inline them by itself, and to call one costs as much as its first sums."""


def instruction(function: Callable[..., Any], constant: bool = False) -> Callable[..., Any]:
    """Say what a call of `function` in a compiled kernel becomes, instead of a call: LLVM instructions, built in its place.

    The decorated function takes the types of the arguments. It returns the signature, and what builds the instructions:
    `generate(context, builder, signature, args)`. (An `overload` of Numba's would do, but is compiled by itself each time.)

    constant: the last argument is one, and the type says its value (`literal_value`)
    """

    def register(define: Callable[..., Any]) -> Callable[..., Any]:
        @type_callable(function)
        def typed(context: Any) -> Callable[..., Any]:
            def signature(*arguments: Any) -> Any:
                if constant and not isinstance(arguments[-1], types.Literal):
                    return None  # Numba asks again, with the value
                return define(*arguments)[0]

            signature.pysig = inspect.signature(function)  # pyright: ignore[reportFunctionMemberAccess]
            return signature

        @lower_builtin(function, types.VarArg(types.Any))
        def built(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return define(*signature.args)[1](context, builder, signature, args)

        return define

    return register


@cache
def _folder_stamp(folder: Path = Path(__file__).parent) -> tuple[tuple[str, float, int], ...]:
    """Return name, time and size of every file of this folder and of a kernel's: when it changes, it is compiled again."""
    files = sorted(file for each in {Path(__file__).parent, folder} for file in each.glob("*.py"))
    return tuple((file.name, file.stat().st_mtime, file.stat().st_size) for file in files)


class Kernel:
    """A function over arrays with a compiled twin.

    Attributes:
        python: the function as written. Step through it with any debugger.
        compiled: Numba's dispatcher for the same function. It compiles at the first call with new types and caches on disk.
    """

    def __init__(self, function: Callable[..., Any]):
        self.python = function
        self.compiled = numba.njit(parallel=True, cache=True, nogil=True, fastmath=FAST_MATH, **COMPILED_ONCE)(function)
        # Numba's cache watches the kernel's own file only, and kernels use helpers of others: watch whole folders.
        cache_file = self.compiled._cache._cache_file  # pyright: ignore[reportAttributeAccessIssue]
        cache_file._source_stamp = _folder_stamp(Path(function.__code__.co_filename).parent)
        update_wrapper(self, function)
        TABLE[function.__name__] = self

    def __call__(self, *args: Any) -> Any:
        if _mode.get() == "python":
            return self.python(*args)
        if not threads.is_started():
            threads.start()
        if threads.launch is None:
            return self.compiled(*args)
        with threads.launch:
            return self.compiled(*args)

    def __repr__(self) -> str:
        return f"<kernel {self.python.__name__}, runs {_mode.get()}>"


TABLE: dict[str, Kernel] = {}
"""Every kernel by name; the test that compares twins walks it."""


def kernel(function: Callable[..., Any]) -> Kernel:
    """Turn a plain function over arrays into a `Kernel` (parallel, cached, GIL released)."""
    return Kernel(function)


@contextmanager
def use(mode: str) -> Iterator[None]:
    """Run every kernel inside the `with` block in Python or compiled.

    Args:
        mode: "python" runs the kernels as written, line by line (slow, steppable); "compiled" runs their Numba twins.

    Raises:
        ValueError: mode is neither.

    Example:
        >>> import minigrad
        >>> with minigrad.kernels.use("python"):
        ...     print(minigrad.kernels.current_mode())
        python
        >>> minigrad.kernels.current_mode()
        'compiled'
    """
    if mode not in MODES:
        raise ValueError(f"kernels.use: mode is {mode!r}, expected one of {MODES}")
    token = _mode.set(mode)
    try:
        yield
    finally:
        _mode.reset(token)


def current_mode() -> str:
    """Return "compiled" or "python": how a kernel called here would run."""
    return _mode.get()


class _CompileNotice(event.Listener):
    """Says once per process, on stderr, why the first call takes seconds."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: Any) -> None:
        dispatcher = event.data.get("dispatcher")
        if not self.said and getattr(dispatcher, "py_func", None) in [k.python for k in TABLE.values()]:
            self.said = True
            sys.stderr.write(
                "minigrad: compiling kernels for this machine; they are cached, so the next run starts at once ...\n"
            )

    def on_end(self, event: Any) -> None:
        """Nothing to do: compilation is announced, not timed."""


event.register("numba:compile", _CompileNotice())
