"""Products of sparse and dense matrices.

The sparse matrix is (M, K) in CSR form: row i's entries are number indptr[i] to indptr[i + 1], each with a column in
`indices` and a value in `data`. Dense matrices are C-contiguous; in a layer their rows are features and their columns the
images of a batch, so that an entry multiplies a whole run of images.

Compiled, nothing checks an index: `CSRMatrix` and its relatives have validated their structure before.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, kernel
from minigrad.kernels.vector import fmas, lanes, loads, multiples, splat, stores

from .runs import add_run, aligned_copy, aligned_like, dot_run, needs_alignment, share

ROWS = 32
"""Rows of a task, on average, unless there are few."""

SERIAL = 2**19
"""Up to so many multiply-adds, some 10 µs, one thread works alone. A second would save 3 µs if it is awake; waking it takes 10,
and milliseconds where other programs keep the cores busy."""

BLOCK_ROWS = 4
"""Height of a block in block CSR: so many rows share what is loaded of x, four vectors of each in registers."""


@helper
def _tasks(rows):
    """Return into how many tasks so many rows are split: not by the number of threads, so that it cannot change a bit."""
    return max(min(rows, 4), rows // ROWS)


@helper
def _rows(indptr, indices, data, x, b, out, columns, start, stop):
    """Compute rows start to stop of the product; x and out are flat, their rows `columns` long."""
    for row in range(start, stop):
        first, last = indptr[row], indptr[row + 1]
        out[row * columns : (row + 1) * columns] = b[row]
        add_run(x, 0, indices[first:last], columns, data[first:last], out, row * columns, columns)


@kernel
def csr_matmul(indptr, indices, data, x, b, out):
    """out = A @ x + b, for a sparse A: (M, K).

    x: (K, P)   b: (M,), added to each column   out: (M, P), overwritten; both C-contiguous
    """
    rows, columns = out.shape
    x_flat, out_flat = x.reshape(-1), out.reshape(-1)
    copied = needs_alignment(x_flat, indptr[-1] / max(len(x), 1))
    if indices.size * columns <= SERIAL:
        _rows(indptr, indices, data, aligned_copy(x) if copied else x_flat, b, out_flat, columns, 0, rows)
    else:
        if copied:
            x_flat = aligned_like(x)
            for k in prange(len(x)):
                x_flat[k * columns : (k + 1) * columns] = x[k]
        tasks = _tasks(rows)
        for task in prange(tasks):
            start, stop = share(indptr, task, tasks), share(indptr, task + 1, tasks)
            _rows(indptr, indices, data, x_flat, b, out_flat, columns, start, stop)


@kernel
def csr_matmul_transposed(indptr, indices, order, data, x, out):
    """out = A.T @ x, for a sparse A: (M, K) whose transposed structure is given; its values stay where they lie.

    indptr: (K + 1,), indices: of A.T   order: where each entry of A.T has its value in `data`
    x: (M, P)   out: (K, P), overwritten; both C-contiguous
    """
    rows, columns = out.shape
    x_flat, out_flat, zeros = x.reshape(-1), out.reshape(-1), np.zeros(rows, data.dtype)
    values = np.empty(order.size, data.dtype)
    for k in prange(order.size):
        values[k] = data[order[k]]
    tasks = _tasks(rows)
    for task in prange(tasks):
        start, stop = share(indptr, task, tasks), share(indptr, task + 1, tasks)
        _rows(indptr, indices, values, x_flat, zeros, out_flat, columns, start, stop)


@kernel
def csr_sampled(indptr, indices, order, g, x, out):
    """out[order[k]] = sum over p of g[i, p] * x[j, p], for each entry k = (i, j) of a sparse (M, K): g @ x.T, sampled there.

    g: (M, P)   x: (K, P); both C-contiguous   out: flat, written at the places in `order` and nowhere else
    """
    columns = g.shape[1]
    g_flat, x_flat = g.reshape(-1), x.reshape(-1)
    tasks = _tasks(len(g))
    for task in prange(tasks):
        for row in range(share(indptr, task, tasks), share(indptr, task + 1, tasks)):
            for k in range(indptr[row], indptr[row + 1]):
                out[order[k]] = dot_run(g_flat, row * columns, x_flat, int(indices[k]) * columns, columns)


@kernel
def csr_matmul_int8(indptr, indices, data, x, out):
    """out = A @ x in whole numbers: products of int8 are added in int32, where NumPy and SciPy would stay in int8 and wrap.

    data: int8   x: (K, P), int8   out: (M, P), int32, overwritten; both C-contiguous
    """
    tasks = _tasks(len(out))
    for task in prange(tasks):
        for row in range(share(indptr, task, tasks), share(indptr, task + 1, tasks)):
            target = out[row]
            target[:] = 0
            for k in range(indptr[row], indptr[row + 1]):
                value, source = np.int32(data[k]), x[indices[k]]
                for m in range(target.size):
                    target[m] += np.int32(value * np.int32(source[m]))


@helper
def _marked(mask, start, columns):
    """Write the places of the set bits among mask's bits from `start` on into columns; return how many there are.

    columns: (K + 1,), K being the number of bits looked at
    """
    count = 0
    for column in range(columns.size - 1):
        bit = start + column
        columns[count] = column  # stays only if the bit is set: no branch to be guessed wrong
        count += (mask[bit >> 3] >> (bit & 7)) & 1
    return count


@kernel
def bitmask_matmul(mask, indptr, data, x, b, out):
    """out = A @ x + b, for an A: (M, K) with a bit for each element, in C order, and the values of those that are set.

    mask: uint8, 8 bits a byte, lowest first   indptr: (M + 1,), where each row's values begin
    x: (K, P)   b: (M,)   out: (M, P), overwritten; both C-contiguous
    """
    rows, columns = out.shape
    x_flat, out_flat = x.reshape(-1), out.reshape(-1)
    tasks = _tasks(rows)
    for task in prange(tasks):
        own = np.empty(len(x) + 1, np.int32)
        for row in range(rows * task // tasks, rows * (task + 1) // tasks):
            first, last = indptr[row], indptr[row + 1]
            count = _marked(mask, row * len(x), own)
            out_flat[row * columns : (row + 1) * columns] = b[row]
            add_run(x_flat, 0, own[:count], columns, data[first:last], out_flat, row * columns, columns)


@helper
def _block_strip(indices, data, width, depth, x, columns, m, out, to):
    """Add one row of blocks to four rows of results, four vectors of each.

    indices: columns of the blocks   data: flat, BLOCK_ROWS * width numbers a block   depth: rows of x
    """
    four = multiples(lanes(x), 4)
    q0, q1, q2, q3 = to + m, to + columns + m, to + 2 * columns + m, to + 3 * columns + m
    a, b, c, d = loads(out, q0, four), loads(out, q1, four), loads(out, q2, four), loads(out, q3, four)
    for k in range(indices.size):
        first = int(indices[k]) * width
        for j in range(min(width, depth - first)):
            values, t = loads(x, (first + j) * columns + m, four), k * BLOCK_ROWS * width + j
            a, b = fmas(splat(data[t]), values, a), fmas(splat(data[t + width]), values, b)
            c, d = fmas(splat(data[t + 2 * width]), values, c), fmas(splat(data[t + 3 * width]), values, d)
    stores(out, q0, four, a)
    stores(out, q1, four, b)
    stores(out, q2, four, c)
    stores(out, q3, four, d)


@helper
def _block_rest(indices, data, width, depth, x, columns, m, out, to):
    """Add one row of blocks to four rows of results, from column m on, where four vectors no longer fit."""
    for k in range(indices.size):
        first = int(indices[k]) * width
        for j in range(min(width, depth - first)):
            source = x[(first + j) * columns + m : (first + j + 1) * columns]
            for row in range(BLOCK_ROWS):
                value = data[(k * BLOCK_ROWS + row) * width + j]
                target = out[to + row * columns + m : to + (row + 1) * columns]
                for n in range(target.size):
                    target[n] += value * source[n]


@kernel
def block_matmul(indptr, indices, data, x, b, out):
    """out = A @ x + b, for an A: (M, K) stored as the blocks that are not all zero.

    indptr, indices: of the rows and columns of blocks   data: (blocks, BLOCK_ROWS, width)
    x: (K, P)   b: (rows,)   out: (rows, P), overwritten; both C-contiguous; rows is M rounded up to whole blocks
    """
    columns, width, size = out.shape[1], data.shape[2], BLOCK_ROWS * data.shape[2]
    x_flat, out_flat, data_flat = x.reshape(-1), out.reshape(-1), data.reshape(-1)
    for block_row in prange(len(indptr) - 1):
        first, last, to = indptr[block_row], indptr[block_row + 1], block_row * BLOCK_ROWS * columns
        own, values = indices[first:last], data_flat[first * size : last * size]
        for row in range(block_row * BLOCK_ROWS, (block_row + 1) * BLOCK_ROWS):
            out[row] = b[row]
        wide = columns - columns % (4 * lanes(x))
        for m in range(0, wide, 4 * lanes(x)):
            _block_strip(own, values, width, len(x), x_flat, columns, m, out_flat, to)
        if wide < columns:
            _block_rest(own, values, width, len(x), x_flat, columns, wide, out_flat, to)
