"""A model of integers only: from pixels to logits there is no floating-point number."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from . import engine, explain, files
from .arithmetic import check_profile
from .certificate import Bound, accumulator_bounds, certify
from .layers import IntegerFlatten, IntegerLayer, TensorInfo, WeightedLayer
from .storage import FileBytes, LayerBytes, layer_bytes

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class IntegerModel:
    """Layers of integers, one after the other. `to_integer` makes one of a trained model.

    Attributes:
        input: shape, scale and zero point of the images.
        layers: in order; the last one that has weights gives the logits.
        profile: how sums are rounded back to int8: "tflite", "single" or "onnx" (see `arithmetic.py`).

    Raises:
        ValueError: the layers do not fit together, an accumulator could overflow, or there is no such profile.
    """

    input: TensorInfo
    layers: tuple[IntegerLayer, ...]
    profile: str = "tflite"
    shapes: tuple[tuple[int, ...], ...] = field(init=False, repr=False)
    """Shape of each layer's output for one image."""

    def __post_init__(self) -> None:
        check_profile(self.profile)
        object.__setattr__(self, "layers", tuple(self.layers))
        if not any(isinstance(layer, WeightedLayer) for layer in self.layers):
            raise ValueError("IntegerModel: there is no convolution or linear layer among its layers")
        shapes, shape, scale, zero = [], tuple(self.input.shape), self.input.scale, self.input.zero_point
        for layer in self.layers:
            shape = layer.output_shape(shape)
            shapes.append(shape)
            if isinstance(layer, WeightedLayer):
                certify(layer, self.profile)
                if layer.input_zero != zero or layer.input_scale.as_float32() != scale.as_float32():
                    raise ValueError(
                        f"IntegerModel: {layer.name} expects an input of scale {layer.input_scale.as_float32()} and zero "
                        f"point {layer.input_zero}, but gets {scale.as_float32()} and {zero} from the layer before"
                    )
                scale, zero = layer.output_scale, layer.output_zero
        object.__setattr__(self, "shapes", tuple(shapes))

    def logits(self, images: Any) -> Array:
        """Return the model's output.

        Args:
            images: uint8 (N, H, W) or (N, C, H, W), pixels as in a file.

        Returns:
            int8 (N, classes), or whatever shape the last layer gives. Logits may tie.

        Raises:
            TypeError: images are not uint8.
            ValueError: they have another shape than the model expects.
        """
        return engine.run(self._plan, self._checked(images, "logits"), raw=False)

    def accumulators(self, images: Any) -> Array:
        """Return the last layer's sums before they are rounded to int8: int32 (N, classes).

        Channel i counts in units of input_scale * weight_scale[i] of that layer: with one weight scale a channel, compare
        `scores` instead.

        Raises:
            ValueError, TypeError: as `logits`; or the model ends in pooling.
        """
        images = self._checked(images, "accumulators")
        self._last()
        return engine.run(self._plan, images, raw=True)

    def scores(self, images: Any) -> Array:
        """Return the accumulators on one scale, so that they can be compared across channels: int64 (N, classes).

        Each is acc * mantissa, shifted to the largest exponent among the channels' weight scales. Where all exponents are
        the same, that is exact; elsewhere a score is off by at most 1/2, which is less than 2**-22 of what one step of the
        coarsest accumulator makes.

        Raises:
            ValueError, TypeError: as `accumulators`.
        """
        sums = self.accumulators(images).astype(np.int64)
        scale = self._last().weight_scale
        down = np.minimum(np.int64(scale.exponent.max()) - scale.exponent, 62)
        return (sums * scale.mantissa + ((np.int64(1) << down) >> 1)) >> down

    def predict(self, images: Any, by: str = "scores") -> Array:
        """Return the class of the largest score, int64 (N,); of equal ones the lowest.

        Args:
            images: as for `logits`.
            by: "scores", or "logits" for the int8 output, which ties more often.

        Raises:
            ValueError, TypeError: as `scores`; or `by` is neither.
        """
        if by not in ("scores", "logits"):
            raise ValueError(f"IntegerModel.predict: by is {by!r}, expected 'scores' or 'logits'")
        found = self.scores(images) if by == "scores" else self.logits(images)
        return found.reshape(len(found), -1).argmax(axis=1)

    def explain(self, image: Any, layer: str | None = None, at: Sequence[int] | None = None) -> "explain.Explanation":
        """Write out how one output element comes about, step by step, in integers. See `explain.explain`."""
        return explain.explain(self, image, layer, at)

    def bounds(self) -> list[Bound]:
        """Return how large each accumulator can become: a row for each output channel of each layer with weights."""
        return [row for layer in self.layers if isinstance(layer, WeightedLayer) for row in accumulator_bounds(layer)]

    def layer_bytes(self) -> list[LayerBytes]:
        """Return what each layer takes in a file: a row for each layer with weights."""
        return [layer_bytes(layer) for layer in self.layers if isinstance(layer, WeightedLayer)]

    def save(self, path: str | Path, **metadata: Any) -> FileBytes:
        """Write the model as a safetensors file, and return where its bytes are: see `files.save_integer`."""
        return files.save_integer(path, self, **metadata)

    @classmethod
    def load(cls, path: str | Path) -> "IntegerModel":
        """Read a model that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file is damaged, or holds something else.
        """
        return files.load_integer(path, cls)

    @cached_property
    def _plan(self) -> "engine.Plan":
        return engine.prepare(self.input, self.layers, self.shapes, self.profile)

    def _last(self) -> WeightedLayer:
        """Return the layer whose sums are the accumulators: the last, flattening apart."""
        layer = next(layer for layer in reversed(self.layers) if not isinstance(layer, IntegerFlatten))
        if not isinstance(layer, WeightedLayer):
            raise ValueError(f"IntegerModel: the model ends in {type(layer).__name__}, which has no accumulators")
        return layer

    def _checked(self, images: Any, said: str) -> Array:
        """Return images as (N, C, H, W)."""
        images = np.asarray(images)
        if images.dtype != np.uint8:
            raise TypeError(
                f"IntegerModel.{said}: images are {images.dtype}, expected uint8 pixels, 0 to 255; "
                "normalised floats are what the float model takes"
            )
        channels, height, width = self.input.shape
        if images.ndim == 3 and channels == 1:
            images = images[:, None]
        if images.shape[1:] != (channels, height, width):
            raise ValueError(
                f"IntegerModel.{said}: images have shape {images.shape}, expected (N, {channels}, {height}, {width})"
                + (f" or (N, {height}, {width})" if channels == 1 else "")
            )
        return images
