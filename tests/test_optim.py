"""SGD against its definition, written out step by step."""

import numpy as np
import pytest

from minigrad import nn
from minigrad.optim import (
    SGD,
    Adam,
    AdamW,
    CosineAnnealingLR,
    OneCycleLR,
    RMSprop,
    StepLR,
    clip_grad_norm_,
    clip_grad_value_,
    max_norm_,
)


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


def test_what_momentum_keeps_is_not_the_gradients_own_array():
    p = nn.Parameter(np.zeros(2))
    optimizer = SGD([p], lr=1.0, momentum=0.5)
    p.grad = np.array([1.0, -2.0])
    optimizer.step()
    optimizer.step()
    np.testing.assert_array_equal(p.grad, [1, -2])
    np.testing.assert_array_equal(p.data, [-2.5, 5])  # g, then 1.5 g


def test_a_step_moves_parameters_that_are_not_contiguous():
    p = nn.Parameter(np.zeros((2, 3)))
    p.data = np.zeros((3, 2)).T
    p.grad = np.arange(6.0).reshape(2, 3)
    SGD([p], lr=0.5, momentum=0.9).step()
    np.testing.assert_array_equal(p.data, -0.5 * np.arange(6.0).reshape(2, 3))


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
    assert p.dtype == optimizer.state[0]["velocity"].dtype == np.float32


def moved(make, gradients, start=(1.0, -2.0)):
    """Return the positions of a parameter after each step."""
    p = nn.Parameter(np.array(start))
    optimizer = make([p])
    positions = []
    for g in gradients:
        p.grad = np.array(g)
        optimizer.step()
        positions.append(p.data.copy())
    return positions


def test_adam_first_steps_have_the_size_of_the_learning_rate():
    """Corrected for their start at zero, mean and root are g and |g| at the first step, whatever g is."""
    for g in ([3.0, -1e-3], [1e4, -1e4]):
        np.testing.assert_allclose(moved(lambda p: Adam(p, lr=0.1), [g])[0], [0.9, -1.9], rtol=1e-4)
        np.testing.assert_allclose(moved(lambda p: AdamW(p, lr=0.1, weight_decay=0.5), [g])[0], [0.85, -1.8], rtol=1e-4)
    first = moved(lambda p: RMSprop(p, lr=0.1, alpha=0.75), [[2.0, -4.0]])[0]
    np.testing.assert_allclose(first, [0.8, -1.8], rtol=1e-6)  # g / sqrt(0.25 g**2) is 2


def test_nesterov_looks_ahead():
    plain = moved(lambda p: SGD(p, 0.1, 0.5), [[1.0, 1.0]] * 2)
    ahead = moved(lambda p: SGD(p, 0.1, 0.5, nesterov=True), [[1.0, 1.0]] * 2)
    np.testing.assert_allclose(ahead[0], plain[0] - 0.05)
    with pytest.raises(ValueError, match="momentum is 0"):
        SGD([nn.Parameter(np.ones(1))], nesterov=True)
    with pytest.raises(ValueError, match="betas are"):
        Adam([nn.Parameter(np.ones(1))], betas=(0.9, 1.0))


GRADIENTS = np.array([[0.5, 1.0], [0.5, -2.0], [-1.5, 3.0]])


def test_nesterov_follows_the_definition():
    positions = moved(lambda p: SGD(p, 0.1, 0.5, weight_decay=0.2, nesterov=True), GRADIENTS)
    p, v = np.array([1.0, -2.0]), np.zeros(2)
    for g, position in zip(GRADIENTS, positions, strict=True):
        direction = g + 0.2 * p
        v = 0.5 * v + direction
        p = p - 0.1 * (direction + 0.5 * v)
        np.testing.assert_allclose(position, p, rtol=1e-12)


@pytest.mark.parametrize(("make", "decays_the_gradient"), [(Adam, True), (AdamW, False)])
def test_adam_follows_the_definition(make, decays_the_gradient):
    positions = moved(lambda p: make(p, 0.1, (0.8, 0.9), 1e-2, weight_decay=0.2), GRADIENTS)
    p, m, v = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for t, (g, position) in enumerate(zip(GRADIENTS, positions, strict=True), start=1):
        if decays_the_gradient:
            g = g + 0.2 * p
        else:
            p = p - 0.1 * 0.2 * p
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
        p = p - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-2)
        np.testing.assert_allclose(position, p, rtol=1e-12)


def test_rmsprop_follows_the_definition():
    positions = moved(lambda p: RMSprop(p, 0.1, 0.8, 1e-2, weight_decay=0.2, momentum=0.5), GRADIENTS)
    p, square, v = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for g, position in zip(GRADIENTS, positions, strict=True):
        g = g + 0.2 * p
        square = 0.8 * square + 0.2 * g**2
        v = 0.5 * v + g / (np.sqrt(square) + 1e-2)
        p = p - 0.1 * v
        np.testing.assert_allclose(position, p, rtol=1e-12)


@pytest.mark.parametrize("make", [SGD, Adam, AdamW, RMSprop])
def test_every_optimizer_keeps_float32_and_finds_a_minimum(make):
    p = nn.Parameter(np.array([3.0, -2.0], np.float32))
    optimizer = make([p], lr=0.05)
    for _ in range(400):
        p.grad = p.data.copy()  # of |p|**2 / 2
        optimizer.step()
    assert p.dtype == np.float32
    assert all(v.dtype == np.float32 for v in optimizer.state[0].values() if isinstance(v, np.ndarray))
    assert np.abs(p.data).max() < 0.1


def rates(schedule, steps):
    found = [schedule.optimizer.lr]
    for _ in range(steps):
        schedule.step()
        found.append(schedule.optimizer.lr)
    return found


def test_schedules_follow_their_formulas():
    def optimizer():
        return SGD([nn.Parameter(np.ones(1))], lr=0.8)

    np.testing.assert_allclose(rates(StepLR(optimizer(), 2, 0.5), 5), [0.8, 0.8, 0.4, 0.4, 0.2, 0.2])
    cosine = rates(CosineAnnealingLR(optimizer(), 4, eta_min=0.2), 4)
    np.testing.assert_allclose(cosine, [0.8, 0.5 + 0.3 * 0.5**0.5, 0.5, 0.5 - 0.3 * 0.5**0.5, 0.2])
    cycle = rates(OneCycleLR(optimizer(), 1.0, 12, pct_start=0.5), 11)
    assert cycle[0] == pytest.approx(1 / 25)
    assert max(cycle) == pytest.approx(1.0) == cycle[5]
    assert cycle[-1] == pytest.approx(1 / 25e4)
    assert len(rates(OneCycleLR(optimizer(), 1.0, 11), 11)) == 12  # the step() after the last batch is still allowed
    with pytest.raises(ValueError, match="step 12 lies beyond the cycle of 11 steps"):
        rates(OneCycleLR(optimizer(), 1.0, 11), 12)
    assert (
        OneCycleLR(optimizer(), 1.0, 10, pct_start=0.1).optimizer.lr == 1.0
    )  # no step to rise in: it starts at the peak
    for make in (
        lambda: StepLR(optimizer(), 0),
        lambda: CosineAnnealingLR(optimizer(), 0),
        lambda: OneCycleLR(optimizer(), 1, 0),
    ):
        with pytest.raises(ValueError, match="is 0, expected 1 or more"):
            make()


def test_a_schedule_resumes_at_its_count():
    straight = CosineAnnealingLR(SGD([nn.Parameter(np.ones(1))], lr=1.0), 10)
    expected = rates(straight, 7)[-1]
    resumed = CosineAnnealingLR(SGD([nn.Parameter(np.ones(1))], lr=1.0), 10)
    resumed.count = 7
    resumed.apply()
    assert resumed.optimizer.lr == expected


def test_gradients_are_clipped_together_or_one_by_one():
    a, b = nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros((1, 1)))
    a.grad, b.grad = np.array([3.0, 0.0]), np.array([[4.0]])
    assert clip_grad_norm_([a, b], 10) == 5
    np.testing.assert_array_equal(a.grad, [3, 0])
    assert clip_grad_norm_([a, b], 1) == 5
    np.testing.assert_allclose([*a.grad, *b.grad[0]], [0.6, 0, 0.8])
    clip_grad_value_([a, b], 0.7)
    np.testing.assert_allclose([*a.grad, *b.grad[0]], [0.6, 0, 0.7])
    for function in (clip_grad_norm_, clip_grad_value_):
        with pytest.raises(ValueError, match="is -1, expected 0 or more"):
            function([a], -1)


def test_max_norm_bounds_each_outputs_weights():
    weight = nn.Parameter(np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], np.float32))
    max_norm_(weight, 1.0)
    np.testing.assert_allclose(weight.data, [[0.6, 0.8], [0.3, 0.4], [0, 0]], rtol=1e-6)
    assert weight.dtype == np.float32
    with pytest.raises(ValueError, match="limit is 0, expected a number above 0"):
        max_norm_(weight, 0)


def test_defaults_are_pytorchs():
    p = [nn.Parameter(np.ones(1))]
    assert (SGD(p).lr, SGD(p).momentum, SGD(p).weight_decay) == (1e-3, 0, 0)
    assert (Adam(p).lr, Adam(p).betas, Adam(p).eps, Adam(p).weight_decay) == (1e-3, (0.9, 0.999), 1e-8, 0)
    assert (AdamW(p).lr, AdamW(p).betas, AdamW(p).eps, AdamW(p).weight_decay) == (1e-3, (0.9, 0.999), 1e-8, 1e-2)
    assert (RMSprop(p).lr, RMSprop(p).alpha, RMSprop(p).eps, RMSprop(p).momentum) == (1e-2, 0.99, 1e-8, 0)
