"""Time the binary convolution of a binary LeNet-5 (5×5, 20 → 50 channels, 12×12) by counting bits; beside our float32
convolution of that layer, on what the layer sees of MNIST's 10,000 test images, in batches of 64 and of 1,000.

Both sides turn float32 images into float32 results; taking and packing the signs is part of the binary side's work.
"""

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from typing import Any

from common import check_same, main, make_parser, take_turns, use_threads


def measure(options: Namespace) -> dict:
    import minigrad
    from minigrad import functional as F
    from minigrad.compression.binary import BinaryLeNet, PackedConv2d
    from minigrad.datasets import mnist
    from minigrad.ops.layout import innermost, outermost

    use_threads(options.threads)
    model = BinaryLeNet().eval()
    packed = PackedConv2d(model.conv2).eval()
    w = F.binary_sign(model.conv2.weight).data * packed.scale.data[:, None, None, None]
    images = mnist("test").images
    measured: dict[str, Any] = {}
    with minigrad.no_grad():
        for size in (64, 1000):
            starts = range(0, len(images), size)
            x = [model.norm1(model.maxpool(model.conv1(images[start : start + size]))).data for start in starts]
            x = [outermost(innermost(batch)) for batch in x]
            for batch in x[:2]:
                check_same(f"batch {size}", packed(batch).data, F.conv2d(F.binary_sign(batch), w).data)
            measured[f"binary_{size}"] = take_turns(
                partial(run, packed, x), partial(run, lambda batch: F.conv2d(batch, w), x), options.rounds, calls=3
            )
    return measured


def run(layer: Callable[[Any], Any], batches: list[Any]) -> None:
    """Let the layer see all batches. Each result is let go before the next, as in an evaluation."""
    for batch in batches:
        layer(batch)


if __name__ == "__main__":
    main(measure, make_parser(__doc__, rounds=7))
