"""Codecs and gradients that several tests of this folder share."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.compression.gradients import QSGD, Float16, Int8, Sign, TernGrad, TopK, Uncompressed

CODECS = [
    Uncompressed(), Float16(), Int8(), Int8(bucket=7), Sign(), Sign(bucket=7), QSGD(), QSGD(levels=1, bucket=7), TernGrad(),
    TernGrad(clip=1.0), TopK(), TopK(ratio=0.3), TopK(ratio=1.0),
]  # fmt: skip

FINITE = st.floats(-(2.0**120), 2.0**120, width=32, allow_subnormal=True)
"""Up to where QSGD's norm is still a float32; the largest numbers have a test of their own."""

GRADIENTS = hnp.arrays(np.float32, st.integers(0, 40), elements=st.one_of(FINITE, st.just(0.0)))


def generator(seed=0):
    return np.random.default_rng(seed)


def send(codec, gradient, seed=0):
    return codec.decode(codec.encode(gradient, generator(seed)), gradient.size)
