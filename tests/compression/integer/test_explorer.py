"""The multiplier's explorer: its integers against fractions, and 31 bits against the engine's."""

import sys
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.compression.integer import quantize_multiplier
from minigrad.compression.integer.explorer import draw_multiplier, explore_multiplier, rescale, short_multiplier
from minigrad.debug import Picture
from tests.sentences import raises

MULTIPLIERS = st.floats(1e-4, 0.5)


@given(MULTIPLIERS, st.integers(1, 31))
def test_a_short_multiplier_is_as_near_as_its_bits_allow(multiplier, bits):
    q, shift = short_multiplier(multiplier, bits)
    assert 2 ** (bits - 1) <= q < 2**bits or (q, bits) == (1, 1)
    near = Fraction(q) * Fraction(2) ** (shift - bits)
    assert abs(near / Fraction(multiplier) - 1) <= Fraction(1, 2**bits)


@given(MULTIPLIERS)
def test_thirty_one_bits_are_the_engines(multiplier):
    assert short_multiplier(multiplier, 31) == quantize_multiplier(multiplier)


@given(MULTIPLIERS, st.integers(1, 31), st.integers(-(2**20), 2**20))
def test_rescaling_rounds_the_exact_product_once(multiplier, bits, total):
    q, shift = short_multiplier(multiplier, bits)
    exact = total * Fraction(q) * Fraction(2) ** (shift - bits)
    assert rescale([total], q, shift, bits)[0] == floor(exact + Fraction(1, 2))


def test_a_multiplier_above_one_shifts_to_the_left():
    q, shift = short_multiplier(6.0, 2)
    assert (q, shift) == (3, 3)
    assert rescale([5], q, shift, 2).tolist() == [30]


def test_the_words_say_the_integers_and_the_largest_error():
    sums = np.unique(np.linspace(-12_700, 12_700, 4001).round())
    error = np.abs(np.floor(sums * 20 / 2**11 + 0.5) - 0.01 * sums).max()
    words = draw_multiplier(0.01, 5).words
    assert words.startswith(
        "M = 0.01 with 5 bits: Q = 20, shift -6, together 0.00976562. For accumulators up to 12,700 "
    )
    assert words.endswith(f"the output is off by {error:.3g} steps at most; with 31 bits by 0.5.")


def test_the_panels_have_names_and_a_line_at_half_a_step():
    left, right = draw_multiplier(0.003, 9).figure.axes
    assert (left.get_xlabel(), right.get_xlabel()) == ("accumulator", "bits of Q")
    assert all(
        0.5 in line.get_ydata()
        for ax in (left, right)
        for line in ax.lines
        if line.get_linestyle() == "--" and line.get_ydata()[0] > 0
    )
    assert right.lines[-1].get_xdata() == [9]


def test_what_is_no_multiplier_is_refused():
    for multiplier, bits in ((0.0, 5), (-1.0, 5), (float("inf"), 5), (0.1, 0), (0.1, 32)):
        sentence = f"short_multiplier: multiplier {multiplier} and {bits} bits, expected a positive number and 1 to 31"
        with raises(ValueError, sentence):
            short_multiplier(multiplier, bits)


def test_without_widgets_five_bits_are_shown(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    picture = explore_multiplier(0.02)
    assert isinstance(picture, Picture)
    assert picture.words.startswith("M = 0.02 with 5 bits: ")


def test_the_sliders_move_the_picture():
    widgets = pytest.importorskip("ipywidgets", reason="ipywidgets is not installed; `make course` installs it")
    box = explore_multiplier()
    (multiplier, bits), picture = box.children[0].children, box.children[1]
    assert (bits.min, bits.max, bits.value, multiplier.value) == (1, 31, 5, 0.01)
    seen = [picture.value]
    for control, value in ((bits, 12), (multiplier, 0.1)):
        control.value = value
        seen.append(picture.value)
    assert len(set(seen)) == 3
    assert 'alt="M = 0.1 with 12 bits: Q = 3,277, shift -3' in seen[-1]
    widgets.Widget.close_all()
