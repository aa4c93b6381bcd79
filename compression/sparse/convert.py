"""Turn the layers of a model into sparse ones, and back."""

import copy
from collections.abc import Callable, Mapping

from minigrad import nn

from .formats import check_format
from .layers import SparseConv2d, SparseLayer, SparseLinear

CONVERTERS: dict[type[nn.Module], Callable[..., SparseLayer]] = {
    nn.Linear: SparseLinear.from_dense,
    nn.Conv2d: SparseConv2d.from_dense,
}


def to_sparse(model: nn.Module, format: str | Mapping[str, str] = "csr") -> nn.Module:
    """Return a copy of a model whose Linear and Conv2d layers are sparse. What is zero in them stays zero.

    Nothing is pruned here: prune first (`minigrad.compression.pruning`). The copy computes the same, can be trained, and
    is written to files by `save_sparse`. Values are float32, as they were.

    Args:
        model: it stays as it is. Layers of classes derived from Linear and Conv2d are left alone.
        format: a name in `FORMATS` for all layers; or layer → name, such as {"fc1": "csr16"}, where layers that are
            not named, or named "dense", stay dense.

    Raises:
        ValueError: there is no such format, or a width does not suffice for a layer.
        KeyError: format names a layer that the model does not have, or that is neither Linear nor Conv2d.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> to_sparse(LeNet(), {"fc1": "csr", "fc2": "bitmask"}).fc2
        SparseLinear(120, 84, sparsity=0.00, format='bitmask', bias=True)
    """
    layers = {name: module for name, module in model.named_modules() if type(module) in CONVERTERS}
    formats = dict.fromkeys(layers, format) if isinstance(format, str) else dict(format)
    if unknown := sorted(formats.keys() - layers.keys()):
        raise KeyError(
            f"to_sparse: {type(model).__name__} has no Linear or Conv2d named {', '.join(unknown)}; "
            f"there are {', '.join(layers) or 'none'}"
        )
    formats = {name: chosen for name, chosen in formats.items() if chosen != "dense"}
    if isinstance(format, str) and format == "dense":
        return copy.deepcopy(model)
    for chosen in formats.values():
        check_format("to_sparse", chosen)
    made: dict[str, nn.Module] = {}
    for name, chosen in formats.items():
        try:
            made[name] = CONVERTERS[type(layers[name])](layers[name], chosen)
        except ValueError as error:
            raise ValueError(f"to_sparse: {name}: {error}") from None
    return with_layers(model, made)


def to_dense(model: nn.Module) -> nn.Module:
    """Return a copy of a model whose sparse layers are Linear and Conv2d again, with the zeros written out.

    Example:
        >>> from minigrad import nn
        >>> to_dense(to_sparse(nn.Sequential(nn.Linear(8, 4))))
        Sequential(
          (0): Linear(in_features=8, out_features=4, bias=True)
        )
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, SparseLayer)}
    return with_layers(model, {name: _dense_layer(layer) for name, layer in layers.items()})


def _dense_layer(layer: SparseLayer) -> nn.Module:
    matrix, bias = layer.matrix.to_dense(), layer.bias is not None
    if isinstance(layer, SparseConv2d):
        geometry = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups, bias)
        made = nn.Conv2d(layer.in_channels, layer.out_channels, *geometry)
    else:
        made = nn.Linear(matrix.shape[1], matrix.shape[0], bias)
    made.weight = nn.Parameter(matrix.reshape(made.weight.shape))
    made.bias = None if layer.bias is None else nn.Parameter(layer.bias.data.copy())
    return made


def with_layers(model: nn.Module, replacements: Mapping[str, nn.Module]) -> nn.Module:
    """Return a copy of a model in which the modules of these names are replaced, wherever they are used."""
    memo = {}
    for name, module in model.named_modules():
        if name in replacements:
            memo[id(module)] = replacements[name].train(module.training)
    return copy.deepcopy(model, memo)  # which takes what its memo has for a module in place of a copy of it
