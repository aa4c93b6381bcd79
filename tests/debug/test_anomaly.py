"""The first NaN or infinity stops the run, and the message says where it came from."""

import warnings

import numpy as np
import pytest

from minigrad import AnomalyError, Tensor, detect_anomaly, nn
from minigrad import functional as F


def leaf(*values):
    return Tensor(np.array(values), requires_grad=True)


def test_forward_names_op_shape_place_and_value():
    x = Tensor([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]])
    with detect_anomaly(), pytest.raises(AnomalyError) as caught:
        x.log()
    assert str(caught.value) == (
        "log, forward: the result, shape (2, 3), has -inf at index (1, 1), the first of 2 values that are not finite; "
        "what came in was finite (x: (2, 3)). log is defined for x > 0"
    )


def test_backward_names_the_argument():
    x, y = leaf(1.0, 0.0), leaf(2.0, 1e-320)
    with detect_anomaly(), pytest.raises(AnomalyError) as caught:
        (x / y).sum().backward()  # 0 / 1e-320 is 0, but 1 / 1e-320 is too large
    assert str(caught.value) == (
        "divide, backward: the gradient of x, shape (2,), has inf at index (1,), the first of 1 value that is not finite; "
        "what came in was finite (gradient of the result: (2,), x: (2,), y: (2,)). divide is defined for y != 0"
    )


def test_an_infinite_slope_is_found_in_backward():
    x = leaf(4.0, 0.0)
    with detect_anomaly():
        root = F.sqrt(x)
        with pytest.raises(
            AnomalyError, match=r"^sqrt, backward: the gradient of x, shape \(2,\), has inf at index \(1,\)"
        ):
            root.sum().backward()


def test_the_second_argument_is_told_from_the_first():
    x, y = leaf(1e-80), leaf(1e-200)
    with detect_anomaly():
        out = x / y
        with pytest.raises(AnomalyError, match=r"^divide, backward: the gradient of y, shape \(1,\), has -inf"):
            out.backward()


def test_what_was_bad_before_is_said():
    images, targets = np.ones((2, 3)), np.array([0, 1])
    images[1, 2] = np.nan
    with detect_anomaly(), pytest.raises(AnomalyError) as caught:
        F.cross_entropy(nn.Linear(3, 4)(images.astype(np.float32)), targets)
    assert str(caught.value).startswith("linear, forward: the result, shape (2, 4), has nan at index (1, 0)")
    assert "x had nan at index (1, 2) already (x: (2, 3), w: (4, 3), b: (4,))" in str(caught.value)
    x = leaf(1.0)
    with detect_anomaly(), pytest.raises(AnomalyError, match=r"gradient of the result had nan at index \(0,\) already"):
        (x * 2).backward(np.array([np.nan]))


def test_arrays_of_any_number_are_numbered():
    bad = np.array([1.0, np.inf])
    with detect_anomaly(), pytest.raises(AnomalyError, match=r"; arrays\[1\] had inf at index \(1,\) already"):
        F.concatenate([np.ones(3), bad])


def test_nothing_stops_outside_of_the_block_or_where_all_is_finite():
    with detect_anomaly():
        x = leaf(1.0, 2.0)
        (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]
    with np.errstate(divide="ignore"):
        assert Tensor([0.0]).log().data == -np.inf


def test_integers_and_numbers_without_axes_are_looked_at_too():
    with detect_anomaly():
        assert Tensor([1, 2]).sum().item() == 3
        with pytest.raises(AnomalyError, match=r"exp, forward: the result, shape \(\), has inf at index \(\)"):
            Tensor(1000.0).exp()


def test_numpys_warnings_are_off_inside_and_on_again_after():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with detect_anomaly(), pytest.raises(AnomalyError):
            Tensor([0.0]).log()
        assert told == []
        Tensor([0.0]).log()
    assert len(told) == 1
