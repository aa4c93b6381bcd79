"""Modules that hold modules."""

from collections.abc import Iterable, Iterator
from typing import Any

from minigrad.nn.module import Module


class ModuleList(Module):
    """A list of modules, named "0", "1", ...: trained and saved, but with no forward of its own.

    Raises:
        TypeError: an element is not a Module.
    """

    def __init__(self, modules: Iterable[Module] = ()):
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> None:
        """Add a module at the end."""
        setattr(self, str(len(self)), self._checked(module))

    def _checked(self, module: Module) -> Module:
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: expected a Module, got {type(module).__name__}")
        return module

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]

    def __setitem__(self, index: int, module: Module) -> None:
        names = [name for name, part in self._parts() if isinstance(part, Module)]
        setattr(self, names[index], self._checked(module))


class Sequential(ModuleList):
    """Modules called one after the other.

    Example:
        >>> from minigrad import nn
        >>> Sequential(nn.Linear(4, 3), nn.ReLU())
        Sequential(
          (0): Linear(in_features=4, out_features=3, bias=True)
          (1): ReLU()
        )
    """

    def __init__(self, *modules: Module):
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        """Feed x through every module."""
        for module in self:
            x = module(x)
        return x
