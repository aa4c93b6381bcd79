"""Commands about compressed gradients: `gradients` and `scaling` on many machines, `int8-backward` on one."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from minigrad import kernels
from minigrad.loader import DataLoader

from . import gradient_study, int8_backward_study
from .cli_base import carry_out, data_option, load_images, make_folder, seeds_option, sweep_options
from .gradients import METHODS
from .gradients.scaling import (
    ETHERNET_LATENCY,
    GIGABIT,
    WORKERS,
    Link,
    as_table,
    measure_compute,
    measure_costs,
    plot_scaling,
    speed_up,
)
from .models import LeNet
from .report import write_report
from .sparse.timing import describe_machine

LINKS = {"1 Gbit/s": Link(ETHERNET_LATENCY, GIGABIT), "10 Gbit/s": Link(ETHERNET_LATENCY, 10 * GIGABIT)}
BATCH, STEPS = 64, 60


@click.command()
@seeds_option("Trainings of each method")
@click.option("--quick", is_flag=True, help="A first look: one epoch, few images.")
@sweep_options("gradients")
def gradients(**asked: Any) -> None:
    """Train LeNet with every compression of gradients, two workers in one process: accuracy against bytes sent."""
    click.echo(f"\n{carry_out(gradient_study.EXPERIMENT, **asked)}")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True,
              help="Folder for scaling.json and scaling.png.")  # fmt: skip
@data_option
def scaling(out: Path, data: Path | None) -> None:
    """Predict the speed-up of training on 2 to 256 machines, from what a step costs on this one.

    The kernels run on one thread here, and the machine should have nothing else to do. `compression/gradients/scaling.py`
    lists the assumptions; `make slow-link` tests them over TCP.
    """
    training, _ = load_images(data, hold_out=True)
    some = training.subset(slice(BATCH * STEPS))
    loader = DataLoader(some.images, some.labels, BATCH, shuffle=True, seed=0)
    before = kernels.get_num_threads()
    kernels.set_num_threads(1)
    try:
        model = LeNet()
        compute = measure_compute(model, loader)
        x, targets = next(iter(loader))
        found = {name: measure_costs(model, x, targets, name, compute) for name in METHODS}
    finally:
        kernels.set_num_threads(before)
    click.echo(as_table(found, LINKS))
    report = {
        "machine": describe_machine(), "images a machine": BATCH, "costs": {name: asdict(c) for name, c in found.items()},
        "speed-up": {
            words: {name: {str(k): speed_up(c, link, k) for k in WORKERS} for name, c in found.items()}
            for words, link in LINKS.items()
        },
    }  # fmt: skip
    write_report(make_folder(out) / "scaling.json", report)
    plot_scaling(found, LINKS).savefig(out / "scaling.png", dpi=110)
    click.echo(f"\nWritten to {out}: scaling.json, scaling.png.")


@click.command("int8-backward")
@seeds_option("Trainings of each kind")
@click.option("--quick", is_flag=True, help="A first look: one epoch, few images, short measurements.")
@sweep_options("int8-backward")
def int8_backward(**asked: Any) -> None:
    """Train LeNet with a backward pass in int8 beside float32: accuracy, bytes, and the time of a step on this machine."""
    click.echo(f"\n{carry_out(int8_backward_study.EXPERIMENT, **asked)}")
