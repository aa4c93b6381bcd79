"""Tiles: blocks of results that stay in vector registers while all terms of their sums are added.

A tile is six rows of results by four vectors. For each term it loads four vectors and six numbers and does 24
multiply-adds, and it stores once at the end; a plain loop would load and store each result for each term. (Six times four,
since a core with AVX-512 has 32 vector registers. With 16 of them a tile is six rows by two vectors.) Convolutions and
their gradients come down to

    out[places[s] + m] = b[s] + sum over terms of w[term, s] * x[at + the term's place + m]

for six s and a contiguous run of m. Some tiles have fewer rows than six, so that none is computed in vain.
"""

import numpy as np

from minigrad.kernels._kernel import helper, inlined
from minigrad.kernels.vector import (
    REGISTERS,
    fma,
    fmas,
    get,
    lanes,
    largest,
    load,
    loads,
    multiples,
    put,
    splat,
    splats,
    spread,
    store,
    stores,
)

TILE = 6
"""Rows of a tile."""


VECTORS = 4 if REGISTERS == 32 else 2
"""Vectors of a row."""


@helper
def _rows(places):
    """Return how many filters of a tile to compute: 2, 3, 4 or 6. Its places beyond the last filter repeat that one's."""
    if places[4] != places[3]:
        return TILE
    return 2 + (places[2] != places[1]) + (places[3] != places[2])


@inlined
def _sums(x, at, apart, sources, w, b, rows):
    """Return VECTORS vectors for each of six filters: b[s] + sum over taps of w[tap, s] * x[at + the tap's place ...].

    apart: how far from there in x each vector lies   sources: for each tap, where it lies in x and in w
    rows: with 2, 3 or 4, the sums of the other filters are left out
    """
    c0, c1, c2 = splats(b[0], VECTORS), splats(b[1], VECTORS), splats(b[2], VECTORS)
    c3, c4, c5 = splats(b[3], VECTORS), splats(b[4], VECTORS), splats(b[5], VECTORS)
    for tap in range(sources.shape[0]):
        v, t = loads(x, at + sources[tap, 0], apart), sources[tap, 1]
        c0, c1 = fmas(spread(w, t), v, c0), fmas(spread(w, t + 1), v, c1)
        if rows > 2:
            c2 = fmas(spread(w, t + 2), v, c2)
        if rows > 3:
            c3 = fmas(spread(w, t + 3), v, c3)
        if rows > 4:
            c4, c5 = fmas(spread(w, t + 4), v, c4), fmas(spread(w, t + 5), v, c5)
    return c0, c1, c2, c3, c4, c5


@inlined
def _wide_tile(x, at, sources, w, b, out, places, m):
    """Six filters by VECTORS neighbouring vectors: out[places[s] + m ...] = their sums."""
    apart, rows = multiples(lanes(x), VECTORS), _rows(places)
    c0, c1, c2, c3, c4, c5 = _sums(x, at, apart, sources, w, b, rows)
    stores(out, places[0] + m, apart, c0)
    stores(out, places[1] + m, apart, c1)
    if rows > 2:
        stores(out, places[2] + m, apart, c2)
    if rows > 3:
        stores(out, places[3] + m, apart, c3)
    if rows > 4:
        stores(out, places[4] + m, apart, c4)
        stores(out, places[5] + m, apart, c5)


@inlined
def pooled_tile(x, at, window, near, far, sources, w, b, out, places, m, room):
    """Six filters by one vector: out[places[s] + m ...] = the largest of 0 and of the sums at four places of x.

    window: its places, 4; a constant would be compiled to as many copies of the loop as there are
    near, far: the places are at, at + near, at + far, at + near + far; with 16 registers two are summed at a time
    room: six vectors, for the largest so far: registers are all taken
    """
    zero, width, rows = splat(x.dtype.type(0)), lanes(x), _rows(places)
    for s in range(TILE):
        store(room, s * width, zero)
    apart = (0, near, far, near + far)[:VECTORS]
    for place in range(0, window, VECTORS):
        c0, c1, c2, c3, c4, c5 = _sums(x, at + place // 2 * far, apart, sources, w, b, rows)
        store(room, 0, largest(c0, load(room, 0)))
        store(room, width, largest(c1, load(room, width)))
        store(room, 2 * width, largest(c2, load(room, 2 * width)))
        store(room, 3 * width, largest(c3, load(room, 3 * width)))
        store(room, 4 * width, largest(c4, load(room, 4 * width)))
        store(room, 5 * width, largest(c5, load(room, 5 * width)))
    for s in range(rows):
        store(out, places[s] + m, load(room, s * width))


@helper
def _narrow_tile(x, at, sources, w, b, out, places, m, alone):
    """Six filters by one vector: what is left of a run when a wide tile no longer fits.

    alone: by one number, in a run that does not fill a vector
    """
    c0, c1, c2, c3, c4, c5 = splat(b[0]), splat(b[1]), splat(b[2]), splat(b[3]), splat(b[4]), splat(b[5])
    for tap in range(sources.shape[0]):
        p, t = at + sources[tap, 0], sources[tap, 1]
        v = get(x, p, alone)
        c0, c1, c2 = fma(spread(w, t), v, c0), fma(spread(w, t + 1), v, c1), fma(spread(w, t + 2), v, c2)
        c3, c4, c5 = fma(spread(w, t + 3), v, c3), fma(spread(w, t + 4), v, c4), fma(spread(w, t + 5), v, c5)
    put(out, places[0] + m, c0, alone)
    put(out, places[1] + m, c1, alone)
    put(out, places[2] + m, c2, alone)
    put(out, places[3] + m, c3, alone)
    put(out, places[4] + m, c4, alone)
    put(out, places[5] + m, c5, alone)


COPIES_FROM = 5
"""Tiles of filters from which it pays to lay what they all read side by side first: planes of x are often a power of two
apart, and a cache holds only eight lines that are."""


@helper
def sum_runs(x, at, sources, w, b, out, places, start, runs):
    """Compute some runs of every filter. A run's last vector may overlap the one before: it stores the same numbers again.

    Tiles of filters change fastest: what they read of x is then still in the cache.

    runs: how many, how long, and the step from one to the next in x and in out
    """
    width, wide, own = lanes(out), VECTORS * lanes(out), multiples(lanes(out), VECTORS)
    count, length, x_step, out_step = runs
    whole, step = length - length % wide, width if length >= width else 1
    copies = w.shape[0] >= COPIES_FROM
    copied = np.empty(sources.shape[0] * wide if copies else 0, x.dtype)
    copied_sources = sources.copy() if copies else sources
    for tap in range(sources.shape[0] if copies else 0):
        copied_sources[tap, 0] = tap * wide
    for run in range(count):
        p, q = at + run * x_step, start + run * out_step
        for m in range(0, whole, wide):
            read, first = x, p + m
            if copies:
                read, first = copied, 0
                for tap in range(sources.shape[0]):
                    stores(copied, tap * wide, own, loads(x, p + m + sources[tap, 0], own))
            for tile in range(w.shape[0]):
                _wide_tile(read, first, copied_sources, w[tile], b[tile], out, places[tile], q + m)
        for m in range(whole, length, step):
            last = min(m, length - step)
            for tile in range(w.shape[0]):
                _narrow_tile(x, p + last, sources, w[tile], b[tile], out, places[tile], q + last, step == 1)
