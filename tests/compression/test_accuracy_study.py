"""What few bits cost: the study runs, its figures are those of the forms, and it goes on where it was."""

import numpy as np
import pytest

from minigrad.compression import accuracy_study
from minigrad.compression.accuracy_study import BINARY, LENET, BinarySettings, LeNetSettings, rows
from minigrad.compression.sweep import Job

SMALL = {
    LENET: LeNetSettings(epochs=1, qat_epochs=1, batch_size=8, calibration=50, limit=2_000),
    BINARY: BinarySettings(epochs=1, binary_epochs=1, limit=2_000),
}


def results(part, seed, **test):
    """A stored run: on held-out images everything is 0.5 points better."""
    found = {form: {"test": accuracy, "held-out": accuracy + 0.5} for form, accuracy in test.items()}
    return {"part": part, "seed": seed, "results": {form.replace("_", " "): value for form, value in found.items()}}


def test_rows_hold_each_form_against_its_own_float_model():
    runs = [
        results(LENET, 0, float=99.0, int8=99.0, **{"4_bit": 98.6}),
        results(BINARY, 0, float=99.5, binary=99.1),
        results(LENET, 1, float=98.0, int8=97.9, **{"4_bit": 97.8}),
        results(BINARY, 1, float=99.3, binary=99.3),
    ]
    found = {(row.part, row.figure): row.as_json() for row in rows(runs)}
    int8 = found[LENET, "int8 below float"]
    np.testing.assert_allclose(int8["values"], [0.0, 0.1])
    assert (round(int8["mean"], 9), int8["at_most"]) == (0.05, 0.05)
    four = found[LENET, "4 bit below float"]
    np.testing.assert_allclose(four["values"], [0.4, 0.2])
    signs = found[BINARY, "binary below float"]
    np.testing.assert_allclose(signs["values"], [0.4, 0.0])
    assert (signs["at_most"], signs["paper"], signs["met"]) == (0.3, 0.11, True)
    assert found[BINARY, "float, test images"]["values"] == [99.5, 99.3]
    assert len(found) == 11


@pytest.mark.parametrize(("part", "forms"), [(LENET, ["float", "int8", "4 bit"]), (BINARY, ["float", "binary"])])
def test_a_job_measures_every_form(small_data, tmp_path, part, forms):
    found = accuracy_study.work(Job(part, 0, SMALL[part], tmp_path, small_data))
    assert list(found) == forms
    for accuracies in found.values():
        assert min(accuracies.values()) > 30  # a guess is right in one case of ten
        assert accuracies["test"] != accuracies["held-out"]
