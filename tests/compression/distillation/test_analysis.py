"""What is drawn: each number against the formula, or a case done by hand; and the articles' claims on a real teacher."""

import numpy as np
import pytest

from minigrad import DataLoader, nn
from minigrad.compression.distillation import DistillationLoss, analysis, teacher_logits
from minigrad.compression.models import trained_lenet
from minigrad.tensor import Tensor
from tests.sentences import raises


def softmax(z, temperature=1.0):
    e = np.exp(z / temperature)
    return e / e.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def real(small_test):
    """Logits of the trained LeNet, of a student that has learned half of it, and labels."""
    v = teacher_logits(trained_lenet(), small_test)
    rng = np.random.default_rng(0)
    return 0.5 * v + rng.normal(size=v.shape), v, small_test.labels


def test_entropy_is_the_formula_and_rises_with_t(rng):
    z = rng.normal(size=(5, 4))
    temperatures = [0.3, 1, 7, 1e6]
    found = analysis.entropy(z, temperatures)
    wanted = [-(softmax(z, t) * np.log(softmax(z, t))).sum(axis=1) for t in temperatures]
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    assert (np.diff(found, axis=0) > 0).all()
    np.testing.assert_allclose(found[-1], np.log(4))
    assert analysis.entropy([1e4, 0, 0], 0.01).tolist() == [[0.0]]


@pytest.mark.parametrize("balance", [False, True])
def test_the_soft_gradient_of_each_image_is_q_minus_p_over_t(rng, balance):
    z, v = rng.normal(size=(2, 5, 4))
    wanted = (softmax(z, 3) - softmax(v, 3)) / 3 * (9 if balance else 1)
    np.testing.assert_allclose(analysis.soft_gradient(z, v, 3, balance), wanted, rtol=1e-9, atol=1e-14)


def test_gradient_terms_are_mean_lengths(rng):
    z, v = rng.normal(size=(2, 5, 4))
    labels, temperatures = [0, 1, 2, 3, 0], [0.5, 2, 20]
    found = analysis.gradient_terms(z, v, labels, temperatures)
    soft = [np.linalg.norm((softmax(z, t) - softmax(v, t)) / t, axis=1).mean() for t in temperatures]
    np.testing.assert_allclose(found.soft, soft)
    np.testing.assert_allclose(found.balanced, np.array(soft) * [0.25, 4, 400])
    np.testing.assert_allclose(found.hard, [np.linalg.norm(softmax(z) - np.eye(4)[labels], axis=1).mean()] * 3)
    weighed = analysis.gradient_terms(z, v, labels, temperatures, alpha=0.2)
    np.testing.assert_allclose([weighed.soft, weighed.balanced], 0.2 * np.array([found.soft, found.balanced]))
    np.testing.assert_allclose(weighed.hard, 0.8 * found.hard)


def test_the_two_gradients_turn_the_same_way_for_large_t(rng):
    z, v = rng.normal(0, 3, size=(2, 5, 4))
    temperatures = [0.5, 2, 1e3]
    found = analysis.gradient_cosine(z, v + 7, temperatures)
    d = (z - z.mean(axis=1, keepdims=True)) - (v - v.mean(axis=1, keepdims=True))
    for row, t in zip(found, temperatures, strict=True):
        g = softmax(z, t) - softmax(v, t)
        np.testing.assert_allclose(row, (g * d).sum(axis=1) / np.linalg.norm(g, axis=1) / np.linalg.norm(d, axis=1))
    np.testing.assert_allclose(found[-1], 1, atol=1e-5)
    assert found[0].min() < 0.99
    assert np.isnan(analysis.gradient_cosine(z, z, [2.0])).all()


def test_shares_of_the_gradient_by_hand():
    student, teacher = np.zeros((1, 4)), np.array([[9.0, 3, 1, -1]])  # the mean of the negatives is 1
    size = np.abs(softmax(student, 2) - softmax(teacher, 2))[0]
    found = analysis.negative_share(student, teacher, [0], [2.0])
    wanted = [size[0], size[1], size[2] + size[3]]
    np.testing.assert_allclose(np.array(found)[:, 0], np.array(wanted) / size.sum())


def test_the_articles_claim_about_negative_labels(real):
    shares = analysis.negative_share(*real, [0.5, 1, 2, 20])
    np.testing.assert_allclose(np.array(shares).sum(axis=0), 1)
    assert (np.diff(shares.below) > 0).all()
    assert shares.below[0] < 0.05
    assert shares.below[-1] > 0.3


def test_the_articles_claim_about_noise(real):
    at_2, at_20 = analysis.noise_effect(*real[:2], [2, 20])
    assert at_20 > 10 * at_2
    assert at_20 > 0.1


def test_noise_by_hand_and_by_seed(rng):
    z, v = rng.normal(size=(2, 3, 4))
    noise = np.random.default_rng(5).normal(0, 0.5, (3, 1))[:, 0]
    noisy = v.copy()
    noisy[np.arange(3), v.argmin(axis=1)] += noise
    clean = softmax(z, 3) - softmax(v, 3)
    change = softmax(z, 3) - softmax(noisy, 3) - clean
    wanted = np.linalg.norm(change, axis=1).sum() / np.linalg.norm(clean, axis=1).sum()
    np.testing.assert_allclose(analysis.noise_effect(z, v, 3, lowest=1, scale=0.5, seed=5), [wanted])
    assert analysis.noise_effect(z, v, 3, scale=0).tolist() == [0]
    assert analysis.noise_effect(z, v, 3, seed=1) != analysis.noise_effect(z, v, 3, seed=2)


def test_predictions_and_confusions(rng):
    model = nn.Linear(4, 3)
    x = rng.normal(size=(10, 4)).astype(np.float32)
    labels = rng.integers(0, 3, 10)
    found = analysis.predictions(model, DataLoader(x, labels, 4, shuffle=True))
    np.testing.assert_array_equal(found, (x @ model.weight.data.T + model.bias.data).argmax(axis=1))
    matrix = analysis.confusion_matrix(labels, found, classes=3)
    assert matrix.sum() == 10
    assert np.trace(matrix) == (labels == found).sum()
    assert matrix[2, 1] == ((labels == 2) & (found == 1)).sum()


def test_mistakes_of_the_teacher_are_counted_on_its_mistakes_only():
    targets, teacher = [1, 1, 1, 1, 2], [1, 0, 0, 3, 2]
    students = {0.9: [0, 0, 0, 3, 0], 0.0: [0, 1, 2, 1, 0], 0.5: [1, 0, 1, 0, 2]}
    found = analysis.mistakes_of_the_teacher(targets, teacher, students)
    assert found.alphas.tolist() == [0, 0.5, 0.9]
    assert found.right.tolist() == [2, 1, 0]
    assert found.other.tolist() == [1, 1, 0]
    assert found.repeated.tolist() == [0, 1, 3]


def test_the_analysis_changes_no_logits(rng):
    z, v = rng.normal(size=(2, 3, 4))
    before = z.copy(), v.copy()
    analysis.noise_effect(Tensor(z), v, 2)
    analysis.gradient_cosine(z, Tensor(v), 2)
    analysis.gradient_terms(z, v, [0, 1, 2], 2)
    np.testing.assert_array_equal((z, v), before)


def test_bad_input_is_refused(rng):
    z, v = rng.normal(size=(2, 3, 4))
    calls = {
        "entropy": lambda t: analysis.entropy(z, t),
        "gradient_terms": lambda t: analysis.gradient_terms(z, v, [0, 1, 2], t),
        "gradient_cosine": lambda t: analysis.gradient_cosine(z, v, t),
        "negative_share": lambda t: analysis.negative_share(z, v, [0, 1, 2], t),
        "noise_effect": lambda t: analysis.noise_effect(z, v, t),
    }
    for name, call in calls.items():
        for wrong in (0.0, -1.0, float("nan"), float("inf")):
            with raises(ValueError, f"{name}: temperature is {wrong}, expected a finite number above 0"):
                call([1.0, wrong])
        with raises(ValueError, f"{name}: there are no temperatures, expected one or more"):
            call([])
    with raises(ValueError, "entropy: logits must be (N, K), at least one row (logits: (2, 3, 4))"):
        analysis.entropy([z, v], [1])
    with raises(
        ValueError,
        "soft_gradient: student and teacher must have one shape (student_logits: (3, 4), teacher_logits: (3, 3))",
    ):
        analysis.soft_gradient(z, v[:, :3], 1)
    with raises(ValueError, "noise_effect: lowest is 4, expected 1 to 3 of 4"):
        analysis.noise_effect(z, v, 1, lowest=4)
    for name, call in {
        "negative_share": lambda: analysis.negative_share(z, z, [0, 1, 2], 2),
        "noise_effect": lambda: analysis.noise_effect(z, z, 2),
    }.items():
        with raises(ValueError, f"{name}: at T = 2 student and teacher agree on every image: there is no gradient"):
            call()
    with raises(ValueError, "gradient_terms: alpha is 2, expected 0 (labels only) to 1 (teacher only)"):
        analysis.gradient_terms(z, v, [0, 1, 2], 1, alpha=2)
    with raises(ValueError, "confusion_matrix: expected one prediction an image (targets: (2,), predicted: (3,))"):
        analysis.confusion_matrix([0, 1], [0, 1, 2])
    with raises(ValueError, "confusion_matrix: classes run from 0 to 5, expected 0 to 4"):
        analysis.confusion_matrix([0, 5], [0, 1], classes=5)
    with raises(
        ValueError,
        "mistakes_of_the_teacher: expected one class an image (targets: (2,), teacher: (2,), student at alpha 0.5: (1,))",
    ):
        analysis.mistakes_of_the_teacher([0, 1], [0, 1], {0.5: [0]})


def test_the_soft_gradient_is_what_training_sees(rng):
    z, v = rng.normal(size=(2, 3, 4))
    x = Tensor(z, requires_grad=True)
    DistillationLoss(3.0, 1.0)(x, v).backward()
    np.testing.assert_allclose(analysis.soft_gradient(z, v, 3.0, balance=True) / 3, x.grad)
