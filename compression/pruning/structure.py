"""Structured pruning: which whole filters, channels and neurons to remove.

The functions here mask: they set to zero. `shrink` then takes out what was masked.
"""

import copy
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import numpy as np

from minigrad.nn import Conv2d, Module
from minigrad.tape import Array
from minigrad.tensor import Tensor

from .channels import Channels, Layer, PerChannel, trace_channels
from .masks import kth_value_mask

M = TypeVar("M", bound=Module)


def group_mask(w: Any, rate: float, ord: Literal[1, 2] = 1, axis: int = 0) -> Array:
    """Mark the groups of weights to keep: all but the round(n * rate) of least norm; of equal norms the first goes first.

    Args:
        w: weights. Along `axis` lie n groups: with 0, the filters of a convolution or the neurons of a linear layer;
            with 1, the input channels or features that they read.
        rate: share of the groups to remove, 0 to 1.
        ord: 1 ranks by the sum of magnitudes, 2 by the root of the sum of squares.
        axis: see w.

    Returns:
        bool array of w's shape, False throughout a removed group.

    Raises:
        ValueError: rate is outside [0, 1], ord is neither 1 nor 2, or w holds NaN.

    Source:
        Li et al., "Pruning filters for efficient ConvNets", 2017, section 3.1, for the L1 norm.

    Example:
        >>> group_mask(np.array([[0.1, 0.2], [-3.0, 0.0], [1.0, 1.0]]), 1 / 3)
        array([[False, False],
               [ True,  True],
               [ True,  True]])
    """
    if ord not in (1, 2):
        raise ValueError(f"group_mask: ord is {ord}, expected 1 or 2")
    groups = np.moveaxis(np.asarray(w.data if isinstance(w, Tensor) else w), axis, 0)
    powers = (np.abs(groups.astype(np.float64)) ** ord).sum(axis=tuple(range(1, groups.ndim)))
    keep = kth_value_mask(powers, rate, ties="exact")  # a root would not change the order
    return np.moveaxis(np.broadcast_to(keep.reshape(-1, *(1,) * (groups.ndim - 1)), groups.shape), 0, axis).copy()


def prune_conv(module: Conv2d, rate: float, structured: bool = True, ord: Literal[1, 2] = 1) -> Conv2d:
    """Return a copy of a convolution with a share of its weights set to zero. Its bias is left alone.

    Args:
        module: a Conv2d; stays as it is.
        rate: share to remove, 0 to 1.
        structured: True removes whole filters, those of least norm; False single weights, those of least magnitude.
        ord: norm of a filter, see `group_mask`.

    Raises:
        TypeError: module is no Conv2d.
        ValueError: rate is outside [0, 1].

    Source:
        The article on quantization and pruning in practice, section 3.2.2, whose listing breaks off. It announces
        structured pruning, and then says that the 10 % of *parameters* of least magnitude in each layer are removed: that
        is unstructured (here `structured=False`), since zeros scattered over all filters leave the layer its shape.

    Example:
        >>> from minigrad import nn
        >>> filters = prune_conv(nn.Conv2d(1, 10, 5), 0.1).weight.data.reshape(10, 25)
        >>> int((filters == 0).all(axis=1).sum())
        1
    """
    if not isinstance(module, Conv2d):
        raise TypeError(f"prune_conv: expected a Conv2d, got {type(module).__name__}")
    w = module.weight
    mask = group_mask(w, rate, ord) if structured else kth_value_mask(w, rate, ties="exact")
    pruned = copy.deepcopy(module)
    np.copyto(pruned.weight.data, 0, where=~mask)
    return pruned


def channel_masks(
    model: Module,
    rate: float | Mapping[str, float],
    ord: Literal[1, 2] = 1,
    by: Literal["incoming", "outgoing"] = "incoming",
    scope: Literal["layer", "global"] = "layer",
    example: Any = None,
) -> dict[str, Array]:
    """Return masks that remove whole channels of convolutions and neurons of linear layers, with all that belongs to them.

    A channel that goes has its filter zeroed, its bias, and its entries in a batch normalisation that follows, so that it
    is exactly zero wherever it is read. Layers that are summed (a residual) lose the same channels, ranked by the norm over
    all of them. The model's outputs are left alone, and every layer keeps one channel.

    Args:
        model: stays as it is.
        rate: share of the channels to remove, 0 to 1: one number for every layer, or layer → share, where layers that are
            not named keep all.
        ord: 1 ranks by L1 norm, 2 by L2; both per weight (mean magnitude, root mean square), so that layers of different
            sizes can be compared.
        by: "incoming" takes the norm of the weights that make a channel (filter and neuron pruning); "outgoing" of those
            that read it (channel pruning).
        scope: "layer" removes the share from each layer; "global" ranks all channels together.
        example: an input, see `trace_channels`.

    Returns:
        Parameter name → bool array of its shape, False where it is to be zero.

    Raises:
        KeyError: rate names a layer that the model does not have.
        ValueError: rate is outside [0, 1], differs for layers that are summed, names layers for the global ranking, or is
            asked of a layer whose channels cannot be removed; ord, by or scope is none of the above.

    Source:
        Li et al., "Pruning filters for efficient ConvNets", 2017: filters by L1 norm, and residual sums in section 3.3,
        where they rank by one side of the sum only.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> masks = channel_masks(LeNet(), {"conv1": 0.5})
        >>> {name: int((~mask).sum()) for name, mask in masks.items()}
        {'conv1.weight': 75, 'conv1.bias': 3}
    """
    if ord not in (1, 2) or by not in ("incoming", "outgoing") or scope not in ("layer", "global"):
        raise ValueError(
            f"channel_masks: ord={ord!r}, by={by!r}, scope={scope!r}; expected 1 or 2, 'incoming' or 'outgoing', "
            "'layer' or 'global'"
        )
    channels = trace_channels(model, example)
    groups = _groups(channels, rate)
    score = _scores(channels, ord, by)
    if scope == "global":
        if isinstance(rate, Mapping):
            raise ValueError(
                "channel_masks: the global ranking takes one rate for the whole model, not one for each layer"
            )
        gone = _lowest_overall([ids for ids, _ in groups], score, rate)
    else:
        # round() may ask for all: one stays.
        gone = [
            ids[np.argsort(score[ids], kind="stable")[: min(round(len(ids) * r), len(ids) - 1)]] for ids, r in groups
        ]
    removed = np.zeros(channels.count, bool)
    removed[np.concatenate([*gone, np.zeros(0, np.intp)])] = True
    return _masks(channels, removed)


def prune_channels(model: M, rate: float | Mapping[str, float], **settings: Any) -> M:
    """Return a copy of a model in which whole channels and neurons are zero. For the arguments see `channel_masks`.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> from minigrad.compression.pruning import shrink
        >>> masked = prune_channels(LeNet(), 0.5)
        >>> [sum(p.size for p in model.parameters()) for model in (masked, shrink(masked))]
        [44426, 11418]
    """
    pruned = copy.deepcopy(model)
    parameters = dict(pruned.named_parameters())
    for name, mask in channel_masks(model, rate, **settings).items():
        np.copyto(parameters[name].data, 0, where=~mask)
    return pruned


def _groups(channels: Channels, rate: float | Mapping[str, float]) -> list[tuple[Array, float]]:
    """Return (channels, rate) for each set of layers that share channels."""
    paths = [layer.path for layer in channels.layers]
    if isinstance(rate, Mapping) and not rate.keys() <= set(paths):
        raise KeyError(
            f"channel_masks: no such layer: {sorted(rate.keys() - set(paths))}; there are {', '.join(paths)}"
        )
    sets: list[tuple[set[int], list[Layer]]] = []
    for layer in channels.layers:
        ids, members = set(layer.outputs.tolist()), [layer]
        for other in [s for s in sets if s[0] & ids]:
            sets.remove(other)
            ids, members = ids | other[0], other[1] + members
        sets.append((ids, members))
    groups = []
    for ids, members in sets:
        asked = [rate.get(layer.path) if isinstance(rate, Mapping) else rate for layer in members]
        rates = {float(r) for r in asked if r is not None}
        names = ", ".join(layer.path for layer in members)
        if len(rates) > 1:
            raise ValueError(
                f"channel_masks: {names} are summed and lose the same channels, but have rates {sorted(rates)}"
            )
        share = next(iter(rates), 0.0)
        if not 0 <= share <= 1:
            raise ValueError(f"channel_masks: the rate of {names} is {share}, expected 0 to 1")
        obstacle = next((channels.obstacles[i] for i in sorted(ids) if i in channels.obstacles), None)
        fixed = bool(channels.fixed[list(ids)].any() or obstacle)
        if fixed and rates and (isinstance(rate, Mapping) or obstacle) and share:
            raise ValueError(
                f"channel_masks: channels of {names} cannot be removed: "
                f"{obstacle or 'they are outputs of the model, or summed with its input'}"
            )
        if not fixed:
            groups.append((np.array(sorted(ids), np.intp), share))
    return groups


def _scores(channels: Channels, ord: int, by: str) -> Array:
    """Return the norm per weight of each channel, float64 (count,)."""
    total, size = np.zeros(channels.count), np.zeros(channels.count)
    for layer in channels.layers:
        powers = np.abs(layer.module.weight.data.astype(np.float64)) ** ord
        powers = powers.reshape(*powers.shape[:2], -1).sum(axis=2)  # (F, C)
        ids, axis = (layer.outputs, 1) if by == "incoming" else (layer.inputs, 0)
        np.add.at(total, ids, powers.sum(axis=axis))
        np.add.at(size, ids, layer.module.weight.size // len(ids))
    return (total / np.maximum(size, 1)) ** (1 / ord)


def _lowest_overall(groups: list[Array], score: Array, rate: float) -> list[Array]:
    """Return the share `rate` of all channels with the least scores, leaving each group one."""
    everything = np.concatenate([*groups, np.zeros(0, np.intp)])
    last = {ids[np.argmax(score[ids])] for ids in groups}
    candidates = np.array([i for i in everything if i not in last], np.intp)
    return [candidates[np.argsort(score[candidates], kind="stable")[: round(len(everything) * rate)]]]


def _masks(channels: Channels, removed: Array) -> dict[str, Array]:
    """Return masks of all parameters that have an entry for a removed channel."""
    masks = {}
    parts: list[Layer | PerChannel] = [*channels.layers, *channels.per_channel]
    for part in parts:
        gone = removed[part.outputs if isinstance(part, Layer) else part.channels]
        for name in ("weight", "bias"):
            parameter = vars(part.module).get(name)
            if parameter is not None and gone.any():
                mask = np.ones(parameter.shape, bool)
                mask[gone] = False
                masks[f"{part.path}.{name}" if part.path else name] = mask
    return masks
