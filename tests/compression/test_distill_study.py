"""A small LeNet alone and taught: what the study and the scan train, keep and compare; and the pictures of soft targets."""

import json
from dataclasses import replace

import numpy as np
import pytest

import minigrad
from minigrad.compression import distill_scan, distill_study, soft_target_study
from minigrad.compression.cli_base import load_lenet
from minigrad.compression.demo import evaluation_loader
from minigrad.compression.distill_scan import Scan
from minigrad.compression.distill_study import Lesson, Study, Training, as_table, picture, train
from minigrad.compression.distillation import DistillationLoss, distill, soft_targets, teacher_logits
from minigrad.compression.distillation.analysis import confusion_matrix
from minigrad.compression.models import LeNet, trained_lenet
from minigrad.compression.report import t_interval, wilson_interval
from minigrad.compression.repro.common import images
from minigrad.compression.soft_target_study import choose_digits
from minigrad.datasets import mnist, split_validation
from minigrad.loader import DataLoader
from minigrad.nn import CrossEntropyLoss
from minigrad.optim import Adam, CosineAnnealingLR
from minigrad.transforms import Jitter

SMALL = Training((2, 3, 8, 8), epochs=2, lr=0.01, batch_size=32, jitter=1, images=160)
STUDY = Study(2, 2, Training(epochs=1, images=160), SMALL, temperature=3.0, alpha=0.8, lr=0.02, seconds=0.01)


def carry_out(folder, data, given=(), say=lambda line: None):
    """Return the report on STUDY."""
    paths = given or distill_study.teachers(STUDY, folder, data, say)
    return distill_study.experiment(STUDY, paths, bool(given)).run(2, True, folder, data, say)


@pytest.fixture(scope="module")
def found(small_data, tmp_path_factory):
    """The report, the folder of the runs, and what was said."""
    said, folder = [], tmp_path_factory.mktemp("runs")
    return carry_out(folder, small_data, say=said.append), folder, said


def row(report, name):
    (found,) = [r for r in report["rows"] if r["name"] == name]
    return found


def test_students_of_a_seed_differ_in_the_loss_and_the_rate_only(small_training):
    model = train(SMALL, 3, small_training)
    few = small_training.subset(slice(160))
    expected = []
    for taught in (False, True):
        minigrad.manual_seed(3)
        student = LeNet(widths=(2, 3, 8, 8))
        loader = DataLoader(few.images, few.labels, 32, shuffle=True, seed=3, transform=Jitter(1))
        optimizer = Adam(student.parameters(), lr=0.02 if taught else 0.01)
        each_step = {"schedule": CosineAnnealingLR(optimizer, 10), "schedule_each": "step"}
        if taught:
            distill(student, [trained_lenet()], loader, DistillationLoss(3.0, 0.8), optimizer, 2, **each_step)
        else:
            minigrad.fit(student, loader, CrossEntropyLoss(), optimizer, 2, **each_step)
        expected.append(student.state_dict())
    lesson = Lesson((2, 3, 8, 8), 2, 0.02, 32, 1, 160, temperature=3.0, alpha=0.8)
    taught_model = train(lesson, 3, small_training, [trained_lenet()])
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, expected[0][name])
        np.testing.assert_array_equal(taught_model.state_dict()[name], expected[1][name])


def test_the_lesson_is_the_training_alone_and_the_teachers(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        minigrad.save_checkpoint(path, LeNet())
    plans = distill_study.plans_of(STUDY, paths)
    assert list(plans) == ["alone", "distilled"]
    assert plans["alone"] == SMALL
    lesson = plans["distilled"]
    assert replace(lesson, lr=SMALL.lr) == Lesson(
        *(getattr(SMALL, name) for name in ("widths", "epochs", "lr", "batch_size", "jitter", "images")),
        temperature=3.0,
        alpha=0.8,
        teachers=(str(tmp_path / "a"), str(tmp_path / "b")),
        checksums=lesson.checksums,
    )
    assert lesson.lr == 0.02
    assert len(set(lesson.checksums)) == 2


def test_accuracies_are_those_of_the_checkpoints(found, small_test, small_data):
    report, folder, _ = found
    batches = evaluation_loader(small_test)
    for name in ("teacher", "alone", "distilled"):
        models = [load_lenet(folder / f"{name}-seed-{seed}.safetensors")[0] for seed in range(2)]
        values = [minigrad.evaluate(model, batches) for model in models]
        assert row(report, name)["accuracy"]["values"] == pytest.approx(values)
        assert row(report, name)["accuracy"]["interval"] == pytest.approx(list(t_interval(values)))
        matrix = confusion_matrix(small_test.labels, teacher_logits(models[0], small_test).argmax(axis=1))
        assert report["confusion"][name] == matrix.tolist()
        if name == "teacher":
            together = soft_targets(teacher_logits(models, small_test)).argmax(axis=1)
            right = int((together == small_test.labels).sum())
        else:
            held_out = evaluation_loader(images(small_data)[1])
            assert report["held-out accuracy"][name] == pytest.approx([minigrad.evaluate(m, held_out) for m in models])
    assert row(report, "ensemble")["accuracy"]["values"] == pytest.approx([100 * right / 600])
    assert row(report, "ensemble")["accuracy"]["interval"] == pytest.approx(list(wilson_interval(right, 600)))


def test_the_gain_is_paired_by_seed(found):
    report = found[0]
    alone, distilled = (row(report, name)["accuracy"]["values"] for name in ("alone", "distilled"))
    differences = [d - a for d, a in zip(distilled, alone, strict=True)]
    assert report["gain"]["values"] == pytest.approx(differences)
    assert report["gain"]["mean"] == pytest.approx(np.mean(differences))
    assert report["gain"]["interval"] == pytest.approx(list(t_interval(differences)))


def test_sizes_of_what_answers_together(found):
    report = found[0]
    sizes = {r["name"]: (r["parameters"], r["macs"], r["bytes"]) for r in report["rows"]}
    assert sizes["teacher"] == (44_426, 281_640, 176_760)
    assert sizes["ensemble"] == (2 * 44_426, 2 * 281_640, 2 * 176_760)
    small = LeNet(widths=(2, 3, 8, 8))
    cost = minigrad.summary(small, (1, 1, 28, 28))
    weights = 4 * sum(p.size for p in small.parameters() if p.ndim > 1)
    assert sizes["alone"] == sizes["distilled"] == (cost.parameters, cost.macs, weights)


def test_the_default_student_has_at_most_a_tenth_of_the_parameters():
    for widths in (Study().alone.widths, distill_study.QUICK.alone.widths, distill_scan.Scan().student.widths):
        assert sum(p.size for p in LeNet(widths=widths).parameters()) <= 4_442


def test_times_belong_to_their_networks(monkeypatch, small_test):
    calls = []

    class Counting(LeNet):
        def forward(self, x):
            calls.append(len(x))
            return super().forward(x)

    def race(team, seconds):
        times = {}
        for name, run in team.items():
            calls.clear()
            run(1)
            times[name] = np.array([0.001 * sum(calls)])
        return type("Race", (), {"seconds": times})

    monkeypatch.setattr(distill_study, "race", race)
    networks = {"teacher": [Counting()], "ensemble": [Counting(), Counting()], "alone": [Counting()], "distilled": []}
    found = distill_study._milliseconds(STUDY, networks, small_test.images[:5])
    assert found == pytest.approx({"teacher": 5, "ensemble": 10, "alone": 5, "distilled": 5})


def test_what_is_done_is_not_done_again_and_what_lacks_its_checkpoint_is(found, small_data):
    report, folder, said = found
    assert not any("already" in line for line in said)
    again = []
    assert carry_out(folder, small_data, say=again.append)["gain"] == report["gain"]
    assert [line.split(":")[0] for line in again] == ["2 of 2 runs are there already", "4 of 4 runs are there already"]
    (folder / "alone-seed-1.safetensors").unlink()
    once_more = []
    assert carry_out(folder, small_data, say=once_more.append)["gain"] == report["gain"]
    assert [line.split(":")[0] for line in once_more[1:]] == ["3 of 4 runs are there already", "alone, seed 1"]
    assert (folder / "alone-seed-1.safetensors").exists()


def test_a_single_teacher_is_no_ensemble(found, small_data):
    _, folder, _ = found
    report = carry_out(folder / "one", small_data, given=[folder / "teacher-seed-1.safetensors"])
    assert [r["name"] for r in report["rows"]] == ["teacher", "alone", "distilled"]
    assert report["rows"][0]["accuracy"]["values"] == row(found[0], "teacher")["accuracy"]["values"][1:]
    assert report["teachers"] == [str(folder / "teacher-seed-1.safetensors")]
    assert "student, distilled" in as_table(report)


def test_a_run_that_fails_is_told(small_data, tmp_path):
    study = replace(STUDY, teacher=replace(STUDY.teacher, lr=1e30))
    with pytest.raises(RuntimeError, match=r"^teacher, seed 0: NonFiniteLossError: training stopped"):
        distill_study.teachers(study, tmp_path, small_data, lambda line: None)


def test_the_table_and_the_picture(found, tmp_path):
    report = found[0]
    lines = as_table(report).splitlines()
    assert [line.split("  ")[0] for line in lines[2:6]] == list(distill_study.NAMES.values())
    assert f"{row(report, 'distilled')['accuracy']['mean']:.2f}" in lines[5]
    assert f"mean {report['gain']['mean']:+.2f} points" in lines[-1]
    titles = [ax.get_title() for ax in picture(report).axes[:3]]
    errors = [
        np.sum(m) - np.trace(m) for m in (report["confusion"][name] for name in ("teacher", "alone", "distilled"))
    ]
    names = ("teacher", "student alone", "student, distilled")
    assert titles == [f"{name}: {count:,} errors in 600" for name, count in zip(names, errors, strict=True)]
    assert distill_study.write(tmp_path, report) == ["distill.json", "distill_confusions.png"]
    assert json.loads((tmp_path / "distill.json").read_text())["gain"]["mean"] == report["gain"]["mean"]


@pytest.fixture(scope="module")
def scanned(small_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    minigrad.manual_seed(0)
    teacher = folder / "teacher.safetensors"
    minigrad.save_checkpoint(teacher, trained_lenet())
    scan = Scan(2, (1.0, 5.0), (0.5, 1.0), replace(SMALL, jitter=0), temperature=4.0, sizes=(40, 80), jitters=(1,))
    return scan, distill_scan.experiment(scan, teacher).run(2, False, folder, small_data), teacher


def test_each_setting_is_held_against_the_student_alone(scanned, small_data):
    scan, report, *_ = scanned
    training, held_out, _ = images(small_data, 160)
    check = evaluation_loader(held_out)
    alone = minigrad.evaluate(train(scan.student, 1, training), check)
    lesson = Lesson(scan.student.widths, 2, 0.01, 32, 0, 160, temperature=5.0, alpha=0.5)
    taught = minigrad.evaluate(train(lesson, 1, training, trained_lenet()), check)
    assert (report["seeds"], report["quick"]) == ([0, 1], False)
    assert report["alone"][1] == pytest.approx(alone)
    assert report["gain"]["T=5 α=0.5"][1] == pytest.approx(taught - alone)
    expected = [[np.mean(report["gain"][f"T={t} α={a}"]) for t in (1, 5)] for a in (0.5, 1)]
    np.testing.assert_allclose(distill_scan.gains(report), expected)


def test_students_of_fewer_images_make_as_many_steps(scanned):
    scan, _, teacher = scanned
    plans = distill_scan.plans_of(scan, teacher)
    assert {name: (plan.images, plan.epochs) for name, plan in plans.items() if name[0] in "48"} == {
        "40 hard": (40, 8), "40 soft": (40, 8), "80 hard": (80, 4), "80 soft": (80, 4),
    }  # fmt: skip
    assert plans["40 soft"].temperature == 4.0


def test_the_gap_is_training_minus_held_out_accuracy(scanned, small_data):
    scan, report, *_ = scanned
    training, held_out, _ = images(small_data, 80)
    model = train(replace(scan.student, images=80, epochs=4), 0, training)
    gap = minigrad.evaluate(model, evaluation_loader(training)) - minigrad.evaluate(model, evaluation_loader(held_out))
    assert report["gap"]["hard"][1][0] == pytest.approx(gap)
    lesson = Lesson(scan.student.widths, 4, 0.01, 32, 0, 80, temperature=4.0, alpha=0.9)
    taught = train(lesson, 0, training, trained_lenet())
    found = report["variants"]["80"]
    assert found["hard"][0] == pytest.approx(minigrad.evaluate(model, evaluation_loader(held_out)))
    assert found["soft"][0] == pytest.approx(minigrad.evaluate(taught, evaluation_loader(held_out)))


def test_jitter_is_for_both_kinds_of_students(scanned, small_data):
    scan, report, teacher = scanned
    plans = distill_scan.plans_of(scan, teacher)
    for kind, usual in (("hard", "alone"), ("soft", "T=5 α=0.5")):
        plain, moved = plans[usual], plans[f"jitter 1 {kind}"]
        assert (plain.jitter, moved.jitter) == (0, 1)
        assert (moved.images, moved.epochs, moved.lr) == (plain.images, plain.epochs, plain.lr)
    training, held_out, _ = images(small_data)
    taught = minigrad.evaluate(train(plans["jitter 1 soft"], 1, training, trained_lenet()), evaluation_loader(held_out))
    assert report["variants"]["jitter 1"]["soft"][1] == pytest.approx(taught)


def test_mistakes_are_counted_on_what_the_teacher_gets_wrong(scanned, small_data):
    report = scanned[1]
    held_out = images(small_data)[1]
    wrong = int((teacher_logits(trained_lenet(), held_out).argmax(axis=1) != held_out.labels).sum())
    found = report["mistakes"]
    assert found["alphas"] == [0.0, 0.5, 1.0]
    assert (np.array(found["repeated"]) + found["other"] + found["right"] == 2 * wrong).all()


def test_the_scans_table_and_pictures(scanned, tmp_path):
    _, report, *_ = scanned
    lines = distill_scan.as_table(report).splitlines()
    assert lines[2].split("  ")[0] == "mean gain (points), T ="
    assert f"{distill_scan.gains(report)[1, 0]:+.2f}" in lines[5]
    hard, soft = (np.mean(report["variants"]["jitter 1"][kind]) for kind in ("hard", "soft"))
    assert lines[-1].split() == ["jitter", "1", "pixels", f"{hard:.2f}", f"{soft:.2f}", f"{soft - hard:+.2f}"]
    assert lines[-2].startswith("80 training images")
    assert distill_scan.write(tmp_path, report)[1:] == ["distill_gain.png", "distill_mistakes.png", "distill_gap.png"]
    drawn = distill_scan.pictures(report)
    assert drawn["distill_gap"].axes[0].get_legend_handles_labels()[1] == [
        "hard targets", "soft targets, T = 4, α = 0.9",
    ]  # fmt: skip
    assert drawn["distill_mistakes"].get_suptitle() == "held-out images, 2 seeds together, T = 5"
    assert drawn["distill_gain"].get_suptitle() == "160 training images, held-out accuracy, mean of 2 seeds"


def test_a_scan_that_fails_is_told(scanned, small_data, tmp_path):
    scan, _, teacher = scanned
    scan = replace(scan, student=replace(scan.student, lr=1e30))
    with pytest.raises(RuntimeError, match=r"^alone, seed 0: NonFiniteLossError"):
        distill_scan.experiment(scan, teacher).run(2, True, tmp_path, small_data)


def test_digits_that_look_like_others_are_chosen():
    z = np.zeros((7, 4))
    z[:, 2], z[0, 3], z[1, 3], z[2, 1], z[4, 3] = 9, 6.5, 2, 5, 6
    z[3, 2], z[3, 0] = 4, 7  # read as a 0
    z[6, 3], z[6, 0] = 6, 5.5  # looks like a 0 as well
    labels = np.array([2, 2, 2, 2, 1, 2, 2])
    assert choose_digits(z, labels, digit=2, others=(3, 1, 0), lead=3) == [0, 2, 5]
    with pytest.raises(ValueError, match=r"the teacher reads none of the 7 images as the 3 that it is"):
        choose_digits(z, labels, digit=3, others=(1,), lead=3)


def test_the_soft_targets_of_real_digits():
    training, held_out = split_validation(mnist("train").subset(slice(3_000)), count=1_000)
    study, said = soft_target_study.Study(temperatures=13, images=600), []
    report, figures = soft_target_study.run(study, trained_lenet(), training, held_out, said.append)
    curves, temperatures = report["curves"], np.array(report["temperatures"])
    assert len(said) == 2
    assert temperatures[[0, -1]] == pytest.approx([0.25, 100])
    assert (np.diff(curves["entropy"]) > 0).all()
    assert curves["cosine to logit matching"][-1] > 0.99
    np.testing.assert_allclose(np.array(curves["soft gradient"]) * temperatures**2, curves["soft gradient times T²"])
    assert curves["share below the mean"][-1] > 1.3 * curves["share below the mean"][0]
    assert curves["change by noise, lowest 3 of 10"][-1] > curves["change by noise, lowest 3 of 10"][2]
    assert [np.argsort(image["logits"])[-1] for image in report["digits"]] == [2, 2, 2]
    assert list(figures) == [
        "soft_targets", "temperature_entropy", "gradient_terms", "gradient_cosine", "negative_share", "noise_effect",
        "temperature_explorer",
    ]  # fmt: skip
    lines = soft_target_study.as_table(report).splitlines()
    assert lines[0].split()[-6:] == ["0.5", "1", "2", "4", "20", "100"]
    assert lines[2].split()[-1] == f"{curves['entropy'][-1]:.3g}"
