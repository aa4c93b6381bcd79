"""Tiles: blocks of results that stay in vector registers while all terms of their sums are added.

A tile is six rows of results by four vectors. For each term it loads four vectors and six numbers and does 24
multiply-adds, and it stores once at the end; a plain loop would load and store each result for each term. (Six times four,
since a core with AVX-512 has 32 vector registers.) Convolutions, their gradients and matrix products all come down to

    out[places[s] + m] = b[s] + sum over terms of w[term, s] * x[at + the term's place + m]

for six s and a contiguous run of m. Some tiles have fewer rows than six, so that none is computed in vain.
"""

from minigrad.kernels._kernel import helper, inlined
from minigrad.kernels.vector import fma, lanes, larger, load, splat, store

TILE = 6
"""Rows of a tile."""


@helper
def _fma4(a, x, c):
    """Return c + a * x for four vectors and one number."""
    x0, x1, x2, x3 = x
    c0, c1, c2, c3 = c
    a = splat(a)
    return fma(a, x0, c0), fma(a, x1, c1), fma(a, x2, c2), fma(a, x3, c3)


@helper
def store4(x, at, c):
    """Write four vectors to x, one behind the other, from index `at` on."""
    width = lanes(x)
    c0, c1, c2, c3 = c
    store(x, at, c0)
    store(x, at + width, c1)
    store(x, at + 2 * width, c2)
    store(x, at + 3 * width, c3)


@helper
def _splat4(value):
    v = splat(value)
    return v, v, v, v


@helper
def _rows(places):
    """Return how many filters of a tile to compute: 2, 3, 4 or 6. Its places beyond the last filter repeat that one's."""
    if places[4] != places[3]:
        return TILE
    return 2 + (places[2] != places[1]) + (places[3] != places[2])


@inlined
def _sums(x, at, apart, sources, taps, w, b, rows):
    """Return four vectors for each of six filters: b[s] + sum over taps of w[tap, s] * x[at + the tap's place ...].

    apart: how far from there in x the second, third and fourth vector lie
    sources: for each row of taps, where it begins in x and in w   taps: how many a row has, the first's place in w, and
    the step from one to the next in x and in w   rows: with 2, 3 or 4, the sums of the other filters are left out
    """
    count, first, step, w_step = taps
    d1, d2, d3 = apart
    c0, c1, c2, c3, c4, c5 = _splat4(b[0]), _splat4(b[1]), _splat4(b[2]), _splat4(b[3]), _splat4(b[4]), _splat4(b[5])
    for row in range(sources.shape[0]):
        p, t = at + sources[row, 0], first + sources[row, 1]
        for _ in range(count):
            v = (load(x, p), load(x, p + d1), load(x, p + d2), load(x, p + d3))
            c0, c1 = _fma4(w[t], v, c0), _fma4(w[t + 1], v, c1)
            if rows > 2:
                c2 = _fma4(w[t + 2], v, c2)
            if rows > 3:
                c3 = _fma4(w[t + 3], v, c3)
            if rows > 4:
                c4, c5 = _fma4(w[t + 4], v, c4), _fma4(w[t + 5], v, c5)
            p += step
            t += w_step
    return c0, c1, c2, c3, c4, c5


@inlined
def _wide_tile(x, at, sources, taps, w, b, out, places, m):
    """Six filters by four neighbouring vectors: out[places[s] + m ...] = their sums."""
    width, rows = lanes(x), _rows(places)
    c0, c1, c2, c3, c4, c5 = _sums(x, at, (width, 2 * width, 3 * width), sources, taps, w, b, rows)
    store4(out, places[0] + m, c0)
    store4(out, places[1] + m, c1)
    if rows > 2:
        store4(out, places[2] + m, c2)
    if rows > 3:
        store4(out, places[3] + m, c3)
    if rows > 4:
        store4(out, places[4] + m, c4)
        store4(out, places[5] + m, c5)


@helper
def _largest(c, zero):
    """Return the largest of 0 and four vectors."""
    c0, c1, c2, c3 = c
    return larger(c3, larger(c2, larger(c1, larger(c0, zero))))


@inlined
def pooled_tile(x, at, apart, sources, taps, w, b, out, places, m):
    """Six filters by one vector: out[places[s] + m ...] = the largest of 0 and of the sums at four places of x."""
    zero, rows = splat(x.dtype.type(0)), _rows(places)
    c0, c1, c2, c3, c4, c5 = _sums(x, at, apart, sources, taps, w, b, rows)
    store(out, places[0] + m, _largest(c0, zero))
    store(out, places[1] + m, _largest(c1, zero))
    if rows > 2:
        store(out, places[2] + m, _largest(c2, zero))
    if rows > 3:
        store(out, places[3] + m, _largest(c3, zero))
    if rows > 4:
        store(out, places[4] + m, _largest(c4, zero))
        store(out, places[5] + m, _largest(c5, zero))


@helper
def _narrow_tile(x, at, sources, taps, w, b, out, places, m):
    """Six filters by one vector: what is left of a run when four vectors no longer fit."""
    count, first, step, w_step = taps
    c0, c1, c2, c3, c4, c5 = splat(b[0]), splat(b[1]), splat(b[2]), splat(b[3]), splat(b[4]), splat(b[5])
    for row in range(sources.shape[0]):
        p, t = at + sources[row, 0], first + sources[row, 1]
        for _ in range(count):
            v = load(x, p)
            c0, c1, c2 = fma(splat(w[t]), v, c0), fma(splat(w[t + 1]), v, c1), fma(splat(w[t + 2]), v, c2)
            c3, c4, c5 = fma(splat(w[t + 3]), v, c3), fma(splat(w[t + 4]), v, c4), fma(splat(w[t + 5]), v, c5)
            p += step
            t += w_step
    store(out, places[0] + m, c0)
    store(out, places[1] + m, c1)
    store(out, places[2] + m, c2)
    store(out, places[3] + m, c3)
    store(out, places[4] + m, c4)
    store(out, places[5] + m, c5)


@helper
def _short_tile(x, at, sources, taps, w, b, out, places, m, length):
    """The same sums for a run shorter than a vector: term by term, added to the results where they lie."""
    count, first, step, w_step = taps
    for s in range(TILE):
        target = out[places[s] + m : places[s] + m + length]
        target[:] = b[s]
        for row in range(sources.shape[0]):
            for tap in range(count):
                p, t = at + sources[row, 0] + tap * step, first + sources[row, 1] + tap * w_step
                values = x[p : p + length]
                for k in range(length):
                    target[k] += w[t + s] * values[k]


@helper
def sum_runs(x, at, sources, taps, w, b, out, places, start, runs):
    """Compute some runs of every filter. A run's last vector may overlap the one before: it stores the same numbers again.

    Tiles of filters change fastest: what they read of x is then still in the cache.

    runs: how many, how long, and the step from one to the next in x and in out
    """
    width = lanes(out)
    count, length, x_step, out_step = runs
    whole = length - length % (4 * width)
    for run in range(count):
        p, q = at + run * x_step, start + run * out_step
        for m in range(0, whole, 4 * width):
            for tile in range(w.shape[0]):
                _wide_tile(x, p + m, sources, taps, w[tile], b[tile], out, places[tile], q + m)
        for m in range(whole, length, width):
            for tile in range(w.shape[0]):
                if length < width:
                    _short_tile(x, p, sources, taps, w[tile], b[tile], out, places[tile], q, length)
                else:
                    last = min(m, length - width)
                    _narrow_tile(x, p + last, sources, taps, w[tile], b[tile], out, places[tile], q + last)
