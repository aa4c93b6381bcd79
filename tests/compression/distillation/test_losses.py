"""The theory of distillation, line by line, and the sentences for what makes no sense."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad import functional as F
from minigrad import gradcheck
from minigrad.compression.distillation import (
    DistillationLoss,
    LogitMatchingLoss,
    soft_targets,
    softmax_distillation,
    temperature_distillation,
)
from minigrad.tensor import Tensor
from tests.sentences import raises

prove = settings(max_examples=60, deadline=None, derandomize=True)
TEMPERATURE = st.floats(0.2, 50)
SHAPES = st.tuples(st.integers(1, 5), st.integers(2, 6))


@st.composite
def pairs(draw, size=10.0):
    """Student's and teacher's logits, (N, K) each, and labels."""
    shape = draw(SHAPES)
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    z, v = rng.normal(0, size * draw(st.floats(0.01, 1)), (2, *shape))
    return z, v, rng.integers(0, shape[1], shape[0])


def by_hand(z, temperature):
    """softmax(z / T) in float64, as the formula has it."""
    e = np.exp(np.asarray(z, float) / temperature - (np.asarray(z, float) / temperature).max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def gradient(loss, z, *others):
    x = Tensor(z, requires_grad=True)
    loss(x, *others).backward()
    return x.grad


@prove
@given(pairs(), TEMPERATURE, st.floats(0, 1))
def test_the_loss_is_the_formula(pair, temperature, alpha):
    z, v, labels = pair
    p, q = by_hand(v, temperature), by_hand(z, temperature)
    kl = np.mean(
        [sum(a * (np.log(a) - np.log(b)) for a, b in zip(*rows, strict=True)) for rows in zip(p, q, strict=True)]
    )
    hard = -np.mean([np.log(row[label]) for row, label in zip(by_hand(z, 1), labels, strict=True)])
    loss = DistillationLoss(temperature, alpha)
    np.testing.assert_allclose(loss(z, v, labels).item(), alpha * temperature**2 * kl + (1 - alpha) * hard, 1e-8, 1e-9)
    soft, found_hard = loss.terms(z, v, labels)
    np.testing.assert_allclose(soft.item(), temperature**2 * kl, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found_hard.item(), hard, rtol=1e-8, atol=1e-12)


@prove
@given(pairs(), TEMPERATURE)
def test_cross_entropy_is_kl_plus_the_teachers_entropy(pair, temperature):
    z, v, _ = pair
    p = by_hand(v, temperature)
    entropy = -(p * np.log(p)).sum(axis=1).mean()
    kl = DistillationLoss(temperature, 1.0, balance=False)
    ce = DistillationLoss(temperature, 1.0, balance=False, soft="cross_entropy")
    np.testing.assert_allclose(ce(z, v).item(), kl(z, v).item() + entropy, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gradient(ce, z, v), gradient(kl, z, v), rtol=1e-9, atol=1e-12)


@prove
@given(pairs(), TEMPERATURE)
def test_the_gradient_is_q_minus_p_over_t(pair, temperature):
    z, v, _ = pair
    wanted = (by_hand(z, temperature) - by_hand(v, temperature)) / temperature / len(z)
    np.testing.assert_allclose(
        gradient(DistillationLoss(temperature, 1.0, balance=False), z, v), wanted, rtol=1e-8, atol=1e-12
    )
    np.testing.assert_allclose(
        gradient(DistillationLoss(temperature, 1.0), z, v), temperature**2 * wanted, rtol=1e-9, atol=1e-11
    )


@prove
@given(pairs(size=3.0), st.floats(0.1, 0.9))
def test_for_large_t_it_is_logit_matching(pair, alpha):
    z, v, labels = pair
    z, v = (a - a.mean(axis=1, keepdims=True) for a in (z, v))
    count, classes = z.shape
    temperature = 1e4
    wanted = (z - v) / (classes * temperature**2) / count
    unbalanced = gradient(DistillationLoss(temperature, 1.0, balance=False), z, v)
    np.testing.assert_allclose(unbalanced, wanted, rtol=0, atol=0.01 * np.abs(wanted).max())
    both = gradient(DistillationLoss(temperature, alpha), z, v, labels)
    matching = gradient(LogitMatchingLoss(1.0), z, v) / 2
    labels_only = gradient(DistillationLoss(temperature, 0.0), z, v, labels)
    np.testing.assert_allclose(both, alpha * matching + (1 - alpha) * labels_only, rtol=0, atol=0.01)


@prove
@given(pairs(size=3.0), st.floats(1_000, 3_000), st.floats(2, 5))
def test_gradients_fall_as_one_over_t_squared_and_t_squared_keeps_the_balance(pair, temperature, factor):
    z, v, _ = pair
    near, far = (gradient(DistillationLoss(t, 1.0, balance=False), z, v) for t in (temperature, factor * temperature))
    assume(np.abs(near).max() > 1e-12)
    np.testing.assert_allclose(np.linalg.norm(near) / np.linalg.norm(far), factor**2, rtol=0.1)
    near, far = (gradient(DistillationLoss(t, 1.0), z, v) for t in (temperature, factor * temperature))
    np.testing.assert_allclose(np.linalg.norm(near), np.linalg.norm(far), rtol=0.1)


@prove
@given(pairs())
def test_t_to_0_is_argmax_and_t_to_infinity_is_uniform(pair):
    z, _, _ = pair
    highest = np.sort(z, axis=1)
    assume((highest[:, -1] - highest[:, -2]).min() > 1e-3)
    one_hot = np.eye(z.shape[1])[z.argmax(axis=1)]
    np.testing.assert_allclose(soft_targets(z, 1e-6), one_hot, rtol=0, atol=1e-12)
    np.testing.assert_allclose(soft_targets(z, 1e9), 1 / z.shape[1], rtol=1e-6)


@prove
@given(pairs(), TEMPERATURE, st.floats(1.01, 10))
def test_entropy_rises_with_t(pair, temperature, factor):
    z, _, _ = pair
    cool, warm = (soft_targets(z, t) for t in (temperature, factor * temperature))
    cool, warm = (-(p * np.log(np.maximum(p, 1e-300))).sum(axis=1) for p in (cool, warm))
    assert (warm >= cool - 1e-12).all()
    clear = (cool > 1e-6) & (np.log(z.shape[1]) - cool > 1e-6)
    assert (warm > cool)[clear].all()


HUGE = hnp.arrays(
    np.float32,
    st.tuples(st.just(2), st.integers(1, 3), st.integers(2, 4)),
    elements=st.sampled_from([-1e4, 0.0, 1e4]),
)


@prove
@given(HUGE, st.floats(-6, 9), st.sampled_from(["kl", "cross_entropy"]))
def test_finite_for_logits_of_10_000_at_any_temperature(both, exponent, soft):
    z, v = both
    loss = DistillationLoss(10**exponent, 0.5, soft=soft)
    x = Tensor(z, requires_grad=True)
    value = loss(x, v, np.zeros(len(z), int))
    value.backward()
    assert np.isfinite(value.data)
    assert np.isfinite(x.grad).all()
    assert value.dtype == x.grad.dtype == np.float32


def test_float32_stays_float32_whatever_the_teachers_type(rng):
    z, v = rng.normal(size=(2, 3, 4))
    for loss in (DistillationLoss(np.float64(4), np.float64(0.5)), LogitMatchingLoss(0.5)):
        x = Tensor(z.astype(np.float32), requires_grad=True)
        value = loss(x, v, [0, 1, 2])
        value.backward()
        assert value.dtype == x.grad.dtype == np.float32
    assert soft_targets(np.float32([v, v]), 4.0, [1, 2]).dtype == np.float32


@pytest.mark.parametrize("soft", ["kl", "cross_entropy"])
def test_gradients_by_finite_differences(rng, soft):
    z, v = rng.normal(size=(2, 3, 4))
    loss = DistillationLoss(3.0, 0.7, soft=soft)
    gradcheck(lambda x: loss(x, v, [0, 1, 3]), [z])
    gradcheck(lambda x: LogitMatchingLoss(0.3)(x, v, [0, 1, 3]), [z])


def test_the_teachers_tensor_gets_no_gradient(rng):
    z, v = (Tensor(a, requires_grad=True) for a in rng.normal(size=(2, 3, 4)))
    for loss in (DistillationLoss(2.0, 0.5), DistillationLoss(2.0, 0.5, soft="cross_entropy"), LogitMatchingLoss(0.5)):
        loss(z, v * 2, [0, 1, 2]).backward()
    assert v.grad is None
    assert z.grad is not None


def test_a_student_equal_to_its_teacher_has_nothing_to_learn(rng):
    z = rng.normal(size=(3, 4))
    assert abs(DistillationLoss(5.0, 1.0)(z, z).item()) < 1e-12
    np.testing.assert_allclose(gradient(DistillationLoss(5.0, 1.0), z, z), 0, atol=1e-14)
    assert LogitMatchingLoss()(z, z).item() == 0


@prove
@given(pairs(), TEMPERATURE, st.lists(st.floats(0.1, 5), min_size=3, max_size=3))
def test_an_ensemble_is_the_weighted_mean_of_softened_probabilities(pair, temperature, weights):
    z, v, labels = pair
    teachers = np.stack([v, -v, v**2 / 10])
    shares = np.array(weights) / sum(weights)
    p = sum(share * by_hand(t, temperature) for share, t in zip(shares, teachers, strict=True))
    np.testing.assert_allclose(soft_targets(teachers, temperature, weights), p, rtol=1e-8)
    loss = DistillationLoss(temperature, 1.0, balance=False, weights=weights)
    wanted = (by_hand(z, temperature) - p) / temperature / len(z)
    np.testing.assert_allclose(gradient(loss, z, teachers, labels), wanted, rtol=1e-8, atol=1e-12)


def test_a_temperature_is_1_unless_it_is_said(rng):
    v = rng.normal(size=(3, 4))
    np.testing.assert_allclose(soft_targets(v), by_hand(v, 1))
    assert repr(softmax_distillation(0.5)) == "DistillationLoss(temperature=1, alpha=0.5, soft='cross_entropy')"


def test_equal_weights_are_the_default_and_one_teacher_is_an_ensemble_of_one(rng):
    z, v, w = rng.normal(size=(3, 2, 4))
    loss = DistillationLoss(3.0, 1.0)
    np.testing.assert_allclose(soft_targets([v, w], 3.0), (by_hand(v, 3) + by_hand(w, 3)) / 2)
    np.testing.assert_allclose(loss(z, v[None]).item(), loss(z, v).item())
    np.testing.assert_allclose(LogitMatchingLoss()(z, [v, w]).item(), LogitMatchingLoss()(z, (v + w) / 2).item())


def test_the_articles_special_cases(rng):
    z, v = rng.normal(size=(2, 3, 4))
    np.testing.assert_allclose(softmax_distillation()(z, v).item(), F.cross_entropy(z, by_hand(v, 1)).item())
    wanted = 16 * F.cross_entropy(z / 4, by_hand(v, 4)).item()
    np.testing.assert_allclose(temperature_distillation(4)(z, v).item(), wanted)
    mixed = temperature_distillation(4, alpha=0.25)(z, v, [0, 1, 2]).item()
    np.testing.assert_allclose(mixed, 0.25 * wanted + 0.75 * F.cross_entropy(z, [0, 1, 2]).item())


def test_logit_matching_is_the_mean_squared_difference(rng):
    z, v = rng.normal(size=(2, 3, 4))
    soft, hard = LogitMatchingLoss(0.2).terms(z, v, [0, 1, 2])
    np.testing.assert_allclose(soft.item(), ((z - v) ** 2).mean())
    np.testing.assert_allclose(LogitMatchingLoss(0.2)(z, v, [0, 1, 2]).item(), 0.2 * soft.item() + 0.8 * hard.item())


def test_labels_are_needed_only_where_they_count(rng):
    z, v = rng.normal(size=(2, 3, 4))
    assert DistillationLoss(2.0, 1.0)(z, v).item() == DistillationLoss(2.0, 1.0)(z, v, [0, 0, 0]).item()
    assert DistillationLoss(2.0, 0.5).terms(z, v).hard is None
    assert LogitMatchingLoss(0.5).terms(z, v).hard is None
    assert DistillationLoss(2.0, 0.0)(z, v, [0, 1, 2]).item() == F.cross_entropy(z, [0, 1, 2]).item()


def test_what_a_loss_says_of_itself():
    assert repr(DistillationLoss()) == "DistillationLoss(temperature=4, alpha=0.9)"
    text = repr(DistillationLoss(2, 1, soft="cross_entropy", balance=False, weights=[1, 2]))
    assert text == "DistillationLoss(temperature=2, alpha=1, soft='cross_entropy', balance=False, weights=[1.0, 2.0])"
    assert repr(LogitMatchingLoss(0.5)) == "LogitMatchingLoss(alpha=0.5)"


# Bad input. Each sentence is read whole.

Z, V = np.array([[1.0, -2, 0], [0, 3, 1]]), np.array([[5.0, -1, -3], [0, 4, -2]])
LOSSES = (DistillationLoss(2.0, 0.5), LogitMatchingLoss(0.5))


@pytest.mark.parametrize(
    ("temperature", "shown"),
    [(0, "0"), (-1.5, "-1.5"), (float("nan"), "nan"), (float("inf"), "inf"), ("4", "'4'"), (None, "None")],
)
def test_temperatures_that_are_none(temperature, shown):
    with raises(ValueError, f"DistillationLoss: temperature is {shown}, expected a finite number above 0"):
        DistillationLoss(temperature, 0.5)
    with raises(ValueError, f"soft_targets: temperature is {shown}, expected a finite number above 0"):
        soft_targets(V, temperature)


@pytest.mark.parametrize(("alpha", "shown"), [(-0.1, "-0.1"), (1.5, "1.5"), (float("nan"), "nan"), ("1", "'1'")])
def test_alphas_outside_0_to_1(alpha, shown):
    with raises(ValueError, f"DistillationLoss: alpha is {shown}, expected 0 (labels only) to 1 (teacher only)"):
        DistillationLoss(4.0, alpha)
    with raises(ValueError, f"LogitMatchingLoss: alpha is {shown}, expected 0 (labels only) to 1 (teacher only)"):
        LogitMatchingLoss(alpha)


@pytest.mark.parametrize("loss", LOSSES)
def test_logits_that_do_not_fit(loss):
    name = type(loss).__name__
    with raises(
        ValueError, f"{name}: the student has 3 classes, the teacher 4 (student_logits: (2, 3), teacher_logits: (2, 4))"
    ):
        loss(Z, np.ones((2, 4)), [0, 1])
    with raises(
        ValueError,
        f"{name}: 2 images for the student, 5 for the teacher (student_logits: (2, 3), teacher_logits: (5, 3)); "
        "both must see the same batch",
    ):
        loss(Z, np.ones((5, 3)), [0, 1])
    with raises(
        ValueError,
        f"{name}: logits must be (N, K), or (M, N, K) of M teachers (student_logits: (2, 3), teacher_logits: (2,))",
    ):
        loss(Z, [0, 1], V)
    with raises(
        ValueError, f"{name}: an empty batch has no mean loss (student_logits: (0, 3), teacher_logits: (0, 3))"
    ):
        loss(Z[:0], V[:0], np.zeros(0, int))


@pytest.mark.parametrize("loss", LOSSES)
def test_one_hot_labels_and_probabilities_in_the_place_of_logits(loss):
    name = type(loss).__name__
    sentence = (
        f"{name}: teacher_logits are one-hot labels, and soft targets are meant; "
        "give the teacher's outputs before softmax, and class numbers as targets"
    )
    for one_hot in (np.eye(3)[[0, 2]], np.eye(3, dtype=int)[[0, 2]], np.eye(3, dtype=bool)[[0, 2]]):
        with raises(ValueError, sentence):
            loss(Z, one_hot, [0, 2])
    with raises(
        ValueError,
        f"{name}: teacher_logits are probabilities (no number is negative, each row sums to 1); "
        "give the teacher's outputs before softmax",
    ):
        loss(Z.astype(np.float32), F.softmax(V.astype(np.float32), axis=1), [0, 2])
    assert np.isfinite(loss(Z, [[1.0, 0, 0], [2, 0, 0]], [0, 2]).item())  # the second row is not one-hot


@pytest.mark.parametrize("loss", LOSSES)
def test_labels_that_are_none(loss):
    name = type(loss).__name__
    with raises(
        ValueError,
        f"{name}: targets are one-hot (2, 3), expected class numbers (2,); targets.argmax(axis=1) gives them",
    ):
        loss(Z, V, np.eye(3)[[0, 2]])
    with raises(ValueError, f"{name}: there are no targets, and alpha is 0.5: only alpha=1 does without labels"):
        loss(Z, V)
    with raises(
        ValueError,
        f"{name}: targets must be class numbers (N,), and the teacher's logits come before them "
        "(student_logits: (2, 3), targets: (2, 3))",
    ):
        loss(Z, V, V)
    with raises(TypeError, "cross_entropy: targets must be integer class numbers, got float64"):
        loss(Z, V, [0.0, 1.0])


def test_weights_that_do_not_fit():
    with raises(ValueError, "soft_targets: weights has 3 numbers for 2 teachers, expected one each"):
        soft_targets([V, V], weights=[1, 2, 3])
    with raises(ValueError, "soft_targets: weights are [1.0, -1.0], expected 0 or more each, and not all 0"):
        soft_targets([V, V], weights=[1, -1])
    with raises(ValueError, "soft_targets: weights are [0.0, 0.0], expected 0 or more each, and not all 0"):
        DistillationLoss(2.0, 1.0, weights=[0, 0])(Z, [V, V])
    with raises(ValueError, "soft_targets: logits must be (N, K), or (M, N, K) of M teachers (teacher_logits: (3,))"):
        soft_targets(V[0])


def test_an_unknown_soft_term():
    with raises(ValueError, "DistillationLoss: soft is 'mse', expected 'kl' or 'cross_entropy'"):
        DistillationLoss(2.0, 0.5, soft="mse")
