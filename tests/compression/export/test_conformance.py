"""What `make conformance` left: it runs the other runtimes, this only reads."""

import json

import pytest

from tools.conformance import CASES, FIGURES, PAGE, RUNTIMES, page


@pytest.fixture(scope="module")
def figures():
    return json.loads(FIGURES.read_text())


def test_the_page_is_what_make_conformance_writes_of_its_figures(figures):
    assert PAGE.read_text() == page(figures)


def test_every_model_was_compared_with_every_runtime_and_no_logit_differs(figures):
    assert list(figures["cases"]) == [case.name for case in CASES]
    for case in CASES:
        found = figures["cases"][case.name]
        expected = [r for r in RUNTIMES if not (case.averages and r.profile == "onnx")]
        assert found["logits"] == 10 * figures["images"] == 100_000
        assert found["distinct"] > 20
        assert found["differences"] == {f"{r.name} ({r.profile})": 0 for r in expected}


def test_ours_agrees_with_each_runtime_of_its_profile_and_profiles_differ(figures):
    matrix = figures["matrix"]
    same = [("ours (tflite)", "tflite-micro (tflite)"), ("ours (onnx)", "LiteRT, XNNPACK (onnx)")]
    assert all(matrix["differences"][f"{a} | {b}"] == 0 for a, b in same)
    assert matrix["differences"]["ours (tflite) | ours (single)"] > 0
