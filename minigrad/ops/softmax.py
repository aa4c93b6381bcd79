"""Log-softmax and the losses that would lose digits if they were built from smaller ops."""

import numpy as np

from minigrad.ops.activation import sigmoid
from minigrad.ops.base import Op


def log_softmax(x, axis):
    """Return log(exp(x) / sum of exp(x)) along `axis`, computed without overflow: the largest x is subtracted first."""
    x = x if x.dtype.kind in "fc" else x.astype(np.float64)
    shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    with np.errstate(divide="ignore"):  # an empty axis sums to 0
        return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


class LogSoftmax(Op, name="log_softmax", axes="(...) -> (...)", cost="5 * x"):
    """Logarithm of softmax along one axis."""

    def forward(self, x, *, axis):
        self.axis, self.out = axis, log_softmax(x, axis)
        return self.out

    def vjp_x(self, g):
        return g - np.exp(self.out) * g.sum(axis=self.axis, keepdims=True)


class CrossEntropy(
    Op,
    name="cross_entropy",
    axes="logits: (N, K), targets: (N,) -> (N,)",
    cost="5 * N * K",
    domain="targets: whole numbers from 0 to K - 1",
):
    """-log softmax(logits)[n, targets[n]], one value an image."""

    def forward(self, logits, targets):
        log_p = log_softmax(logits, axis=1)
        self.rows, self.targets = np.arange(len(targets)), targets.copy()
        self.p = np.exp(log_p)
        return -log_p[self.rows, targets]

    def vjp_logits(self, g):
        # (p - onehot(targets)) * g   (N, K)
        grad = self.p.copy(order="K")
        grad[self.rows, self.targets] -= 1
        grad *= g[:, None]
        return grad


class BceWithLogits(
    Op,
    name="bce_with_logits",
    axes="(...), targets: (...) -> (...)",
    cost="8 * out",
    domain="any x; targets from 0 to 1",
    broadcasts=True,
):
    """-targets * log sigmoid(x) - (1 - targets) * log(1 - sigmoid(x)), finite for any finite x."""

    def forward(self, x, targets):
        self.x, self.targets = x, targets
        return np.maximum(x, 0) - x * targets + np.log1p(np.exp(np.minimum(x, -x)))

    def vjp_x(self, g):
        return g * (sigmoid(self.x) - self.targets)

    def vjp_targets(self, g):
        return -g * self.x
