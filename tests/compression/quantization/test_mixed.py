from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from minigrad.compression.models import as_sequential, trained_lenet
from minigrad.compression.quantization import round_weights, stored_bytes
from minigrad.compression.quantization.mixed import bit_costs, choose_bits

OPTIONS = st.dictionaries(st.integers(1, 8), st.tuples(st.integers(1, 30), st.floats(-1, 5)), min_size=1, max_size=4)


@given(st.lists(OPTIONS, min_size=1, max_size=3), st.integers(1, 90))
def test_no_other_choice_that_fits_is_better(options, budget):
    costs = {str(i): option for i, option in enumerate(options)}
    fitting = [
        sum(costs[name][bits][1] for name, bits in zip(costs, widths, strict=True))
        for widths in product(*costs.values())
        if sum(costs[name][bits][0] for name, bits in zip(costs, widths, strict=True)) <= budget
    ]
    if not fitting:
        with pytest.raises(ValueError, match=r"choose_bits: the fewest bits take \d+ bytes, more than the budget of"):
            choose_bits(costs, budget)
        return
    choice = choose_bits(costs, budget)
    assert choice.nbytes == sum(costs[name][bits][0] for name, bits in choice.bits.items()) <= budget
    np.testing.assert_allclose(choice.predicted, min(fitting), atol=1e-9)


def test_costs_are_bytes_and_how_far_answers_go_with_one_layer_rounded(rng):
    images = rng.normal(size=(30, 1, 28, 28)).astype(np.float32)
    chain = as_sequential(trained_lenet(), images[:1])
    costs = bit_costs(chain, images, widths=(1, 4))
    rounded, formats = round_weights(chain, {"fc1": 4})
    assert costs["fc1"][4][0] == sum(stored_bytes(30720, formats["fc1"]).values()) == 15360 + 480
    assert costs["conv1"][1][0] == 19 + 24
    p, q = (softmax(model(images).data.astype(np.float64), axis=1) for model in (chain, rounded))
    np.testing.assert_allclose(costs["fc1"][4][1], (p * np.log(p / q)).sum(axis=1).mean(), rtol=1e-3)
    narrow = choose_bits(costs, sum(option[1][0] for option in costs.values()) + 2000)
    wide = choose_bits(costs, 10**6)
    assert sum(narrow.bits.values()) < sum(wide.bits.values())
    assert narrow.predicted >= wide.predicted
