"""Kill one process of a data-parallel training in mid-epoch, run the same command again, and compare its end, byte by byte.

Each time the job must end by itself within seconds, with an exit code and a sentence, and leave no process behind.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from minigrad.checkpoint import read_checkpoint
from minigrad.compression.cli_parallel import run_file

SECONDS = 10
"""Within which a job must end after one of its processes was killed."""


def start(out: Path, workers: int, compress: str) -> tuple["subprocess.Popen[str]", list[int]]:
    """Start a training of one epoch; return it and the ids of its processes, which it says first."""
    words = ["train", "--data-parallel", "--workers", str(workers), "--compress", compress]
    words += ["--epochs", "1", "--batch-size", "512", "--every", "5", "--out", str(out)]
    command = [sys.executable, "-m", "minigrad.compression.cli", *words]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert job.stdout is not None
    line = job.stdout.readline()
    if "ids" not in line:
        raise click.ClickException(f"the training did not start: {line}{job.communicate()[1]}")
    return job, [int(word) for word in line.partition("ids")[2].split(",")]


def finish(out: Path, workers: int, compress: str) -> tuple[bytes, float]:
    """Let the training come to its end; return what it wrote, and the seconds that it trained."""
    job, _ = start(out, workers, compress)
    begin = time.perf_counter()
    _, errors = job.communicate()
    seconds = time.perf_counter() - begin
    if job.returncode or run_file(out).exists():
        raise click.ClickException(f"the run failed with exit code {job.returncode}, or left its file behind: {errors}")
    return out.read_bytes(), seconds


def kill_one(out: Path, workers: int, compress: str, rank: int, seconds: float) -> str | None:
    """Start the training and kill one of its processes after so many seconds; return what happened, None if it was over."""
    job, ids = start(out, workers, compress)
    time.sleep(seconds)
    if job.poll() is not None or out.exists():
        job.communicate()
        out.unlink()
        return None
    os.kill(ids[rank], signal.SIGKILL)
    begin = time.perf_counter()
    _, errors = job.communicate(timeout=60)
    took = time.perf_counter() - begin
    while (left := [number for number in ids if Path(f"/proc/{number}").exists()]) and took < SECONDS:
        time.sleep(0.05)
        took = time.perf_counter() - begin
    told = "was killed (signal 9, SIGKILL)" in errors or "one was killed, or MPI failed" in errors
    if job.returncode != 1 or not told or took > SECONDS or left:
        raise click.ClickException(f"exit code {job.returncode} after {took:.1f} s, {left} still run, said: {errors}")
    file = run_file(out)
    step = read_checkpoint(file)[1]["training"]["position"]["step"] if file.exists() else 0
    return f"killed process {rank} after {seconds:4.1f} s; ended after {took:.2f} s, saved at step {step:3}"


@click.command()
@click.option("--points", default=10, show_default=True, help="How often to kill a process.")
@click.option("--workers", default=2, show_default=True, help="Processes that train together.")
@click.option("--compress", default="none", show_default=True, help="As for `minigrad train`.")
@click.option("--seed", default=0, show_default=True, help="Of who is killed, and when.")
def main(points: int, workers: int, compress: str, seed: int) -> None:
    """Kill one process of several in mid-epoch, again and again, and compare the ends of all runs."""
    draw, done = random.Random(seed), 0
    with TemporaryDirectory() as folder:
        expected, seconds = finish(Path(folder) / "straight.safetensors", workers, compress)
        out = Path(folder) / "killed.safetensors"
        while done < points:
            event = kill_one(out, workers, compress, draw.randrange(workers), draw.uniform(0, 0.9) * seconds)
            if event is None:
                continue
            if finish(out, workers, compress)[0] != expected:
                raise click.ClickException(f"{event}; went on to other bytes than a run left alone")
            out.unlink()
            done += 1
            print(f"{event}, went on to the same bytes", flush=True)
    print(f"{points} of {points} kills: went on to the same {len(expected):,} bytes as a run left alone")


if __name__ == "__main__":
    main()
