"""Penalties: their values and gradients by hand, and the L2 penalty against weight decay."""

import numpy as np
import pytest

from minigrad import Tensor, gradcheck, nn
from minigrad import functional as F
from minigrad.optim import SGD, Adam, RMSprop

PENALTIES = pytest.mark.parametrize("penalty", [F.l1_penalty, F.l2_penalty])


def parameters(dtype=np.float64):
    return [nn.Parameter(np.array([[1.5, -2.0], [0.0, -0.0]], dtype)), nn.Parameter(np.array([-3.0], dtype))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("penalty", "value", "gradients"),
    [
        (F.l1_penalty, 6.5, [[[1, -1], [0, 0]], [-1]]),
        (F.l2_penalty, 15.25, [[[3, -4], [0, 0]], [-6]]),
    ],
)
def test_values_and_gradients(penalty, value, gradients, dtype):
    weights = parameters(dtype)
    result = penalty(w for w in weights)
    assert result.shape == ()
    assert result.dtype == dtype
    assert result.item() == value
    result.backward()
    for w, expected in zip(weights, gradients, strict=True):
        np.testing.assert_array_equal(w.grad, np.array(expected, dtype), strict=True)


@PENALTIES
def test_gradients_agree_with_finite_differences(penalty, rng):
    assert gradcheck(lambda x, y: penalty([x, y]), [rng.uniform(0.5, 2, (2, 3)), -rng.uniform(0.5, 2, 4)])


@PENALTIES
def test_a_loss_with_a_penalty_stays_float32(penalty):
    net = nn.Linear(3, 2)
    loss = F.cross_entropy(net(np.ones((4, 3), np.float32)), [0, 1, 1, 0]) + 1e-4 * penalty(net.parameters())
    loss.backward()
    assert loss.dtype == net.weight.grad.dtype == np.float32


@PENALTIES
def test_one_tensor_is_a_list_of_one(penalty):
    assert penalty(Tensor(-3.0)).item() == penalty([Tensor(-3.0)]).item() > 0


@PENALTIES
def test_what_is_no_list_of_tensors_is_refused(penalty):
    net, name = nn.Linear(2, 1), penalty.__name__
    used_up = net.parameters()
    penalty(used_up)
    for empty in ([], used_up):
        with pytest.raises(ValueError, match=rf"{name}: there are no parameters; model.parameters\(\) can be gone thr"):
            penalty(empty)
    for wrong, kind in (
        (net, "Linear"),
        (nn.Sequential(net), "Linear"),
        (net.named_parameters(), "tuple"),
        ([net.weight, np.ones(2)], "ndarray"),
    ):
        with pytest.raises(TypeError, match=rf"{name}: expected Tensors, got {kind}; pass model.parameters\(\)"):
            penalty(wrong)


@pytest.mark.parametrize("make", [lambda p, **s: SGD(p, 0.1, 0.9, **s), Adam, RMSprop])
def test_the_l2_penalty_is_weight_decay_of_twice_its_strength(make, rng):
    """Step by step, for the optimizers that add the decay to the gradient."""
    start, x, y = rng.normal(size=(2, 3)), rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    penalised, decayed = nn.Parameter(start), nn.Parameter(start)
    first, second = make([penalised]), make([decayed], weight_decay=0.2)
    for _ in range(5):
        for w, optimizer, penalty in ((penalised, first, 0.1 * F.l2_penalty([penalised])), (decayed, second, 0.0)):
            optimizer.zero_grad()
            (F.mse_loss(F.linear(x, w), y) + penalty).backward()
            optimizer.step()
        np.testing.assert_allclose(penalised.data, decayed.data, rtol=1e-9)
    assert np.abs(penalised.data - start).max() > 1e-4
