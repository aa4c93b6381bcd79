"""What few bits cost: int8 in integers alone, 4-bit weights trained for it, and signs, each beside its float model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import minigrad
from minigrad import DataLoader, evaluate, nn
from minigrad.datasets import ImageDataset
from minigrad.optim import Adam, CosineAnnealingLR
from minigrad.resume import fit
from minigrad.tensor import Array
from minigrad.transforms import Jitter

from .binary import BinaryLeNet, pack
from .demo import Recipe, evaluation_loader, train_lenet, train_loader
from .integer import IntegerModel, to_integer
from .quantization import quantize_model
from .report import write_report
from .repro.common import Row, images, over_seeds
from .repro.render import as_table
from .sweep import Experiment, Job, Run, Sweep, versions

LENET, BINARY = "LeNet", "binary LeNet-5"

NOTES = (
    "Nothing was chosen on test images: settings were compared on 5,000 held-out training images.",
    "int8 and 4 bit are the integer engine's answers, profile tflite. Weights of 4 bits lie in -7 ... 7, with a scale for each "
    "channel; activations have 8 bits.",
    "Training for 4 bits begins with the float model and goes on for some epochs, which the float model does not get.",
    "binary: Caffe's LeNet-5 with batch normalisation. conv2 and fc1, 98 % of the weights, multiply signs by signs; the first "
    "and the last layer are float. The answers are those of the packed model, by counting bits.",
    "The float twin has ReLUs in place of the signs. The binary network begins with the trained twin's weights and goes on for "
    "some epochs, which the twin, whose learning rate has fallen to 0, does not get. Both learn from images moved by up to a "
    "pixel; of both, the epoch counts that was best on the held-out images.",
    "The paper has no figure for MNIST: 0.11 (99.34 % and 99.23 %) is what the README of a public re-implementation says.",
)
"""What the report says of itself."""


@dataclass(frozen=True)
class LeNetSettings:
    """Settings of LeNet, for int8 and 4 bits.

    Attributes:
        epochs, lr, momentum: of the float model; the rate falls to 0 along a cosine.
        qat_epochs, qat_lr: of training for 4 bits.
        batch_size: of both.
        bits: of the weights that are trained for it.
        calibration: training images for ranges.
        limit: training images; None: all but those held out.
    """

    epochs: int = 8
    lr: float = 0.02
    momentum: float = 0.9
    qat_epochs: int = 3
    qat_lr: float = 0.005
    batch_size: int = 64
    bits: int = 4
    calibration: int = 1000
    limit: int | None = None


@dataclass(frozen=True)
class BinarySettings:
    """Settings of the binary LeNet-5 and its float twin, with whose weights it begins.

    Attributes:
        epochs, binary_epochs: of the twin, and after it of the binary network.
        lr: of Adam, in both; the rate falls to 0 along a cosine.
        jitter: pixels by which images are moved at most.
        batch_size: of both.
        limit: training images; None: all but those held out.
    """

    epochs: int = 8
    binary_epochs: int = 10
    lr: float = 0.003
    jitter: int = 1
    batch_size: int = 64
    limit: int | None = None


SETTINGS: dict[str, Any] = {LENET: LeNetSettings(), BINARY: BinarySettings()}
QUICK: dict[str, Any] = {
    LENET: LeNetSettings(epochs=2, qat_epochs=1, limit=10_000), BINARY: BinarySettings(epochs=2, binary_epochs=2, limit=10_000),
}  # fmt: skip


def work(job: Job) -> dict[str, Any]:
    """Train a model and its forms of few bits; return accuracies on the held-out and on the test images, in percent."""
    training, held_out, test = images(job.data, job.settings.limit)
    forms = (_lenet if job.part == LENET else _binary)(job, training, held_out)
    return {
        name: {"held-out": _accuracy(form, held_out), "test": _accuracy(form, test)} for name, form in forms.items()
    }


def _lenet(job: Job, training: ImageDataset, held_out: ImageDataset) -> dict[str, nn.Module | IntegerModel]:
    settings: LeNetSettings = job.settings
    recipe = Recipe(settings.epochs, settings.batch_size, settings.lr, settings.momentum, job.seed)
    model = train_lenet(training, recipe, cosine=True)
    trained = quantize_model(
        model, level=3, calibration=training.images[: settings.calibration], training=train_loader(training, recipe),
        bits=settings.bits, epochs=settings.qat_epochs, lr=settings.qat_lr, learned=True, seed=job.seed,
    )  # fmt: skip
    return {
        "float": model,
        "int8": to_integer(model, training.pixels[: settings.calibration]),
        f"{settings.bits} bit": trained.integer(),
    }


def _binary(job: Job, training: ImageDataset, held_out: ImageDataset) -> dict[str, nn.Module]:
    settings: BinarySettings = job.settings
    minigrad.manual_seed(job.seed)
    twin, binary = BinaryLeNet(binary=False), BinaryLeNet()
    for model, epochs in ((twin, settings.epochs), (binary, settings.binary_epochs)):
        if model is binary:
            model.load_state_dict(twin.state_dict())
        batches = DataLoader(
            training.images, training.labels, settings.batch_size, shuffle=True, seed=job.seed,
            transform=Jitter(settings.jitter),
        )  # fmt: skip
        optimizer, best = Adam(model.parameters(), settings.lr), _Best(model, held_out)
        schedule = CosineAnnealingLR(optimizer, epochs * len(batches))
        fit(
            model, batches, nn.CrossEntropyLoss(), optimizer, epochs, schedule, schedule_each="step",
            after_epoch=best.keep,
        )  # fmt: skip
        model.load_state_dict(best.state)
    return {"float": twin, "binary": pack(binary)}


class _Best:
    """Keeps a model's state from the epoch that was best on the held-out images; of equals the last."""

    def __init__(self, model: nn.Module, held_out: ImageDataset):
        self.model, self.loader = model, evaluation_loader(held_out)
        self.accuracy, self.state = -1.0, dict[str, Array]()

    def keep(self, position: Any) -> None:
        accuracy = evaluate(self.model, self.loader)
        if accuracy >= self.accuracy:
            self.accuracy, self.state = accuracy, self.model.state_dict()


def _accuracy(form: nn.Module | IntegerModel, part: ImageDataset) -> float:
    if isinstance(form, IntegerModel):
        return 100 * float((form.predict(part.pixels) == part.labels).mean())
    return evaluate(form, evaluation_loader(part))


def report_on(sweep: Sweep) -> dict[str, Any]:
    """Return the report's rows, see `rows`, and the runs they come from."""
    return {
        "settings": {part: asdict(chosen) for part, chosen in sweep.settings.items()}, "seeds": sweep.seeds,
        "versions": versions(), "notes": NOTES, "quick": sweep.quick, "rows": [row.as_json() for row in rows(sweep.runs)],
        "runs": [{key: run[key] for key in ("part", "seed", "seconds", "results")} for run in sweep.runs],
    }  # fmt: skip


def rows(runs: Sequence[Run]) -> list[Row]:
    """Return the report's rows: accuracies, and how far each form is below its float model, seed by seed."""
    found = []
    for part, form, limit, paper in (
        (LENET, "int8", 0.05, None),
        (LENET, "4 bit", 0.3, None),
        (BINARY, "binary", 0.3, 0.11),
    ):
        own = [run for run in runs if run["part"] == part]
        if form != "4 bit":
            found.append(Row(part, "float, test images", over_seeds(own, lambda r: r["float"]["test"]), unit="%"))
        found.append(Row(part, f"{form}, test images", over_seeds(own, lambda r, f=form: r[f]["test"]), unit="%"))
        below = over_seeds(own, lambda r, f=form: round(r["float"]["test"] - r[f]["test"], 6))
        name = f"{form} below float"
        found.append(Row(part, name, below, unit="points", digits=3, paper=paper, at_most=limit))
        aside = over_seeds(own, lambda r, f=form: round(r["float"]["held-out"] - r[f]["held-out"], 6))
        found.append(Row(part, f"{name}, held-out images", aside, unit="points", digits=3))
    return found


def write(folder: Path, report: dict[str, Any]) -> list[str]:
    """Write the report; return the files' names."""
    write_report(folder / "quantized_accuracy.json", report)
    return ["quantized_accuracy.json"]


EXPERIMENT = Experiment(SETTINGS, QUICK, work, report_on, as_table, write)
