"""Module: a tree of parameters. There is no hidden registry: a module's parts are its attributes, as you set them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from minigrad.tensor import Array, Tensor, watch


class Parameter(Tensor):
    """A Tensor that a Module trains. It holds a copy of the data, since optimizers write into it.

    Args:
        data: initial values, floating point.
        requires_grad: False freezes it.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(np.array(data.data if isinstance(data, Tensor) else data, order="C"), requires_grad)

    def __repr__(self) -> str:
        return "Parameter" + super().__repr__().removeprefix("Tensor")


class Buffer(Tensor):
    """A Tensor that a Module keeps and saves but does not train, such as a running mean. It holds a copy of the data."""

    __slots__ = ()

    def __init__(self, data: Any):
        super().__init__(np.array(data.data if isinstance(data, Tensor) else data, order="C"))


class Module:
    """Base of all layers and models: set Parameters and Modules as attributes, define `forward`, call the instance.

    Example:
        >>> from minigrad import nn
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         self.fc = nn.Linear(4, 2)
        ...
        ...     def forward(self, x):
        ...         return self.fc(x)
        >>> [name for name, _ in Net().named_parameters()]
        ['fc.weight', 'fc.bias']
    """

    training: bool = True
    _hooked: bool = False
    forward: Callable[..., Any]
    """Computes the module's output. Subclasses define it, with arguments of their own."""

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        if not self._hooked:
            return self.forward(*inputs, **settings)
        own = vars(self)
        for hook in list(own.get("_forward_pre_hooks", ())):
            replacement = hook(self, inputs)
            inputs = inputs if replacement is None else replacement
        out = self.forward(*inputs, **settings)
        for hook in list(own.get("_forward_hooks", ())):
            getattr(out, "data", None)  # a result that waits (see `functional/peephole.py`) is computed to be shown
            replacement = hook(self, inputs, out)
            out = out if replacement is None else replacement
        hooks = list(own.get("_backward_hooks", ()))
        if hooks and isinstance(out, Tensor) and out.requires_grad:
            out = watch(out, lambda g: [hook(self, g) for hook in hooks])
        return out

    def register_forward_pre_hook(
        self, hook: Callable[["Module", tuple[Any, ...]], tuple[Any, ...] | None]
    ) -> Callable[[], None]:
        """Call hook(module, inputs) before every forward; the tuple that it returns, unless None, replaces the inputs.

        Returns:
            A function that removes the hook.
        """
        return self._register("_forward_pre_hooks", hook)

    def register_forward_hook(self, hook: Callable[["Module", tuple[Any, ...], Any], Any]) -> Callable[[], None]:
        """Call hook(module, inputs, output) after every forward; what it returns, unless None, replaces the output.

        Returns:
            A function that removes the hook.
        """
        return self._register("_forward_hooks", hook)

    def register_backward_hook(self, hook: Callable[["Module", Array], Any]) -> Callable[[], None]:
        """Call hook(module, gradient) in backward with the gradient of the module's output.

        Returns:
            A function that removes the hook.
        """
        return self._register("_backward_hooks", hook)

    def _register(self, kind: str, hook: Callable[..., Any]) -> Callable[[], None]:
        hooks = vars(self).setdefault(kind, [])
        hooks.append(hook)
        vars(self)["_hooked"] = True
        return lambda: hooks.remove(hook)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(vars(self).get(name), Parameter) and value is not None and not isinstance(value, Parameter):
            raise TypeError(
                f"{type(self).__name__}.{name} is a Parameter and cannot be replaced by {type(value).__name__}; "
                f"write into {name}.data[...] to change its values, or assign a Parameter"
            )
        if isinstance(value, list | tuple | dict) and any(isinstance(v, Module | Parameter) for v in _values(value)):
            raise TypeError(
                f"{type(self).__name__}.{name}: modules in a plain {type(value).__name__} would not be trained or saved; "
                "use nn.ModuleList or nn.Sequential"
            )
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        parts = ", ".join(n for n, _ in self._parts()) or "none"
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r} (its modules and parameters: {parts})")

    def _parts(self) -> Iterator[tuple[str, Any]]:
        for name, value in vars(self).items():
            if isinstance(value, Module | Parameter | Buffer):
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """Yield (path, module) for this module (path "") and every module below it; a shared one once."""
        seen: set[int] = set()
        for name, module in self._walk(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator["Module"]:
        """Yield this module and every module below it."""
        return (module for _, module in self.named_modules())

    def children(self) -> Iterator["Module"]:
        """Yield the modules directly below this one."""
        return (part for _, part in self._parts() if isinstance(part, Module))

    def _walk(self, prefix: str) -> Iterator[tuple[str, "Module"]]:
        yield prefix, self
        for name, part in self._parts():
            if isinstance(part, Module):
                yield from part._walk(_join(prefix, name))

    def _named_tensors(self) -> Iterator[tuple[str, Parameter | Buffer]]:
        """Yield every (path, parameter or buffer), a shared one under each of its paths: what a checkpoint lists."""
        for path, module in self._walk(""):
            for name, part in module._parts():
                if isinstance(part, Parameter | Buffer):
                    yield _join(path, name), part

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (path, parameter), such as ("conv1.weight", ...), in the order they were set; a shared one once."""
        seen: set[int] = set()
        for name, parameter in self._named_tensors():
            if isinstance(parameter, Parameter) and id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Yield the parameters."""
        return (parameter for _, parameter in self.named_parameters())

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all below it to training (or, with False, to evaluation); return it."""
        for module in self.modules():
            vars(module)["training"] = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation; return this module."""
        return self.train(False)

    def state_dict(self) -> dict[str, Array]:
        """Return name → array for every parameter and buffer: copies, which later training does not touch."""
        return {name: parameter.data.copy() for name, parameter in self._named_tensors()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Copy the arrays of `state_dict` into the parameters, keeping the parameters' dtypes. All or nothing.

        Raises:
            KeyError: a name is missing or unexpected.
            ValueError: an array has another shape.
            TypeError: a value is not an array of numbers.
        """
        own = dict(self._named_tensors())
        missing, unexpected = sorted(own.keys() - state_dict.keys()), sorted(state_dict.keys() - own.keys())
        if missing or unexpected:
            raise KeyError(
                f"load_state_dict: names do not match those of {type(self).__name__}: "
                f"missing {missing or 'none'}, unexpected {unexpected or 'none'}"
            )
        arrays = {
            name: np.asarray(value.data if isinstance(value, Tensor) else value) for name, value in state_dict.items()
        }
        for name, parameter in own.items():
            array = arrays[name]
            if array.shape != parameter.shape:
                raise ValueError(
                    f"load_state_dict: {name} has shape {array.shape}, but {type(self).__name__} expects {parameter.shape}"
                )
            if array.dtype.kind not in "fiu":
                raise TypeError(f"load_state_dict: {name} holds {array.dtype}, expected numbers")
        for name, array in arrays.items():
            own[name].data[...] = array

    def extra_repr(self) -> str:
        """Describe the settings, for `repr`."""
        return ""

    def __repr__(self) -> str:
        children = [(name, part) for name, part in self._parts() if isinstance(part, Module)]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [f"({name}): {part!r}".replace("\n", "\n  ") for name, part in children]
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"


def _values(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
