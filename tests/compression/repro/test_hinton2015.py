"""Hinton's table, on few images and with narrow networks."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import minigrad
from minigrad.checkpoint import load_checkpoint, read_checkpoint
from minigrad.compression.distillation import teacher_logits
from minigrad.compression.repro import HINTON2015, Job, reproduce
from minigrad.compression.repro.common import images
from minigrad.compression.repro.hinton2015 import (
    PLANS,
    QUICK,
    SHIFTS,
    STUDENT,
    TEACHER,
    TEMPERATURES,
    Plan,
    _ask_teacher,
    correct,
    network,
    pixels,
    plans,
    work,
)
from minigrad.datasets import ImageDataset

SMALL = {
    part: replace(plan, width=16, teacher=plan.teacher and replace(plan.teacher, width=16))
    for part, plan in plans(
        replace(TEACHER, epochs=2, images=500, jitter=1, max_norm=0.5), replace(STUDENT, epochs=1), (4,), (30,)
    ).items()
}


def jobs(folder, data, seeds=1, **changes):
    settings = {part: replace(plan, **changes.get(part, {})) for part, plan in SMALL.items()}
    return replace(HINTON2015, settings=settings).jobs(seeds, False, folder, data)


@pytest.fixture(scope="module")
def report(small_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hinton")
    with ThreadPoolExecutor(2) as pool:
        report = reproduce(HINTON2015, jobs(folder, small_data, seeds=2), pool)
    return report | {"folder": folder}


def of(report, part, seed=0):
    return next(run["results"] for run in report["runs"] if (run["part"], run["seed"]) == (part, seed))


def test_every_part_is_run_and_leaves_no_unfinished_file(report):
    assert report["failed"] == []
    assert {run["part"] for run in report["runs"]} == {
        "teacher", "800-alone", "800-T20", "800-T20-unmoved", "without-3", "only-7-8", "30-alone", "30-T4",
    }  # fmt: skip
    for run in report["runs"]:
        assert run["results"]["test_images"] == 600
        assert 0 < run["results"]["test_errors"] < 600
        assert 0 < run["results"]["held_out_errors"] < 200
    assert of(report, "800-T20") != of(report, "800-T20", seed=1)
    files = {path.name for path in report["folder"].glob("*.safetensors")}
    assert files == {
        f"teacher-seed-{seed}{rest}.safetensors" for seed in (0, 1) for rest in ("", "-logits-0", "-logits-1")
    }


def test_a_teacher_tells_its_students_what_it_sees_from_nine_positions(report, small_data):
    model = network(SMALL["teacher"])
    load_checkpoint(report["folder"] / "teacher-seed-0.safetensors", model)
    x = pixels(images(small_data, SMALL["teacher"].images)[0])
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    places = [(down, across) for down in range(3) for across in range(3)]
    views = [teacher_logits(model, padded[:, :, down : down + 28, across : across + 28]) for down, across in places]
    said = {
        k: read_checkpoint(report["folder"] / f"teacher-seed-0-logits-{k}.safetensors")[0]["logits"] for k in (0, 1)
    }
    np.testing.assert_allclose(said[0], views[4], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(said[1], np.mean(views, axis=0), rtol=1e-4, atol=1e-4)
    for job in jobs(report["folder"], small_data):
        if job.settings.teacher is not None:
            np.testing.assert_array_equal(_ask_teacher(job, x), said[job.settings.teacher_shift])
    shifts = {part: plan.teacher_shift for part, plan in PLANS.items() if plan.teacher_shift != 1}
    assert shifts == dict.fromkeys(["teacher", "800-T20-unmoved", "800-alone", "300-alone", "30-alone"], 0)


def test_the_teacher_keeps_within_its_norm(report):
    arrays, _ = read_checkpoint(report["folder"] / "teacher-seed-0.safetensors")
    norms = [np.linalg.norm(w, axis=1) for w in arrays.values() if w.ndim > 1]
    assert [len(n) for n in norms] == [16, 16, 10]
    assert max(n.max() for n in norms) == pytest.approx(0.5, rel=1e-5)  # somewhere the limit is felt


def test_a_teacher_that_is_trained_anew_has_its_students_trained_anew(small_data, tmp_path):
    first = jobs(tmp_path, small_data)[:3]
    assert reproduce(HINTON2015, first)["failed"] == []
    teacher = replace(SMALL["teacher"], epochs=1)
    again = jobs(tmp_path, small_data, teacher={"epochs": 1}, **{"800-T20": {"teacher": teacher}})[:3]
    said = []
    report = reproduce(HINTON2015, again, say=said.append)
    assert report["failed"] == []
    assert said[0] == "1 of 3 runs are there already: 800-alone-seed-0"


def test_a_student_without_its_teacher_is_refused(small_data, tmp_path):
    student = next(job for job in jobs(tmp_path, small_data) if job.part == "800-T20")
    with pytest.raises(FileNotFoundError, match=r"the teacher of seed 0 is missing in .*: its run comes first"):
        work(student)


def test_an_interrupted_training_goes_on_and_ends_alike(small_data, tmp_path, report, monkeypatch):
    job = jobs(tmp_path, small_data)[0]
    fit, epochs = minigrad.fit, []

    def killed(position):
        epochs.append(position.epoch)
        if len(epochs) == 2:  # the second epoch is not saved any more
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(minigrad, "fit", lambda *a, **settings: fit(*a, **settings, after_epoch=killed))
        with pytest.raises(KeyboardInterrupt):
            work(job)
        assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name]
        assert work(job) == of(report, "teacher")
    assert epochs == [1, 2, 2]


def test_the_correction_is_chosen_on_held_out_images_only():
    logits = np.zeros((6, 10), np.float32)
    labels = np.array([3, 3, 3, 1, 1, 1])
    logits[:, 3] = [4, 3, 2, 0, 0, 0]
    logits[:, 1] = 5  # a raise by just over 3 makes all six right, up to 5
    test = logits.copy()
    test[:3, 3] = -9  # out of reach for a raise by 4
    said, both = {"held_out": logits, "test": test}, {"held_out": labels, "test": labels}
    found = correct([k for k in range(10) if k != 3], 1, said, both)
    assert found["shift"] == pytest.approx(4.0, abs=0.11)
    assert found["curves"]["held_out"][0] == 3
    assert found["curves"]["held_out"][SHIFTS.index(found["shift"])] == 0
    assert found["curves"]["held_out"][SHIFTS.index(5.5)] == 3
    assert (found["corrected_errors"], found["unmet_images"]) == (3, 3)
    assert (found["unmet_errors"], found["unmet_corrected_errors"]) == (3, 3)


def test_lowering_the_only_two_classes_met_lets_the_others_win():
    logits = np.zeros((4, 10), np.float32)
    logits[:, 7] = [6, 6, 2, 2]
    logits[[2, 3], [0, 1]] = 1
    both = {"held_out": logits, "test": logits}
    labels = dict.fromkeys(both, np.array([7, 7, 0, 1]))
    found = correct((7, 8), -1, both, labels)
    assert 1 < found["shift"] < 6
    assert (found["corrected_errors"], found["unmet_errors"], found["unmet_corrected_errors"]) == (0, 2, 0)
    assert found["curves"]["test"][0] == 2


def test_the_transfer_sets_lack_what_they_should(small_data, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "minigrad.compression.repro.hinton2015.distill",
        lambda student, logits, loader, *a, **s: seen.update({len(loader.labels): (set(loader.labels), logits.shape)}),
    )
    teacher, *_ = jobs(tmp_path, small_data)
    students = [job for job in jobs(tmp_path, small_data) if job.part in ("without-3", "only-7-8", "800-T20")]
    assert reproduce(HINTON2015, [teacher, *students])["failed"] == []
    whole, without, only = (seen[n] for n in sorted(seen, reverse=True))
    assert whole == (set(range(10)), (500, 10))
    assert without[0] == set(range(10)) - {3}
    assert only[0] == {7, 8}


def test_taught_students_begin_gently_and_the_others_at_once(small_data, tmp_path, monkeypatch):
    schedules = []

    def note(model, loader, *rest, schedule, schedule_each, **settings):
        schedules.append(schedule)
        assert schedule_each == "step"

    monkeypatch.setattr(minigrad, "fit", note)  # distill calls it as well
    chosen = jobs(tmp_path, small_data, **{"800-T20": {"epochs": 5}})[:3]
    assert reproduce(HINTON2015, chosen)["failed"] == []
    steps = 8, 4, 20  # 500 images make 4 batches
    teacher, alone, taught = ([s.rate(n) for n in range(count)] for s, count in zip(schedules, steps, strict=True))
    for rates, plan in ((teacher, TEACHER), (alone, STUDENT)):
        assert rates[0] == plan.lr
        assert rates == sorted(rates, reverse=True)
        assert 0 < rates[-1] < plan.lr / 2
    assert taught.index(max(taught)) == 0.2 * 20 - 1
    assert taught[3] == pytest.approx(0.05)
    assert taught[0] == pytest.approx(0.002)
    assert taught[-1] < 1e-6


def test_pixels_go_from_black_0_to_white_1():
    x = pixels(ImageDataset(np.array([[[0, 51], [102, 255]]], np.uint8), np.zeros(1, int)))
    assert (x.dtype, x.shape) == (np.float32, (1, 1, 2, 2))
    np.testing.assert_allclose(x[0, 0], [[0, 0.2], [0.4, 1]], rtol=1e-6)


def test_the_full_plan_is_the_papers():
    sizes = {p: sum(w.size for w in network(PLANS[p]).parameters()) for p in ("teacher", "800-T20", "30-T4")}
    assert sizes == {"teacher": 2_395_210, "800-T20": 1_276_810, "30-T4": 24_790}
    assert PLANS["800-T20"].temperature == 20
    for part, plan in PLANS.items():
        regularised = plan.input_dropout or plan.dropout or plan.max_norm or plan.jitter
        assert bool(regularised) == (part == "teacher")
        assert (plan.teacher is None) == (part not in HINTON2015.needs)
        assert (plan.temperature is None) == (plan.teacher is None)
    assert {f"{w}-T{t}" for w in (800, 300, 30) for t in TEMPERATURES} < set(PLANS)
    assert QUICK.keys() < PLANS.keys()
    assert HINTON2015.seeds == 3


def test_a_plan_says_all_that_a_stored_result_depends_on(tmp_path):
    job = Job("800-T20", 0, PLANS["800-T20"], tmp_path)
    assert job.identity()["settings"]["teacher"]["epochs"] == TEACHER.epochs
    assert job.identity()["settings"] != Job("x", 0, Plan(800, 50), tmp_path).identity()["settings"]
