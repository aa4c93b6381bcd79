"""Ranges of activations, measured on images: where a chain of layers rounds, and what observers see there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minigrad import nn
from minigrad.tape import no_grad
from minigrad.tensor import Array
from minigrad.training import evaluating

from .formats import QuantParams
from .observers import Observer, make_observer


@dataclass(frozen=True)
class Stage:
    """Layers that are one step of an integer engine: a convolution or linear layer with its activation, or any other layer.

    Attributes:
        name: of the first of them.
        layers: one, or two.
        rounds: whether the result gets a range of its own. Pooling, flattening and a ReLU by itself keep their input's.
    """

    name: str
    layers: tuple[nn.Module, ...]
    rounds: bool

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


def stages(sequential: nn.Sequential) -> list[Stage]:
    """Return the stages of a chain whose batch normalisation is folded (see `minigrad.compression.models`).

    Raises:
        ValueError: batch normalisation is left.

    Example:
        >>> chain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))
        >>> [(stage.name, len(stage.layers), stage.rounds) for stage in stages(chain)]
        [('0', 2, True), ('2', 1, False), ('3', 1, False), ('4', 1, True)]
    """
    found: list[Stage] = []
    for name, layer in ((name, part) for name, part in vars(sequential).items() if isinstance(part, nn.Module)):
        if isinstance(layer, nn.BatchNorm2d):
            raise ValueError(f"quantization: {name} is a BatchNorm2d; fold it first, by fold_batch_norm")
        last = found[-1] if found else None
        if isinstance(layer, nn.ReLU | nn.ReLU6) and last is not None and last.rounds and len(last.layers) == 1:
            found[-1] = Stage(last.name, (*last.layers, layer), True)
        else:
            found.append(Stage(name, (layer,), isinstance(layer, nn.Conv2d | nn.Linear)))
    return found


def stage_outputs(sequential: nn.Sequential, images: Array, batch_size: int = 500) -> Iterator[tuple[str, Array]]:
    """Run images through a chain, in evaluation, and yield what each stage that rounds makes of each batch.

    Args:
        sequential: a chain, batch normalisation folded.
        images: (N, ...), float32.
        batch_size: images at a time.

    Raises:
        ValueError: there are no images.
    """
    if len(images) == 0:
        raise ValueError("calibration: there are no images; some hundred of the training images will do")
    parts = stages(sequential)
    with evaluating(sequential), no_grad():
        for start in range(0, len(images), batch_size):
            x: Any = images[start : start + batch_size]
            for stage in parts:
                x = stage(x)
                if stage.rounds:
                    yield stage.name, x.data


def observe(
    sequential: nn.Sequential, images: Array, observer: str = "min-max", bits: int = 8, batch_size: int = 500
) -> dict[str, Observer]:
    """Return an observer for each stage that rounds, which has seen what the stage makes of the images.

    Args:
        sequential, images, batch_size: as for `stage_outputs`.
        observer: its name in `OBSERVERS`.
        bits: of the format that a range is to be chosen for.

    Raises:
        ValueError: there are no images, an unknown observer, or NaN or infinity among the activations.
    """
    observers: dict[str, Observer] = {}
    for name, out in stage_outputs(sequential, images, batch_size):
        if name not in observers:
            observers[name] = make_observer(observer, bits)
        try:
            observers[name].observe(out)
        except ValueError as error:
            raise ValueError(f"calibration: the output of {name}: {error}") from None
    return observers


def calibrate(
    sequential: nn.Sequential, images: Array, observer: str = "min-max", bits: int = 8, batch_size: int = 500
) -> dict[str, QuantParams]:
    """Return the affine format of each stage that rounds, by name.

    Args:
        sequential, images, observer, bits, batch_size: as for `observe`.

    Raises:
        ValueError: as `observe`; or activations that are constant.

    Example:
        >>> import numpy as np
        >>> from minigrad.compression.models import as_sequential, trained_lenet
        >>> images = np.random.default_rng(0).normal(size=(4, 1, 28, 28)).astype(np.float32)
        >>> params = calibrate(as_sequential(trained_lenet(), images), images)
        >>> list(params), int(params["conv1"].zero_point), int(params["fc3"].zero_point) > -128
        (['conv1', 'conv2', 'fc1', 'fc2', 'fc3'], -128, True)
    """
    params = {}
    for name, seen in observe(sequential, images, observer, bits, batch_size).items():
        try:
            params[name] = seen.params(bits)
        except ValueError as error:
            raise ValueError(f"calibration: the output of {name}: {error}") from None
    return params
