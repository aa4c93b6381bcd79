"""Losses and softmax against their formulas."""

import numpy as np

from minigrad import functional as F


def test_losses_are_their_formulas(rng):
    x, classes = rng.normal(size=(3, 4)), np.array([0, 3, 1])
    p, share = rng.dirichlet(np.ones(4), 3), rng.random((3, 4))
    log_q, sigmoid = x - np.log(np.exp(x).sum(axis=1, keepdims=True)), 1 / (1 + np.exp(-x))
    smooth = 0.8 * np.eye(4)[classes] + 0.2 / 4
    for ours, formula in (
        (F.cross_entropy(x, p, reduction="none"), -(p * log_q).sum(axis=1)),
        (F.cross_entropy(x, classes, reduction="none", label_smoothing=0.2), -(smooth * log_q).sum(axis=1)),
        (F.nll_loss(log_q, classes, reduction="none"), -log_q[[0, 1, 2], classes]),
        (F.kl_div(log_q, p, reduction="none"), p * (np.log(p) - log_q)),
        (F.mse_loss(x, share, reduction="none"), (x - share) ** 2),
        (F.bce_with_logits(x, share, reduction="none"), -share * np.log(sigmoid) - (1 - share) * np.log(1 - sigmoid)),
        (F.squared_hinge(x, np.sign(share - 0.5), reduction="none"), np.maximum(0, 1 - np.sign(share - 0.5) * x) ** 2),
    ):
        np.testing.assert_allclose(ours.data, formula, rtol=1e-12)
    np.testing.assert_allclose(F.mse_loss(x, share).data, ((x - share) ** 2).mean(), rtol=1e-12)


def test_large_numbers_do_not_overflow():
    x = np.array([[1000.0, 1000.0, -1000.0]])
    np.testing.assert_allclose(F.logsumexp(x, axis=1).data, [1000 + np.log(2)])
    np.testing.assert_allclose(F.softmax(x).data, [[0.5, 0.5, 0]])
    np.testing.assert_array_equal(F.sigmoid(x).data, [[1, 1, 0]])
    np.testing.assert_array_equal(
        F.bce_with_logits(x, np.array([[0.0, 1, 1]]), reduction="none").data, [[1000, 0, 1000]]
    )


def test_temperature_divides_before_softmax(rng):
    x = rng.normal(size=(3, 4))
    np.testing.assert_allclose(F.softmax(x, temperature=3).data, F.softmax(x / 3).data, rtol=1e-12)
    np.testing.assert_allclose(F.log_softmax(x, 0, temperature=0.5).data, F.log_softmax(2 * x, 0).data, rtol=1e-12)
