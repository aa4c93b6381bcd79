"""Turn a picture of a digit into what a network trained on MNIST expects."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from minigrad.tensor import Array

SIZE, BOX = 28, 20
"""MNIST's images are 28×28; the digit was scaled into 20×20 and placed with its centre of mass in the middle."""

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")

INK = 0.15
"""Share of the strongest ink from which a pixel counts as drawn."""


class PictureError(ValueError):
    """A picture cannot be read, or shows nothing."""


def load_digit(path: str | Path) -> Array:
    """Read a picture and bring it into MNIST's form: white on black, 28×28, scaled and centred as MNIST's digits were.

    A 28×28 picture is taken as it is (inverted if its background is light).

    Args:
        path: an image file, one of FORMATS. A photograph's orientation is respected.

    Returns:
        uint8 (28, 28).

    Raises:
        FileNotFoundError: there is no such file.
        PictureError: it is not a picture, or has one colour throughout.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"picture {path}: there is no such file" + (", but a folder" if path.is_dir() else ""))
    try:
        with Image.open(path, formats=FORMATS) as image:
            ink = _grey(ImageOps.exif_transpose(image))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(f"picture {path}: expected an image file, one of {', '.join(FORMATS)} ({error})") from None
    border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    if np.median(border) > 127:
        ink = 255 - ink
    if ink.max() - ink.min() < 1:
        raise PictureError(f"picture {path}: it has one colour throughout, expected a digit")
    return ink.astype(np.uint8) if ink.shape == (SIZE, SIZE) else _frame(ink)


def _grey(image: Image.Image) -> Array:
    """Return an image's grey values, 0 to 255, float64 (H, W). What is transparent counts as white."""
    if image.mode.startswith(("I", "F")):  # more than 8 bits: scale, since Pillow would cut off
        values = np.asarray(image, np.float64)
        top = values.max()
        return values * 255 / (65535 if top > 255 else 255) if image.mode != "F" or top > 1 else values * 255
    paper = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(paper, image.convert("RGBA")).convert("L"), np.float64)


def _frame(ink: Array) -> Array:
    """Crop to the ink, scale it into the box, and place its centre of mass in the middle."""
    ink = ink - ink.min()
    rows, columns = (np.flatnonzero((ink > INK * ink.max()).any(axis=axis)) for axis in (1, 0))
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(cropped.shape)
    size = (max(1, round(cropped.shape[1] * scale)), max(1, round(cropped.shape[0] * scale)))
    digit = Image.fromarray((255 * cropped / cropped.max()).astype(np.uint8)).resize(size, Image.Resampling.LANCZOS)
    small = np.asarray(digit, np.float64)

    center = [np.average(np.arange(n), weights=small.sum(axis=1 - axis)) for axis, n in enumerate(small.shape)]
    middle = (SIZE - 1) / 2
    top, left = (int(np.clip(round(middle - c), 0, SIZE - n)) for c, n in zip(center, small.shape, strict=True))
    out = np.zeros((SIZE, SIZE), np.uint8)
    out[top : top + small.shape[0], left : left + small.shape[1]] = small.astype(np.uint8)
    return out
