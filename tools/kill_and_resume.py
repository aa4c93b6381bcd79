"""Kill a training run at random points, resume it each time, and compare its end with that of a run left alone.

The run saves after every step, so that many kills hit it while it writes. All that it saved in the end (weights, what
the optimizer keeps, random state, losses) must be the same bytes.
"""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

import minigrad
from minigrad import nn, optim

EPOCHS, IMAGES, BATCH = 8, 240, 16
STEPS = EPOCHS * -(-IMAGES // BATCH)
FILE = "run.safetensors"
GRACE = 10
"""Steps that a run takes at most from the one it is to be killed after: it must not end while the killer is kept waiting."""


def run(folder: Path, halt: int) -> None:
    """Train a small network on synthetic images, from where the file in `folder` stands, up to step number `halt`.

    Prints the number of each step.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, IMAGES)
    patterns = rng.normal(size=(4, 1, 12, 12))
    images = (patterns[labels] + rng.normal(size=(IMAGES, 1, 12, 12))).astype(np.float32)
    minigrad.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(200, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 4),
    )  # fmt: skip
    loader = minigrad.DataLoader(images, labels, BATCH, shuffle=True, seed=1)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = optim.OneCycleLR(optimizer, 0.05, STEPS)

    def say_step(model: nn.Module) -> None:
        print(schedule.count + 1, flush=True)
        if schedule.count + 1 >= halt:
            time.sleep(60)

    minigrad.fit(
        model, loader, nn.CrossEntropyLoss(), optimizer, EPOCHS, schedule, schedule_each="step",
        checkpoint=folder / FILE, every=1, after_step=say_step,
    )  # fmt: skip


def start(folder: Path, halt: int) -> "subprocess.Popen[str]":
    """Start the run in a process of its own."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, __file__, "--run", str(folder), "--halt", str(halt)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(folder: Path) -> bytes:
    """Let the run come to its end; return all that it saved."""
    process = start(folder, halt=STEPS + 1)
    process.communicate()
    if process.returncode:
        raise click.ClickException(f"the run failed with exit code {process.returncode}")
    return (folder / FILE).read_bytes()


def kill_at(step: int, seconds: float, folder: Path) -> int:
    """Start the run, kill it some seconds after it has done a step; return the number of its last step."""
    done = 0
    with start(folder, halt=step + GRACE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            done = int(line)
            if done >= step:
                break
        time.sleep(seconds)
        process.kill()
        rest = process.stdout.read().split()
    if process.returncode != -signal.SIGKILL:
        raise click.ClickException(f"the run failed with exit code {process.returncode}")
    return int(rest[-1]) if rest else done


@click.command()
@click.option("--points", default=20, show_default=True, help="How often to kill the run.")
@click.option("--seed", default=0, show_default=True, help="Of the points.")
@click.option("--run", "folder", type=click.Path(path_type=Path), hidden=True)
@click.option("--halt", default=STEPS + 1, hidden=True)
def main(points: int, seed: int, folder: Path | None, halt: int) -> None:
    """Kill a training run at random points and compare its end with that of a run left alone."""
    if folder is not None:
        run(folder, halt)
        return
    draw, while_writing = random.Random(seed), 0
    with TemporaryDirectory() as temporary:
        straight, killed = Path(temporary) / "straight", Path(temporary) / "killed"
        expected = finish(straight)
        for step in sorted(draw.randint(1, STEPS - GRACE - 1) for _ in range(points)):
            last = kill_at(step, draw.uniform(0, 0.008), killed)
            writing = len(list(killed.iterdir())) > killed.joinpath(FILE).exists()
            while_writing += writing
            print(f"killed after step {last:3} of {STEPS}" + (", while it wrote a checkpoint" if writing else ""))
        found = finish(killed)
        litter = sorted(path.name for path in killed.iterdir() if path.name != FILE)
    if found != expected or litter:
        raise click.ClickException(f"the ends differ, or files were left behind: {litter}")
    print(
        f"{points} kills, {while_writing} of them while writing: resumed to the same {len(expected):,} bytes each time"
    )


if __name__ == "__main__":
    main()
