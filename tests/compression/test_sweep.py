"""Sweeps of many runs: failures are tried again, workers that die cost nothing else."""

import os
import signal
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from minigrad.compression.executors import Processes
from minigrad.compression.sweep import Experiment, Job, do, run_all, run_jobs, stored


@dataclass(frozen=True)
class Settings:
    folder: str = ""


class Work:
    """Squares the seed; fails as often as it is told to, by name."""

    def __init__(self, **failures):
        self.failures, self.calls = failures, []

    def __call__(self, job):
        self.calls.append(job.name)
        if self.calls.count(job.name) <= self.failures.get(job.part, 0):
            raise ArithmeticError("the loss is nan")
        return {"value": job.seed**2}


def jobs(folder, *parts, seeds=2):
    return [Job(part, seed, Settings(), folder) for seed in range(seeds) for part in parts]


def values(runs):
    return {(run["part"], run["seed"]): run["results"]["value"] for run in runs}


EXPECTED = {("a", 0): 0, ("b", 0): 0, ("a", 1): 1, ("b", 1): 1}


@pytest.mark.parametrize("threads", [False, True])
def test_what_failed_is_tried_once_more(threads, tmp_path):
    work, said = Work(a=1), []
    with ThreadPoolExecutor(2) as pool:
        runs, failures = run_jobs(work, jobs(tmp_path, "a", "b"), pool if threads else None, said.append)
    assert (values(runs), failures) == (EXPECTED, [])
    assert sorted(work.calls) == ["a-seed-0"] * 2 + ["a-seed-1"] * 2 + ["b-seed-0", "b-seed-1"]
    assert said.count("a, seed 0: failed (ArithmeticError: the loss is nan); once more") == 1
    assert len(said) == 6


@pytest.mark.parametrize("threads", [False, True])
def test_what_fails_again_is_told_and_the_others_are_done(threads, tmp_path):
    work, said = Work(a=9), []
    with ThreadPoolExecutor(2) as pool:
        runs, failures = run_jobs(work, jobs(tmp_path, "a", "b"), pool if threads else None, said.append)
    assert values(runs) == {("b", 0): 0, ("b", 1): 1}
    told = {(f["part"], f["seed"]): f["error"] for f in failures}
    assert told == {("a", seed): "ArithmeticError: the loss is nan" for seed in (0, 1)}
    assert said.count("a, seed 1: failed (ArithmeticError: the loss is nan)") == 1
    assert work.calls.count("a-seed-0") == 2
    assert run_jobs(work, jobs(tmp_path, "a"), retries=0)[1][0]["seed"] == 0
    assert work.calls.count("a-seed-0") == 3


def test_figures_that_need_every_run_are_refused_without(tmp_path):
    with pytest.raises(RuntimeError, match=r"^a, seed 0: ArithmeticError: the loss is nan; a, seed 1: Arithmetic"):
        run_all(Work(a=9), jobs(tmp_path, "a", "b"))
    assert values(run_all(Work(), jobs(tmp_path, "a", "b"))) == EXPECTED


def test_a_run_that_is_stored_is_not_done_again(tmp_path):
    (job,) = jobs(tmp_path, "a", seeds=1)
    work = Work()
    first = do(work, job)
    assert do(work, job) == first == stored(job)
    assert work.calls == ["a-seed-0"]


def beside(job):
    return [job.folder / f"{job.name}-{half}.txt" for half in ("left", "right")]


def test_a_result_without_its_files_is_done_again(tmp_path):
    plain, job = (Job("a", 3, Settings(), tmp_path, leaves=leaves) for leaves in (None, beside))
    assert (list(plain.files), plain.identity()) == ([], job.identity())
    calls = []

    def work(job):
        calls.append(job.name)
        for file in job.files:
            file.touch()
        return {"value": 9}

    first = do(work, job)
    assert do(work, job) == first == stored(job) == stored(plain)
    (tmp_path / "a-seed-3-right.txt").unlink()
    assert stored(job) is None
    assert stored(plain) == first
    said = []
    run_jobs(work, [job], say=said.append)
    assert len(said) == 1
    assert "1 of 1" in said[0]
    assert len(calls) == 2
    assert stored(job) is not None


def test_an_experiment_reports_on_every_part_and_seed(tmp_path):
    work = Work()
    study = Experiment(
        {"b": Settings("full"), "a": Settings()}, {"b": Settings("quick")}, work,
        report=lambda sweep: {
            "jobs": [(job.name, run["seed"]) for job, run in zip(sweep.jobs, sweep.runs, strict=True)],
            "of b": sweep.results("b"), "settings": sweep.settings, "seeds": sweep.seeds, "quick": sweep.quick,
            "files": [len(job.files) for job in sweep.jobs], "data": sweep.data,
        },
        as_table=str, write=lambda folder, report: [], leaves=lambda job: [tmp_path],
    )  # fmt: skip
    said = []
    assert study.run(3, False, tmp_path, tmp_path / "images", said.append) == {
        "jobs": [(f"{part}-seed-{seed}", seed) for seed in range(3) for part in "ba"],
        "of b": [{"value": 0}, {"value": 1}, {"value": 4}], "settings": study.settings, "seeds": [0, 1, 2],
        "quick": False, "files": [1] * 6, "data": tmp_path / "images",
    }  # fmt: skip
    assert len(said) == 6
    quick = study.run(1, True, tmp_path)
    assert (quick["jobs"], quick["settings"], quick["quick"]) == ([("b-seed-0", 0)], study.quick, True)
    assert work.calls.count("b-seed-0") == 2
    with pytest.raises(RuntimeError, match=r"^a, seed 0: ArithmeticError: the loss is nan$"):
        replace(study, work=Work(a=9), quick=study.settings).run(1, True, tmp_path / "other")


def test_a_result_from_elsewhere_is_stored_here(tmp_path):
    class Elsewhere(ThreadPoolExecutor):
        """Its folders are not ours."""

        def submit(self, fn, work, job, threads):
            def run():
                result = fn(work, job, threads)
                job.file.unlink()
                return result

            return super().submit(run)

    work = Work()
    with Elsewhere(1) as far:
        runs, _ = run_jobs(work, jobs(tmp_path, "a"), far)
    assert [stored(job) for job in jobs(tmp_path, "a")] == runs
    assert run_jobs(work, jobs(tmp_path, "a"))[0] == runs
    assert len(work.calls) == 2


def dies(job):
    """Kill its process: always for part "poison", the first time for part "unlucky", and for "late" when a is stored."""
    mark = job.folder / f"{job.name}.died"
    if job.part == "poison" or (job.part in ("unlucky", "late") and not mark.exists()):
        while job.part == "late" and not (job.folder / "a-seed-0.json").exists():
            time.sleep(0.01)  # a pool that breaks ends the others too: a could have been called and not stored yet
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    with (job.folder / "calls").open("a") as file:
        file.write(f"{job.name}\n")
    return {"value": job.seed**2}


def test_a_process_that_dies_costs_no_other_run(tmp_path):
    said, listed = [], jobs(tmp_path, "a", "late", "poison", "b", seeds=1)
    with Processes(2) as pool:
        runs, failures = run_jobs(dies, listed, pool, said.append)
    assert values(runs) == {(part, 0): 0 for part in ("a", "late", "b")}
    error = "its process ended, as if killed, perhaps for want of memory"
    assert failures == [{"part": "poison", "seed": 0, "error": error}]
    calls = (tmp_path / "calls").read_text().split()
    assert sorted(calls) == sorted({job.name for job in listed if job.part != "poison"})  # none twice


def test_after_a_process_died_those_that_ran_go_on_one_at_a_time(tmp_path):
    events = []

    class Breaks(Executor):
        at_once = 2

        def submit(self, fn, work, job, threads):
            events.append(f"begin {job.part}")
            future = Future()
            if len(events) <= 2:
                future.set_exception(BrokenExecutor("one of the two"))
            else:
                future.set_result(fn(work, job, threads))
            return future

    runs, failures = run_jobs(Work(), jobs(tmp_path, "a", "b", seeds=1), Breaks(), lambda line: events.append(line[:9]))
    assert (values(runs), failures) == ({("a", 0): 0, ("b", 0): 0}, [])
    begun, gone_on = events[:2], events[2:]
    assert begun == ["begin a", "begin b"]
    assert sorted(gone_on[:2]) in (["a, seed 0", "begin a"], ["b, seed 0", "begin b"])
    assert len(gone_on) == 4


def test_a_run_waits_for_one_whose_process_died(tmp_path):
    first = Job("unlucky", 0, Settings(), tmp_path)
    second = Job("a", 1, Settings(), tmp_path, needs=first.name)
    with Processes(1) as pool:
        runs, failures = run_jobs(dies, [second, first], pool)
    assert failures == []
    assert (tmp_path / "calls").read_text().split() == ["unlucky-seed-0", "a-seed-1"]
    assert [run["part"] for run in runs] == ["a", "unlucky"]
