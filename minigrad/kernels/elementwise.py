"""Elementwise kernels over flat memory, in chunks: one task a chunk."""

from numba import prange

from minigrad.kernels._kernel import kernel

CHUNK = 16_384


@kernel
def relu_forward(x, out):
    """out = max(x, 0); NaN stays NaN.

    x: (M,), contiguous   out: (M,), overwritten
    """
    for chunk in prange((x.size + CHUNK - 1) // CHUNK):
        source, target = x[chunk * CHUNK : (chunk + 1) * CHUNK], out[chunk * CHUNK : (chunk + 1) * CHUNK]
        for m in range(source.size):
            target[m] = 0 if source[m] <= 0 else source[m]


@kernel
def relu_grad(g, out, grad_x):
    """grad_x = 0 where out <= 0, else g: NaN in out lets the gradient pass.

    g: (M,)   out: (M,), the forward result   grad_x: (M,), overwritten
    """
    for chunk in prange((g.size + CHUNK - 1) // CHUNK):
        gradient, result = g[chunk * CHUNK : (chunk + 1) * CHUNK], out[chunk * CHUNK : (chunk + 1) * CHUNK]
        target = grad_x[chunk * CHUNK : (chunk + 1) * CHUNK]
        for m in range(gradient.size):
            target[m] = 0 if result[m] <= 0 else gradient[m]


@kernel
def momentum_step(p, g, velocity, lr, momentum, nesterov):
    """velocity = momentum * velocity + g, then p -= lr * velocity; with nesterov p -= lr * (g + momentum * velocity).

    In one sweep, since memory is what takes the time.

    p, velocity: (M,), contiguous, overwritten   g: (M,)   lr, momentum: numbers of p's dtype
    """
    for chunk in prange((p.size + CHUNK - 1) // CHUNK):
        own = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        weights, gradient, v = p[own], g[own], velocity[own]
        for m in range(weights.size):
            v[m] = momentum * v[m] + gradient[m]
            weights[m] -= lr * (gradient[m] + momentum * v[m] if nesterov else v[m])


@kernel
def gather_batch(images, order, out):
    """Gather images by number into batch-innermost memory: out[p, n] = images[order[n], p].

    images: (M, P), one row an image   order: int64 (N,)   out: (P, N), overwritten
    """
    for p in prange(out.shape[0]):
        row = out[p]
        for n in range(order.size):
            row[n] = images[order[n], p]


@kernel
def lay_out_batch(x, out):
    """out = x.T, in blocks that stay in the cache: an ordinary batch becomes batch-innermost.

    x: (N, P), one row an image   out: (P, N), overwritten
    """
    places, images = out.shape
    for block in prange((places + 15) // 16):
        for first in range(0, images, 64):
            for p in range(block * 16, min(block * 16 + 16, places)):
                row, column = out[p, first : first + 64], x[first : first + 64, p]
                for n in range(row.size):
                    row[n] = column[n]
