"""SGD against its definition, written out step by step."""

import numpy as np
import pytest

from minigrad import nn
from minigrad.optim import SGD


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_three_steps_follow_the_definition(momentum, weight_decay, dtype):
    p = nn.Parameter(np.array([1.0, -2.0], dtype))
    optimizer = SGD([p], lr=0.1, momentum=momentum, weight_decay=weight_decay)
    value, velocity = p.data.astype(np.float64), np.zeros(2)
    for step in range(3):
        gradient = np.array([0.5, 1.0 + step])
        p.grad = gradient.astype(dtype)
        optimizer.step()
        velocity = momentum * velocity + gradient + weight_decay * value
        value = value - 0.1 * velocity
        np.testing.assert_array_equal(p.grad, gradient.astype(dtype))
    assert p.dtype == dtype
    np.testing.assert_allclose(p.data, value, rtol=1e-6)


def test_a_step_writes_into_the_same_memory_and_skips_what_has_no_gradient():
    used, unused = nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2))
    memory = used.data
    optimizer = SGD([used, unused], lr=1.0)
    used.grad = np.ones(2)
    optimizer.step()
    assert used.data is memory
    np.testing.assert_array_equal(memory, 0)
    np.testing.assert_array_equal(unused.data, 1)
    optimizer.zero_grad()
    assert used.grad is None


def test_wrong_settings_are_refused():
    p = nn.Parameter(np.ones(1))
    with pytest.raises(ValueError, match="no parameters"):
        SGD([])
    for setting in ("lr", "momentum", "weight_decay"):
        with pytest.raises(ValueError, match=f"{setting} is -1, expected 0 or more"):
            SGD([p], **{setting: -1})
    with pytest.raises(ValueError, match="lr is nan"):
        SGD([p], lr=float("nan"))


def test_what_is_no_list_of_different_parameters_is_refused():
    p = nn.Parameter(np.ones(1))
    with pytest.raises(ValueError, match="a parameter is given twice"):
        SGD([p, p])
    with pytest.raises(TypeError, match=r"expected Parameters, got tuple; pass model.parameters\(\)"):
        SGD(nn.Linear(1, 1).named_parameters())


def test_settings_from_numpy_do_not_change_the_dtype():
    p = nn.Parameter(np.ones(2, np.float32))
    optimizer = SGD([p], lr=np.float64(0.1), momentum=np.float64(0.5), weight_decay=np.float64(0.1))
    p.grad = np.ones(2, np.float32)
    optimizer.step()
    assert p.dtype == optimizer.velocities[0].dtype == np.float32
