"""Log-softmax and the loss built on it."""

import numpy as np

from minigrad.ops.base import Op


def log_softmax(x, axis):
    """Return log(exp(x) / sum of exp(x)) along `axis`, computed without overflow: the largest x is subtracted first."""
    shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


class LogSoftmax(Op, name="log_softmax", axes="(...) -> (...)"):
    """Logarithm of softmax along one axis."""

    def forward(self, x, *, axis):
        self.axis, self.out = axis, log_softmax(x, axis)
        return self.out

    def vjp_x(self, g):
        return g - np.exp(self.out) * g.sum(axis=self.axis, keepdims=True)


class CrossEntropy(Op, name="cross_entropy", axes="logits: (N, K), targets: (N,) -> (N,)"):
    """-log softmax(logits)[n, targets[n]], one value an image."""

    def forward(self, logits, targets):
        log_p = log_softmax(logits, axis=1)
        self.rows, self.targets = np.arange(len(targets)), targets
        self.p = np.exp(log_p)
        return -log_p[self.rows, targets]

    def vjp_logits(self, g):
        # (p - onehot(targets)) * g   (N, K)
        grad = self.p.copy(order="K")
        grad[self.rows, self.targets] -= 1
        grad *= g[:, None]
        return grad
