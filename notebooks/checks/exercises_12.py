"""Notebook 12: Deep Compression."""

import numpy as np

from minigrad.compression.coding import huffman, to_relative

from .checking import Task


def exercise_1():
    """Gaps with fillers."""
    return Task(
        np.asarray(to_relative([3, 4, 13], bits=2)[0]),
        hint="2 bits reach to a gap of 3. A filler is a zero that is stored, so it stands for a place as well.",
        stronger="Between 4 and 13 lie 8 zeros: two fillers (3 zeros and one each), and a gap of 0.",
        mistakes=[
            ([3, 0, 8], "8 does not fit into 2 bits: fillers are needed."),
            ([4, 1, 4, 4, 1], "Those are the paper's steps: a gap is one less."),
            ([3, 0, 3, 3, 2], "A filler is a zero as well: gap 3 and a filler stand for four zeros, not three."),
        ],
    )


def exercise_2():
    """Bytes on paper."""
    entries = 2_400 + 120
    right = -(-entries * 5 // 8) - (-entries * 4 // 8) + 4 * 31
    return Task(
        right,
        hint="Each entry has a value and a gap, fillers too. The codebook comes on top.",
        stronger="2,520 entries of 5 bits and of 4 bits are 1,575 and 1,260 bytes; 31 float32 numbers are 124.",
        mistakes=[
            (right - 124, "And the codebook? 31 numbers of 4 bytes."),
            (2_400 * 9 // 8 + 124, "Fillers are entries: each has a value and a gap."),
            (30_000 * 9 // 8 + 124, "Zeros that were pruned are not stored."),
            (8 * right, "Those are bits."),
        ],
    )


def exercise_3():
    """A canonical Huffman code."""
    lengths = huffman.code_lengths([10, 1, 1, 3, 5])
    right = [f"{code:0{n}b}" for code, n in zip(huffman.canonical_codes(lengths), lengths, strict=True)]
    return Task(
        right,
        hint="Put the two rarest together first, and again. Short codes come first, then the order of the symbols.",
        stronger="1 + 1 = 2, 2 + 3 = 5, 5 + 5 = 10, 10 + 10 = 20: codes of 1, 4, 4, 3 and 2 bits.",
        mistakes=[
            ([code.translate({48: "1", 49: "0"}) for code in right], "0 and 1 are exchanged: the shortest code is 0."),
            (
                ["000", "001", "010", "011", "100"],
                "That is a code of fixed width: 60 bits. Rare symbols pay for others.",
            ),
            (
                [right[0], right[2], right[1], *right[3:]],
                "Of two codes of one length the first symbol has the smaller.",
            ),
        ],
    )


def exercise_4(weights, gradients):
    """One step of shared weights."""
    sums = np.array([gradients[weights == c].sum() for c in (-0.2, 0.5)])
    means = np.array([gradients[weights == c].mean() for c in (-0.2, 0.5)])
    centroids = np.array([-0.2, 0.5])
    right = tuple((centroids - 0.1 * sums).tolist())
    return Task(
        right,
        hint="A number that is used often collects the gradients of all its uses; then comes a step of descent.",
        stronger="The sums are 2 + 1 = 3 for -0.2, and 1 - 3 + 4 = 2 for 0.5.",
        mistakes=[
            (right[::-1], "The order: first the centroid of -0.2."),
            (tuple(centroids + 0.1 * sums), "The sign: one walks against the gradient."),
            (tuple(centroids - 0.1 * means), "That is the mean; a number used often collects the sum."),
            (tuple(centroids - 0.1 * (sums + 9)), "The gradient of the pruned weight belongs to nobody."),
        ],
    )
