"""Which parts of a digit speak for its class, by LIME and by SHAP, and how far two such answers agree.

Both methods hide parts of an image at random and watch the probability of a class; no model needs a gradient for it, so
that integer models are explained like all others. The parts are squares of pixels with ink in them: what is hidden becomes
black, and squares without ink would not change.

The methods are the libraries `lime` and `shap` themselves, of the extra `explain`.

Source:
    Ribeiro et al., "Why should I trust you?", 2016 (LIME); Lundberg and Lee, "A unified approach to interpreting model
    predictions", 2017 (SHAP).
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec

import numpy as np
from scipy.special import softmax
from scipy.stats import spearmanr

from minigrad import no_grad
from minigrad.datasets import normalize
from minigrad.nn import Module
from minigrad.tensor import Array

from .integer import IntegerModel
from .integer.layers import WeightedLayer

Predict = Callable[[Array], Array]
"""Pixels, uint8 (N, H, W) -> probabilities of the classes, float64 (N, classes)."""


def check_packages() -> None:
    """Make sure, before any work is done, that `lime` and `shap` are installed.

    Raises:
        ImportError: one of them is missing.
    """
    missing = [name for name in ("lime", "shap") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"explain: {' and '.join(missing)} not installed; `pip install minigrad-compression[explain]` installs both"
        )


def probabilities(model: Module | IntegerModel) -> Predict:
    """Return a function that gives a model's probabilities for pixels.

    Those of an integer model are the softmax of its scores, taken back to the scale of the float model's logits. A Module
    is put into evaluation mode.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> p = probabilities(LeNet())(np.zeros((3, 28, 28), np.uint8))
        >>> p.shape, p.dtype, p.sum(axis=1).round(6).tolist()
        ((3, 10), dtype('float64'), [1.0, 1.0, 1.0])
    """
    if isinstance(model, IntegerModel):
        last = [layer for layer in model.layers if isinstance(layer, WeightedLayer)][-1]
        step = last.input_scale.as_float32() * 2.0 ** last.weight_scale.exponent.max()  # of a score, in logits
        return lambda pixels: softmax(model.scores(pixels) * float(step), axis=1)

    model.eval()

    def predict(pixels: Array) -> Array:
        with no_grad():
            return softmax(model(normalize(pixels)[:, None]).data.astype(np.float64), axis=1)

    return predict


def superpixels(image: Array, side: int = 4) -> Array:
    """Cut an image into squares and number those that have ink in them, row by row.

    Args:
        image: uint8 (H, W), 0 where there is no ink.
        side: of a square, in pixels.

    Returns:
        int64 (H, W): the number of each pixel's square, from 0; -1 in squares without ink.

    Raises:
        ValueError: the image has no ink at all, or is not (H, W).

    Example:
        >>> superpixels(np.array([[0, 0, 0, 9], [0, 0, 0, 0], [7, 0, 1, 0]], np.uint8), side=2)
        array([[-1, -1,  0,  0],
               [-1, -1,  0,  0],
               [ 1,  1,  2,  2]])
    """
    if image.ndim != 2 or not image.any():
        raise ValueError(
            f"superpixels: expected one image (H, W) with ink in it (shape {image.shape}, sum {image.sum()})"
        )
    rows, columns = (np.arange(size) // side for size in image.shape)
    square = rows[:, None] * (columns[-1] + 1) + columns  # (H, W)
    inked = np.unique(square[image > 0])
    return np.where(np.isin(square, inked), np.searchsorted(inked, square), -1)


def lime_values(
    predict: Predict, image: Array, label: int, segments: Array, *, samples: int = 1_000, seed: int = 0
) -> Array:
    """Return LIME's weight of each superpixel: by how much the probability of a class rises with it, all others being equal.

    Args:
        predict: see `Predict`.
        image: uint8 (H, W).
        label: the class.
        segments: int (H, W), as `superpixels` returns.
        samples: how many images with superpixels hidden are tried.
        seed: of the draws.

    Returns:
        float64 (superpixels,): coefficients of the library's ridge regression, with its default kernel.

    Raises:
        ImportError: `lime` is not installed.

    Example:
        >>> from minigrad.compression.models import trained_lenet
        >>> from minigrad.datasets import mnist
        >>> digit = mnist("test").pixels[0]  # a 7
        >>> predict, parts = probabilities(trained_lenet()), superpixels(digit)
        >>> lime_values(predict, digit, 7, parts, seed=0).shape  # doctest: +SKIP
        (16,)
    """
    check_packages()
    from lime.lime_image import LimeImageExplainer  # pyright: ignore[reportMissingImports]  of the extra "explain"

    count = int(segments.max()) + 1
    parts = np.where(segments < 0, count, segments)  # LIME takes no -1: squares without ink are one more part
    explainer = LimeImageExplainer(feature_selection="none", random_state=seed)
    with redirect_stderr(io.StringIO()):  # its progress bar, one for each image, cannot be switched off
        found = explainer.explain_instance(
            image, lambda rgb: predict(rgb[..., 0]), labels=(label,), top_labels=None, hide_color=0,  # pyright: ignore[reportArgumentType]
            num_samples=samples, batch_size=250, segmentation_fn=lambda _: parts,
        )  # fmt: skip
    weights = dict(found.local_exp[label])
    return np.array([weights[part] for part in range(count)], np.float64)


def shap_values(
    predict: Predict, image: Array, label: int, segments: Array, *, samples: int = 1_000, seed: int = 0
) -> Array:
    """Return the SHAP value of each superpixel: its share of p(image) - p(black image), p the probability of a class.

    Arguments as for `lime_values`. Where an image has so few superpixels that `samples` is 2**superpixels - 2 or more, all
    subsets are tried and the values are exact.

    Returns:
        float64 (superpixels,), by the library's KernelExplainer. They add up to p(image) - p(black image).

    Raises:
        ImportError: `shap` is not installed.

    Example:
        >>> from minigrad.compression.models import trained_lenet
        >>> from minigrad.datasets import mnist
        >>> digit = mnist("test").pixels[0]  # a 7
        >>> predict, parts = probabilities(trained_lenet()), superpixels(digit)
        >>> round(shap_values(predict, digit, 7, parts, seed=0).sum(), 3)  # doctest: +SKIP
        0.883
    """
    check_packages()
    from shap import KernelExplainer  # pyright: ignore[reportMissingImports]  of the extra "explain"

    count = int(segments.max()) + 1

    def of_subsets(shown: Array) -> Array:  # (N, superpixels), 1 where shown -> (N,)
        kept = np.append(shown, np.ones((len(shown), 1)), axis=1)[:, segments]  # segment -1 is the last column
        return predict(np.where(kept > 0, image, 0).astype(np.uint8))[:, label]

    with _numpy_seed(seed):
        explainer = KernelExplainer(of_subsets, np.zeros((1, count)))
        # Without l1_reg=0 the library keeps ten superpixels and sets all others to 0.
        found = explainer.shap_values(np.ones(count), nsamples=samples, l1_reg=0, silent=True)
    return np.asarray(found, np.float64)


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, which is what `shap` draws from, and leave it as it was."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)


EXPLAINERS: dict[str, Callable[..., Array]] = {"LIME": lime_values, "SHAP": shap_values}


def attribution_map(values: Array, segments: Array) -> Array:
    """Lay the values of superpixels out as an image: float64 (H, W), NaN where there is no ink.

    Example:
        >>> attribution_map(np.array([0.5, -0.25]), np.array([[0, -1, 1]]))
        array([[ 0.5 ,   nan, -0.25]])
    """
    return np.append(values, np.nan)[segments]


def rank_correlation(a: Array, b: Array) -> float:
    """Return Spearman's rank correlation of two attributions of the same superpixels: 1 for the same order, -1 for the reverse.

    It is 0 if one of them is the same everywhere, since it ranks nothing then.

    Raises:
        ValueError: they have different shapes.

    Source:
        Spearman, "The proof and measurement of association between two things", 1904.

    Example:
        >>> rank_correlation(np.array([0.1, 0.2, 0.9]), np.array([1.0, 2.0, 3.0]))
        1.0
    """
    _check_pair("rank_correlation", a, b)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(a, b)[0])  # pyright: ignore[reportArgumentType]  a named tuple of floats


def top_overlap(a: Array, b: Array, k: int = 5) -> float:
    """Return the share of the k superpixels that count most, for or against the class, that two attributions have in common.

    Of equal ones the first counts more. Where there are k superpixels or fewer, it is 1; by chance it is k / superpixels.

    Raises:
        ValueError: they have different shapes, or k is below 1.

    Example:
        >>> top_overlap(np.array([0.9, -0.8, 0.1, 0.0]), np.array([0.5, 0.0, 0.3, 0.1]), k=2)
        0.5
    """
    _check_pair("top_overlap", a, b)
    if k < 1:
        raise ValueError(f"top_overlap: k is {k}, expected 1 or more")
    k = min(k, len(a))
    first, second = (set(np.argsort(-np.abs(x), kind="stable")[:k].tolist()) for x in (a, b))
    return len(first & second) / k


def _check_pair(name: str, a: Array, b: Array) -> None:
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise ValueError(
            f"{name}: expected two attributions of the same superpixels (shapes {a.shape} and {b.shape}); "
            "were they made with one segmentation?"
        )
