"""Runs that are kept as they finish, and figures beside the paper's."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from minigrad.compression.repro import Job, Reproduction, Row, reproduce, run_jobs
from minigrad.compression.repro.common import images
from minigrad.compression.sweep import stored


@dataclass(frozen=True)
class Settings:
    factor: float = 2.0
    layers: tuple[str, ...] = ("a", "b")


class Work:
    """Multiplies; counts its calls; fails or is interrupted where asked to."""

    def __init__(self, fail=(), interrupt=()):
        self.done, self.fail, self.interrupt = [], fail, interrupt

    def __call__(self, job):
        if job.name in self.interrupt:
            raise KeyboardInterrupt
        if job.name in self.fail:
            raise ArithmeticError("the loss is nan")
        self.done.append(job.name)
        return {"value": job.settings.factor * (job.seed + 1)}


def made(work, factor=2.0):
    return Reproduction(
        name="toy",
        paper="A toy",
        settings={"one": Settings(factor), "two": Settings(10)},
        quick={"one": Settings(1)},
        seeds=2,
        work=work,
        rows=lambda runs: [
            Row(part, "value", [run["results"]["value"] for run in finished], paper=3.0, at_most=4)
            for part, finished in runs.items()
        ],
        deviations=("it is a toy",),
    )


def without_seconds(report):
    return report | {"runs": [{k: v for k, v in run.items() if k != "seconds"} for run in report["runs"]]}


def test_jobs_are_listed_seed_by_seed(tmp_path):
    toy = made(Work())
    assert [job.name for job in toy.jobs(2, False, tmp_path)] == [
        "one-seed-0",
        "two-seed-0",
        "one-seed-1",
        "two-seed-1",
    ]
    assert [(job.name, job.settings.factor) for job in toy.jobs(1, True, tmp_path)] == [("one-seed-0", 1)]


def test_the_report_sets_means_beside_the_papers_number(tmp_path):
    toy = made(Work())
    report = reproduce(toy, toy.jobs(2, False, tmp_path))
    one, two = report["rows"]
    assert one["values"] == [2.0, 4.0]
    assert one["mean"] == 3.0
    assert one["std"] == pytest.approx(2**0.5)
    assert one["interval"] == pytest.approx([3 - 12.7062, 3 + 12.7062], abs=1e-4)
    assert (one["paper"], one["met"], two["met"]) == (3.0, True, False)
    assert report["settings"]["one"] == {"factor": 2.0, "layers": ["a", "b"]}
    assert report["deviations"] == ["it is a toy"]
    assert report["seeds"] == [0, 1]
    assert {"numpy", "numba", "minigrad", "python"} <= report["runs"][0]["versions"].keys()
    json.dumps(report)


@pytest.mark.parametrize("executor", [None, "threads"])
def test_an_interrupted_reproduction_goes_on_with_what_is_missing(executor, tmp_path):
    whole = made(Work())
    expected = reproduce(whole, whole.jobs(3, False, tmp_path / "whole"))
    broken = made(Work(interrupt=["one-seed-1"]))
    with pytest.raises(KeyboardInterrupt):
        reproduce(broken, broken.jobs(3, False, tmp_path / "runs"))
    assert broken.work.done == ["one-seed-0", "two-seed-0"]
    again, said = made(Work()), []
    jobs = again.jobs(3, False, tmp_path / "runs")
    if executor is None:
        report = reproduce(again, jobs, say=said.append)
    else:
        with ThreadPoolExecutor(2) as pool:
            report = reproduce(again, jobs, pool, said.append)
    assert sorted(again.work.done) == ["one-seed-1", "one-seed-2", "two-seed-1", "two-seed-2"]
    assert without_seconds(report) == without_seconds(expected)
    assert said[0] == "2 of 6 runs are there already: one-seed-0, two-seed-0"


@pytest.mark.parametrize("threads", [False, True])
def test_a_failure_is_reported_and_costs_no_other_run(threads, tmp_path):
    toy = made(Work(fail=["one-seed-0"]))
    jobs = toy.jobs(2, False, tmp_path)
    if threads:
        with ThreadPoolExecutor(2) as pool:
            report = reproduce(toy, jobs, pool)
    else:
        report = reproduce(toy, jobs)
    assert report["failed"] == [{"part": "one", "seed": 0, "error": "ArithmeticError: the loss is nan"}]
    assert [(run["part"], run["seed"]) for run in report["runs"]] == [("two", 0), ("one", 1), ("two", 1)]
    assert report["rows"][0]["values"] == [4.0]
    assert report["rows"][0]["interval"] is None
    toy.work.fail = ()
    assert reproduce(toy, jobs)["failed"] == []


def test_where_all_runs_of_a_part_failed_it_has_no_rows(tmp_path):
    toy = made(Work(fail=["one-seed-0"]))
    assert [row["part"] for row in reproduce(toy, toy.jobs(1, False, tmp_path))["rows"]] == ["two"]


@pytest.mark.parametrize("fail", [(), ("one-seed-0",)])
def test_a_run_waits_for_the_one_it_needs_whatever_runs_it(fail, tmp_path):
    work = Work(fail=fail)
    begun, finished = [], []

    def slow(job):
        begun.append((job.name, job.needs in finished))
        time.sleep(0.05)
        try:
            return work(job)
        finally:
            finished.append(job.name)

    toy = replace(made(slow), settings={"two": Settings(10), "one": Settings()}, needs={"two": "one"})
    with ThreadPoolExecutor(4) as pool:
        report = reproduce(toy, toy.jobs(2, False, tmp_path), pool)
    assert dict(begun) == {"one-seed-0": False, "one-seed-1": False, "two-seed-0": True, "two-seed-1": True}
    assert [failure["part"] for failure in report["failed"]] == ["one"] * len(fail)
    begun.clear()
    again = toy.jobs(3, False, tmp_path)  # what is stored already need not be waited for
    with ThreadPoolExecutor(4) as pool:
        reproduce(toy, [job for job in again if job.seed != 0], pool)
    assert dict(begun) == {"one-seed-2": False, "two-seed-2": True}


def test_results_of_other_settings_or_data_and_damaged_ones_are_not_taken(tmp_path):
    job = Job("one", 0, Settings(), tmp_path)
    run_jobs(Work(), [job])
    assert stored(job)["results"] == {"value": 2.0}
    assert stored(Job("one", 0, Settings(factor=3.0), tmp_path)) is None
    assert stored(Job("one", 0, Settings(), tmp_path, data=tmp_path)) is None
    for damage in ("", "{", "[]", "{}", '{"part": "one"}'):
        job.file.write_text(damage)
        assert stored(job) is None
    work = Work()
    run_jobs(work, [job])
    assert work.done == ["one-seed-0"]
    assert stored(job) is not None


def test_what_the_mean_reaches_and_what_the_whole_interval_does():
    def met(values, **target):
        return Row("p", "f", values, **target).as_json()["met"]

    assert met([1.0, 2.0]) is None
    assert met([1.0, 2.0], at_least=1.5) is True
    assert met([1.0, 2.0], at_least=1.6) is False
    assert met([1.0, 2.0], at_most=1.4) is False
    assert met([1.0, 1.1, 0.9], at_least=0, surely=True) is True
    assert met([1.0, 2.0], at_least=0, surely=True) is False  # the interval reaches down to -4.9
    assert met([-1.0, -1.1, -0.9], at_most=0, surely=True) is True
    assert met([1.0], at_least=0, surely=True) is False  # one seed makes nothing sure


def test_a_twelfth_of_the_training_images_is_held_out(small_data):
    training, held_out, test = images(small_data)
    assert (len(training), len(held_out), len(test)) == (2_200, 200, 600)
    assert len(images(small_data, limit=100)[0]) == 100
