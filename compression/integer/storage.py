"""What an integer model takes on disk: weights packed without gaps, and every byte accounted for.

The weights of a layer all take as few bits as the largest of them needs: 8 after rounding to 8 bits, 4 after rounding to
4, so that two share a byte. Of a pruned layer only those that are not zero are stored, with a bit for each weight that
says whether it is one of them, wherever that is shorter.
"""

from typing import Any, NamedTuple

import numpy as np

from ..quantization.packing import pack, packed_bytes, unpack
from .layers import WeightedLayer

Array = np.ndarray


class LayerBytes(NamedTuple):
    """Where the bytes of a layer are.

    Attributes:
        layer: its name.
        weights, zeros: how many it has, and how many of them are zero.
        bits: of a weight that is stored.
        values: bytes of the weights that are stored.
        mask: bytes of the bits that say which ones these are; 0 where all are stored.
        biases: 4 for each output channel.
        multipliers: 8 for each output channel: multiplier and shift.
        scales: 8 for each scale: mantissa and exponent; of the weights, the input and the output.
    """

    layer: str
    weights: int
    zeros: int
    bits: int
    values: int
    mask: int
    biases: int
    multipliers: int
    scales: int

    @property
    def total(self) -> int:
        """Bytes of the layer."""
        return self.values + self.mask + self.biases + self.multipliers + self.scales


class FileBytes(NamedTuple):
    """Where the bytes of a file of `IntegerModel.save` are.

    Attributes:
        layers: a row for each layer with weights.
        input: the scale of a pixel.
        header: names, shapes, settings and the checksum, as JSON, with the 8 bytes that say how long it is.
    """

    layers: list[LayerBytes]
    input: int
    header: int

    @property
    def total(self) -> int:
        """Size of the file in bytes."""
        return sum(row.total for row in self.layers) + self.input + self.header


def layer_bytes(layer: WeightedLayer) -> LayerBytes:
    """Return what a layer takes.

    Example:
        >>> from minigrad.compression.integer import to_integer
        >>> from minigrad.compression.models import trained_lenet
        >>> from minigrad.datasets import mnist
        >>> model = to_integer(trained_lenet(), mnist("train").pixels[:100], bits=4)
        >>> row = layer_bytes(model.layers[0])
        >>> row.weights, row.bits, row.values, row.biases, row.multipliers, row.scales
        (150, 4, 75, 24, 48, 64)
    """
    count, zeros, channels = layer.weight.size, int((layer.weight == 0).sum()), len(layer.weight)
    bits, masked = layout(layer.weight)
    return LayerBytes(
        layer.name, count, zeros, bits,
        values=packed_bytes(count - zeros if masked else count, bits),
        mask=packed_bytes(count, 1) if masked else 0,
        biases=4 * channels,
        multipliers=8 * channels,
        scales=8 * (layer.weight_scale.mantissa.size + 2),
    )  # fmt: skip


def layout(q: Array) -> tuple[int, bool]:
    """Return how weights are stored: bits of each, and whether zeros are left out.

    Args:
        q: int8, any shape.

    Example:
        >>> layout(np.int8([7, -7, 1, 0])), layout(np.int8([127, 0, 0, 0])), layout(np.int8([1, -1]))
        ((4, False), (8, True), (1, False))
    """
    kept = q[q != 0]
    whole, part = bits_needed(q), bits_needed(kept)
    masked = packed_bytes(q.size, 1) + packed_bytes(kept.size, part) < packed_bytes(q.size, whole)
    return (part if masked else whole), masked


def bits_needed(q: Array) -> int:
    """Return the fewest bits of two's complement, 2 to 8, that hold all of q; 1 where there are only 1 and -1.

    Example:
        >>> [bits_needed(np.int8(q)) for q in ([1, -1], [1, 0], [-2, 1], [2], [-128])]
        [1, 2, 2, 3, 8]
    """
    if ((q == 1) | (q == -1)).all():
        return 1
    return max(
        2, 1 + int(np.where(q < 0, -1 - q, q).max()).bit_length()
    )  # -8 to 7 take as many bits as 0 to 7, and one


def pack_weights(q: Array) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return arrays of bytes, "values" and perhaps "mask", and what is to be known to read them again.

    Args:
        q: int8, any shape.

    Example:
        >>> arrays, about = pack_weights(np.int8([[5, 0, 0, 0], [0, 0, -6, 0]]))
        >>> [f"{byte:08b}" for byte in arrays["mask"]], [f"{byte:08b}" for byte in arrays["values"]], about
        (['01000001'], ['10100101'], {'bits': 4, 'shape': [2, 4]})
    """
    bits, masked = layout(q)
    stored = q[q != 0] if masked else q
    arrays = {"mask": pack((q != 0).astype(np.uint8), 1, signed=False)} if masked else {}
    arrays["values"] = pack((stored > 0).astype(np.uint8), 1, signed=False) if bits == 1 else pack(stored, bits)
    return arrays, {"bits": bits, "shape": list(q.shape)}


def unpack_weights(arrays: dict[str, Array], bits: int, shape: list[int]) -> Array:
    """Return the weights that `pack_weights` packed.

    Raises:
        KeyError, ValueError: the arrays do not fit bits and shape.

    Example:
        >>> arrays, about = pack_weights(np.int8([[5, 0, 0, 0], [0, 0, -6, 0]]))
        >>> unpack_weights(arrays, **about)
        array([[ 5,  0,  0,  0],
               [ 0,  0, -6,  0]], dtype=int8)
    """
    mask = np.ones(shape, bool)
    if "mask" in arrays:
        mask = unpack(arrays["mask"], 1, tuple(shape), signed=False).astype(bool)
    stored = unpack(arrays["values"], bits, (int(mask.sum()),), signed=bits > 1)
    q = np.zeros(shape, np.int8)
    q[mask] = 2 * stored.astype(np.int8) - 1 if bits == 1 else stored
    return q
