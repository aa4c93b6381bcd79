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
    NoiseRow,
    QuantizedModel,
    along_line,
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
from .quantization.plots import plot_line, plot_noise
from .report import align, write_report
from .sweep import versions

LINE = tuple(round(0.1 * step, 1) for step in range(11))
"""Values of λ on the line from float to rounded weights."""

WIDTHS = (1, 2, 3, 4, 5, 6, 8)
"""Bits that a layer may get; a sign alone only where two bits are asked for, or one."""

LINE_BITS = (8, 4, 3, 2)
"""A line for each of these widths, and for the one that is asked for."""


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
        image: number of a held-out image to explain besides.
        distilled: whether the float model teaches the one that is trained.
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
    image: int | None = None
    distilled: bool = False
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
            learned=level == 3 and learned(settings), distilled=settings.distilled,
            changes=("relu6", "wider-first-layer", *(("power-of-two",) if settings.bits > 1 else ())),
        )  # fmt: skip
        rows.append((quantized, evaluate(quantized, loader)))
        say(f"level {level}: {rows[-1][1]:.2f} %  {'; '.join(quantized.done)}")
    report["levels"] = [_level(quantized, accuracy, held_out) for quantized, accuracy in rows]
    report["table"] = levels_table(rows)
    chain = fold_batch_norm(as_sequential(model, images[:1]))
    asked = None if settings.image is None else images[settings.image]
    images, labels = images[: settings.analysed], labels[: settings.analysed]
    report |= _analyse(chain, settings, calibration, images, labels, asked)
    report["mixed"] = _optimise(chain, settings, images, loader, calibration, batches)
    report["line"] = _line(chain, settings, loader)
    return report


def learned(settings: Settings) -> bool:
    """Tell whether training learns scales as well: of 8 bits the extremes do, and of one bit there are none."""
    return 1 < settings.bits < 8


def _level(quantized: QuantizedModel, accuracy: float, held_out: ImageDataset) -> dict[str, Any]:
    row: dict[str, Any] = {"level": quantized.level, "done": quantized.done, "accuracy": accuracy}
    row |= {"bytes": quantized.nbytes, "seconds": round(quantized.seconds, 2)}
    if quantized.activations:
        predictions = quantized.integer().predict(held_out.pixels)
        row["integer accuracy"] = 100 * float((predictions == held_out.labels).mean())
    return row


def _analyse(
    chain: Sequential, settings: Settings, calibration: Any, images: Any, labels: Any, asked: Any
) -> dict[str, Any]:
    """Return where the noise of a model that is only calibrated comes from. asked: an image to explain, or None."""
    _, weights = round_weights(chain, max(settings.bits, 2))
    parts = chain, weights, calibrate(chain, calibration, bits=settings.activation_bits)
    before, after = (m.eval()(images).data.argmax(axis=1) for m in (chain, with_noise(*parts)))
    flipped = np.flatnonzero(before != after)
    flips = [
        {"image": int(n), **asdict(flip)}
        for n in flipped[: settings.flips]
        if (flip := explain_flip(*parts, images[n]))
    ]
    flip = None if asked is None else explain_flip(*parts, asked)
    return {
        "asked": None if asked is None else {"image": settings.image, "flip": asdict(flip) if flip else None},
        "sources": loss_by_source(*parts, images, labels),
        "sensitivity": sensitivity_by_layer(*parts, images, labels),
        "signal to noise": [asdict(row) for row in signal_to_noise(*parts, images[:200])],
        "flipped": len(flipped),
        "flips": flips,
    }


def _optimise(
    chain: Sequential,
    settings: Settings,
    images: Any,
    loader: DataLoader,
    calibration: Any,
    batches: DataLoader,
) -> dict[str, Any]:
    """Return bits for each layer under a budget, rounded and trained for, beside the same bits for all."""
    costs = bit_costs(chain, images, widths=WIDTHS if settings.bits <= 2 else WIDTHS[1:])
    uniform = min((width for width in next(iter(costs.values()))), key=lambda width: abs(width - settings.bits))
    whole = sum(option[uniform][0] for option in costs.values())
    least = sum(min(n for n, _ in options.values()) for options in costs.values())
    budget = max(int(settings.share * whole), least)
    choice = choose_bits(costs, budget)
    trained = quantize_model(
        chain, 3, calibration=calibration, training=batches, bits=choice.bits, activation_bits=settings.activation_bits,
        epochs=settings.epochs, lr=settings.lr, learned=learned(settings), distilled=settings.distilled, seed=settings.seed,
    )  # fmt: skip
    return {
        "budget": budget,
        "bits": choice.bits,
        "bytes": choice.nbytes,
        "accuracy": evaluate(round_weights(chain, choice.bits)[0], loader),
        "trained": evaluate(trained, loader),
        "uniform": {
            "bits": uniform,
            "bytes": whole,
            "accuracy": evaluate(round_weights(chain, dict.fromkeys(weight_layers(chain), uniform))[0], loader),
        },
    }


def _line(chain: Sequential, settings: Settings, loader: DataLoader) -> dict[str, Any]:
    """Return accuracies on the way from float weights to rounded ones, for several widths."""
    widths = sorted({*LINE_BITS, settings.bits}, reverse=True)
    return {
        "shares": list(LINE),
        "accuracy": {
            str(bits): along_line(chain, round_weights(chain, bits)[0], LINE, lambda model: evaluate(model, loader))
            for bits in widths
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
    said = [_say(f["image"], f) for f in report["flips"]]
    if report["asked"]:
        said.append(_say(report["asked"]["image"], report["asked"]["flip"]))
    chosen = ", ".join(f"{name} {bits}" for name, bits in mixed["bits"].items())
    return "\n\n".join(
        [
            report["table"],
            align(sources),
            align(layers),
            "\n".join([f"{report['flipped']} images are read otherwise", *said]),
            f"bits within {mixed['budget']:,} B: {chosen}: {mixed['bytes']:,} B, {mixed['accuracy']:.2f} %, trained for it "
            f"{mixed['trained']:.2f} %; "
            f"{mixed['uniform']['bits']} for all: {mixed['uniform']['bytes']:,} B, {mixed['uniform']['accuracy']:.2f} %",
        ]
    )


def _say(image: int, flip: dict[str, Any] | None) -> str:
    if flip is None:
        return f"image {image} is read as the float model reads it"
    return f"image {image}: {flip['before']} became {flip['after']}, mostly by {flip['culprit']}"


def write(folder: Path, report: dict[str, Any]) -> list[str]:
    """Write report and figures; return the files' names."""
    stem = f"quantize_{report['settings']['bits']}_bits"
    write_report(folder / f"{stem}.json", report)
    rows = [NoiseRow(**row) for row in report["signal to noise"]]
    plot_noise(rows, report["sources"]).savefig(folder / f"{stem}_noise.png", dpi=110)
    lines = {f"{bits} bit" + "s" * (bits != "1"): values for bits, values in report["line"]["accuracy"].items()}
    plot_line(report["line"]["shares"], lines).savefig(folder / "quantize_line.png", dpi=110)
    return [f"{stem}.json", f"{stem}_noise.png", "quantize_line.png"]
