"""What `explain` writes down is what the engine computes, and can be checked line by line."""

import re

import numpy as np
import pytest

from minigrad.compression.integer import reference
from tests.compression.integer.integer_cases import random_images, small_lenet

PADDED = {"pool": "average", "padding": (2, 1), "stride": (2, 1), "pad_value": -95}


@pytest.mark.parametrize(("profile", "settings"), [("tflite", PADDED), ("single", {}), ("onnx", PADDED)])
def test_elements_of_every_layer_are_explained(profile, settings, rng):
    model, image = small_lenet(2, profile=profile, **settings), random_images(1, 1)[0]
    steps = reference.run(model, image)
    for layer, shape, step in zip(model.layers, model.shapes, steps, strict=True):
        if layer.name == "flatten":
            continue
        for corner in (False, True):
            at = tuple(0 if corner else int(rng.integers(n)) for n in shape)
            made = model.explain(image, layer.name, at)
            assert made.result == np.array(step.out)[at]
            if step.acc is not None:
                assert made.acc == np.array(step.acc)[at]
                zero = layer.input_zero
                assert all(term.product == term.weight * (term.value - zero) for term in made.terms)
                assert made.acc == layer.bias[at[0]] + sum(term.product for term in made.terms)


@pytest.mark.parametrize("profile", ["tflite", "single"])
def test_each_line_is_true(profile):
    """Evaluates the formulas that are printed."""
    model, image = small_lenet(5, profile=profile), random_images(1, 1)[0]
    for at in range(10):
        text = str(model.explain(image, "fc3", (at,)))
        for formula, result in re.findall(r": (\(.*?\) >> \d+) = (-?\d+)$", text, re.MULTILINE):
            assert eval(formula) == int(result)  # digits and operators of our own making
        for high, whole, size, rest in re.findall(r": (-?\d+) = (-?\d+) \* (\d+) \+ (\d+), and", text):
            assert int(high) == int(whole) * int(size) + int(rest)
        assert text.count(">>") == 1
        assert len(re.findall(r"^x\[", text, re.MULTILINE)) == 84


def test_the_default_is_the_largest_logit():
    model, image = small_lenet(5), random_images(1, 1)[0]
    logits = model.logits(image[None])[0]
    made = model.explain(image)
    assert (made.layer, made.at, made.result) == ("fc3", (logits.argmax(),), logits.max())
    assert str(made).startswith(f"fc3[{logits.argmax()}] = {logits.max()}, from a bias of ")


def test_pooling_is_explained_too():
    model, image = small_lenet(5), random_images(1, 1)[0]
    lines = str(model.explain(image, "maxpool1", (3, 1, 2))).splitlines()
    assert re.fullmatch(r"maxpool1\[3, 1, 2\] = -?\d+, the largest of 4 values", lines[0])
    assert [line.split("]")[0] for line in lines[2:6]] == ["x[3, 2, 4", "x[3, 2, 5", "x[3, 3, 4", "x[3, 3, 5"]


def test_bad_questions():
    model, image = small_lenet(), random_images(1, 1)[0]
    with pytest.raises(ValueError, match="there is no layer 'fc9', only conv1, maxpool1, conv2"):
        model.explain(image, "fc9")
    with pytest.raises(ValueError, match="flatten computes nothing, it only renames places"):
        model.explain(image, "flatten")
    with pytest.raises(
        IndexError, match=r"at=\(6, 0, 0\) is not an element of conv1's output, which has shape \(6, 24, 24\)"
    ):
        model.explain(image, "conv1", (6, 0, 0))
    with pytest.raises(TypeError, match="explain: images are float64"):
        model.explain(image / 255)
