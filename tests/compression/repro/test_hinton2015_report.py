"""Hinton's table and figures, from made-up runs."""

from pathlib import Path

import numpy as np

from minigrad.compression.repro import HINTON2015
from minigrad.compression.repro.hinton2015 import SHIFTS
from minigrad.compression.repro.hinton2015_report import plot_corrections, plot_sweep, rows


def run(part, seed, errors, **more):
    return {"part": part, "seed": seed, "results": {"test_errors": errors, "test_images": 10_000, **more}}


def test_rows_set_the_students_beside_each_other_seed_by_seed():
    runs = {
        "teacher": [run("teacher", 0, 70), run("teacher", 1, 76)],
        "800-alone": [run("800-alone", 1, 100), run("800-alone", 0, 200)],
        "800-T20": [run("800-T20", 0, 100), run("800-T20", 1, 70), run("800-T20", 2, 7)],
        "800-T20-unmoved": [run("800-T20-unmoved", 0, 87), run("800-T20-unmoved", 1, 86)],
        "800-T8": [run("800-T8", 0, 80)],
        "30-T1": [run("30-T1", 0, 500)],
        "30-T4": [run("30-T4", 0, 400)],
        "30-T20": [run("30-T20", 0, 450)],
        "only-7-8": [run("only-7-8", 0, 4000, shift=7.0, corrected_errors=1500)],
    }
    found = {f"{row.part}: {row.figure}": row.as_json() for row in rows(runs) if row.values}
    teacher = found["Teacher, 1200 units a layer: test errors"]
    assert (teacher["mean"], teacher["met"]) == (73, True)
    share = found["800 units a layer: errors at T=20, share of those alone"]
    assert sorted(share["values"]) == [50, 70]  # 100 of 200, 70 of 100: by seed, not by place
    assert share["met"] is True
    assert found["800 units a layer: test errors, T=20, logits of the image as it is"]["values"] == [87, 86]
    assert found["T, 800 units a layer: errors at T=20 over those at T=8"]["values"] == [25]
    best = found["T, 30 units a layer: T of the fewest errors, mean over seeds"]
    assert (best["values"], best["met"]) == ([4], True)
    only = "Only 7s and 8s in the transfer set"
    assert (found[f"{only}: test error"]["mean"], found[f"{only}: test error then"]["mean"]) == (40, 15)
    assert found[f"{only}: test error then"]["met"] is True
    assert not any(row.startswith("No 3") for row in found)
    assert not any(row.values for row in rows({}))


def test_the_pictures_show_every_temperature_and_the_choice():
    curves = {name: [count] + [count // 2] * (len(SHIFTS) - 1) for name, count in (("test", 60), ("held_out", 30))}
    corrected = {"held_out_images": 200, "shift": 3.5, "curves": curves}
    runs = [run(part, seed, 30 + 10 * seed) for seed in (0, 1) for part in ("800-T4", "800-T20", "30-T4", "30-alone")]
    runs += [run(part, 0, 60, **corrected) for part in ("without-3", "only-7-8")]
    for one in runs:
        one["results"]["test_images"] = 600
    parts = {}
    for one in runs:
        parts.setdefault(one["part"], []).append(one)
    drawn = HINTON2015.figures(runs, Path())
    assert drawn.keys() == {"temperature", "bias"}
    widest, narrow = plot_sweep(parts).axes
    assert [ax.get_title() for ax in (widest, narrow)] == ["800 units a layer", "30 units a layer"]
    assert narrow.get_ylabel() == "test errors of 600"
    assert [tick.get_text() for tick in narrow.get_xticklabels()] == ["4"]
    assert narrow.lines[0].get_ydata() == [35]
    assert [tick.get_text() for tick in widest.get_xticklabels()] == ["4", "20"]
    assert len(widest.lines) < len(narrow.lines)  # only the narrow one has a student alone to be held against
    left, right = plot_corrections(parts).axes
    assert left.get_xlabel() == "bias of class 3, raised by"
    np.testing.assert_allclose([line.get_ydata()[:2] for line in left.lines[:2]], [[10, 5], [15, 7.5]])
    assert right.get_xlabel() == "biases of classes 7 and 8, lowered by"
    assert right.get_title().endswith("; chosen: 3.5")
    assert HINTON2015.figures([], Path()) == {}
