"""What `minigrad quantize` does: a trained LeNet through the article's four levels, then where the loss comes from, and
which layer should get how many bits.

The order is that of one article's drawing: train, quantization-aware training, convert, error analysis, optimise.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import minigrad
from minigrad import DataLoader, evaluate
from minigrad.datasets import ImageDataset
from minigrad.nn import Sequential

from .demo import evaluation_loader
from .models import LeNet, as_sequential, fold_batch_norm
from .quantization import (
    QuantizedModel,
    bit_costs,
    calibrate,
    choose_bits,
    explain_flip,
    levels_table,
    loss_by_source,
    quantize_model,
    round_weights,
    sensitivity_by_layer,
    signal_to_noise,
    weight_layers,
    with_noise,
)
from .report import align, write_report
from .repro.common import versions


@dataclass(frozen=True)
class Settings:
    """Of a run.

    Attributes:
        bits, activation_bits: of weights and activations.
        epochs, lr, batch_size: of quantization-aware training.
        images: to train on; None: all but those held out.
        calibration: images that ranges are measured on.
        analysed: held-out images that the analysis looks at.
        flips: images to explain, of those that are read otherwise than by the float model.
        share: budget of mixed precision, as a share of the bytes at `bits`.
        seed: of everything that is drawn.
    """

    bits: int = 8
    activation_bits: int = 8
    epochs: int = 3
    lr: float = 0.005
    batch_size: int = 64
    images: int | None = None
    calibration: int = 500
    analysed: int = 1_000
    flips: int = 3
    share: float = 0.75
    seed: int = 0


def run(
    model: LeNet, settings: Settings, training: ImageDataset, held_out: ImageDataset, say: Callable[[str], Any]
) -> dict[str, Any]:
    """Quantize a trained model in every way and return the report as JSON can hold it.

    Args:
        model: stays as it is.
        settings: of the run.
        training, held_out: images to learn from, and to measure on.
        say: called with a line of text for the reader.
    """
    minigrad.manual_seed(settings.seed)
    training = training.subset(np.arange(len(training))[: settings.images])
    images, labels = held_out.images, held_out.labels
    loader = evaluation_loader(held_out)
    batches = DataLoader(
        training.images, training.labels, batch_size=settings.batch_size, shuffle=True, seed=settings.seed
    )
    calibration = training.images[: settings.calibration]
    report: dict[str, Any] = {"settings": asdict(settings), "versions": versions(), "measured on": "held-out images"}
    report["float"] = evaluate(model, loader)
    say(f"float: {report['float']:.2f} %")
    rows: list[tuple[QuantizedModel, float]] = []
    for level in (1, 2, 3, 4):
        quantized = quantize_model(
            model, level, calibration=calibration, training=batches, bits=settings.bits,
            activation_bits=settings.activation_bits, epochs=settings.epochs, lr=settings.lr, seed=settings.seed,
            learned=level == 3 and 1 < settings.bits < 8,
            changes=("relu6", "wider-first-layer", *(("power-of-two",) if settings.bits > 1 else ())),
        )  # fmt: skip
        rows.append((quantized, evaluate(quantized, loader)))
        say(f"level {level}: {rows[-1][1]:.2f} %  {'; '.join(quantized.done)}")
    report["levels"] = [_level(quantized, accuracy, held_out) for quantized, accuracy in rows]
    report["table"] = levels_table(rows)
    chain = fold_batch_norm(as_sequential(model, images[:1]))
    report |= _analyse(chain, settings, calibration, images[: settings.analysed], labels[: settings.analysed])
    report["mixed"] = _optimise(chain, settings, images[: settings.analysed], labels[: settings.analysed], loader)
    return report


def _level(quantized: QuantizedModel, accuracy: float, held_out: ImageDataset) -> dict[str, Any]:
    row: dict[str, Any] = {"level": quantized.level, "done": quantized.done, "accuracy": accuracy}
    row |= {"bytes": quantized.nbytes, "seconds": round(quantized.seconds, 2)}
    if quantized.activations:
        predictions = quantized.integer().predict(held_out.pixels)
        row["integer accuracy"] = 100 * float((predictions == held_out.labels).mean())
    return row


def _analyse(chain: Sequential, settings: Settings, calibration: Any, images: Any, labels: Any) -> dict[str, Any]:
    """Return where the noise of a model that is only calibrated comes from."""
    _, weights = round_weights(chain, max(settings.bits, 2))
    parts = chain, weights, calibrate(chain, calibration, bits=settings.activation_bits)
    before, after = (m.eval()(images).data.argmax(axis=1) for m in (chain, with_noise(*parts)))
    flipped = np.flatnonzero(before != after)
    flips = [
        {"image": int(n), **asdict(flip)}
        for n in flipped[: settings.flips]
        if (flip := explain_flip(*parts, images[n]))
    ]
    return {
        "sources": loss_by_source(*parts, images, labels),
        "sensitivity": sensitivity_by_layer(*parts, images, labels),
        "signal to noise": [asdict(row) for row in signal_to_noise(*parts, images[:200])],
        "flipped": len(flipped),
        "flips": flips,
    }


def _optimise(chain: Sequential, settings: Settings, images: Any, labels: Any, loader: DataLoader) -> dict[str, Any]:
    """Return bits for each layer under a budget, beside the same bits for all."""
    costs = bit_costs(chain, images, labels)
    uniform = min((width for width in next(iter(costs.values()))), key=lambda width: abs(width - settings.bits))
    whole = sum(option[uniform][0] for option in costs.values())
    budget = int(settings.share * whole)
    least = sum(min(n for n, _ in options.values()) for options in costs.values())
    choice = choose_bits(costs, max(budget, least))
    return {
        "budget": budget,
        "bits": choice.bits,
        "bytes": choice.nbytes,
        "accuracy": evaluate(round_weights(chain, choice.bits)[0], loader),
        "uniform": {
            "bits": uniform,
            "bytes": whole,
            "accuracy": evaluate(round_weights(chain, dict.fromkeys(weight_layers(chain), uniform))[0], loader),
        },
    }


def as_text(report: dict[str, Any]) -> str:
    """Lay the report out as text: the levels, the sources of noise, the layers, the flips, the bits."""
    sources = [["source", "loss, alone", "loss, share"]]
    sources += [[n, f"{row['alone']:+.5f}", f"{row['share']:+.5f}"] for n, row in report["sources"].items()]
    layers = [["layer", "loss, alone", "SQNR weights dB", "expected", "SQNR activations dB", "expected"]]
    noise = {row["name"]: row for row in report["signal to noise"]}
    for name, loss in report["sensitivity"].items():
        pair = [noise[f"{name} {what}"] for what in ("weights", "activations")]
        layers.append([name, f"{loss:+.5f}", *(f"{row[key]:.1f}" for row in pair for key in ("measured", "expected"))])
    mixed = report["mixed"]
    said = [f"image {f['image']}: {f['before']} became {f['after']}, mostly by {f['culprit']}" for f in report["flips"]]
    chosen = ", ".join(f"{name} {bits}" for name, bits in mixed["bits"].items())
    return "\n\n".join(
        [
            report["table"],
            align(sources),
            align(layers),
            "\n".join([f"{report['flipped']} images are read otherwise", *said]),
            f"bits within {mixed['budget']:,} B: {chosen}: {mixed['bytes']:,} B, {mixed['accuracy']:.2f} %; "
            f"{mixed['uniform']['bits']} for all: {mixed['uniform']['bytes']:,} B, {mixed['uniform']['accuracy']:.2f} %",
        ]
    )


def write(folder: Path, report: dict[str, Any]) -> str:
    """Write the report and return the file's name."""
    name = f"quantize_{report['settings']['bits']}_bits.json"
    write_report(folder / name, report)
    return name
