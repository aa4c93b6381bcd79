"""Seeds, in one thread and in several."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

import minigrad
from minigrad.random import generator


def draw(seed, barrier=None):
    minigrad.manual_seed(seed)
    numbers = []
    for _ in range(50):
        if barrier:
            barrier.wait()  # the threads take turns, so that a shared generator would be noticed
        numbers.append(generator().random())
    return numbers


def test_threads_that_seed_draw_what_they_would_draw_alone():
    barrier = Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(draw, (3, 4), (barrier, barrier)))
    assert together == [draw(3), draw(4)]


def test_a_thread_that_seeds_leaves_the_main_thread_alone():
    minigrad.manual_seed(3)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(draw, 4).result()
    assert generator().random() == np.random.default_rng(3).random()


def test_a_thread_that_does_not_seed_draws_from_the_main_threads_generator():
    minigrad.manual_seed(3)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: generator().random()).result() == np.random.default_rng(3).random()


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match=r"manual_seed: seed is -1, expected 0 or more"):
        minigrad.manual_seed(-1)
