"""What every compression step reports: the same figures for every stage, as JSON and as a table."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.special import stdtrit

from minigrad.checkpoint import write_atomically
from minigrad.nn import Module

from .sparse import WeightBytes, weight_bytes


@dataclass
class Stage:
    """One row of a report.

    Attributes:
        stage: "baseline", "pruned" or "fine-tuned".
        accuracy: percent.
        interval: the accuracy's 95 % Wilson interval, percent.
        sparsity: share of all parameters that are zero.
        parameters, nonzeros: counts, biases included.
        bytes: of the weights: see `sparse.WeightBytes`.
        seconds: wall time of the stage.
        last_epoch: where `accuracy` is that of a best epoch: accuracy and interval of the last one.
    """

    stage: str
    accuracy: float
    interval: tuple[float, float]
    sparsity: float
    parameters: int
    nonzeros: int
    bytes: WeightBytes
    seconds: float
    last_epoch: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON can hold it; `last_epoch` only where there is one."""
        row = asdict(self) | {"interval": list(self.interval)}
        return {key: value for key, value in row.items() if value is not None}


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a share, in percent.

    Raises:
        ValueError: correct is not between 0 and total, or total is 0.

    Source:
        Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    Example:
        >>> low, high = wilson_interval(9799, 10_000)
        >>> f"{low:.2f} {high:.2f}"
        '97.70 98.25'
    """
    if not 0 <= correct <= total or total == 0:
        raise ValueError(f"wilson_interval: {correct} of {total} is not a share")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = correct / total
    center = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    return float(100 * (center - half)), float(100 * (center + half))


def t_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return Student's interval of the mean of independent values (runs with different seeds). Needs two or more.

    Example:
        >>> low, high = t_interval([1.0, 2.0, 3.0])
        >>> f"{low:.2f} {high:.2f}"
        '-0.48 4.48'
    """
    if len(values) < 2:
        raise ValueError(f"t_interval: {len(values)} value has no spread; two or more are needed")
    half = stdtrit(len(values) - 1, 0.5 + confidence / 2) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def summarize(values: Sequence[float]) -> dict[str, Any]:
    """Return the values of two or more seeds, their mean and its 95 % t-interval, as JSON can hold them."""
    return {
        "values": list(values),
        "mean": float(np.mean(values)),
        "interval": list(t_interval(values)),
    }


def measure(stage: str, model: Module, correct: int, total: int, seconds: float) -> Stage:
    """Fill in a report's row for a model that classified `correct` of `total` images as labelled."""
    parameters = sum(p.size for p in model.parameters())
    nonzeros = sum(int(np.count_nonzero(p.data)) for p in model.parameters())
    return Stage(
        stage=stage,
        accuracy=100 * correct / total,
        interval=wilson_interval(correct, total),
        sparsity=(parameters - nonzeros) / parameters,
        parameters=parameters,
        nonzeros=nonzeros,
        bytes=weight_bytes(model),
        seconds=seconds,
    )


def as_report(seed: int, stages: Sequence[Stage]) -> dict[str, Any]:
    """Return one run's report as JSON can hold it."""
    return {"seed": seed, "stages": [stage.as_json() for stage in stages]}


def with_means(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return several runs' reports with, for each stage, the mean accuracy and its 95 % t-interval over the seeds."""
    means = {}
    for index, first in enumerate(reports[0]["stages"]):
        accuracies = [report["stages"][index]["accuracy"] for report in reports]
        means[first["stage"]] = {
            "accuracy": float(np.mean(accuracies)),
            "interval": list(t_interval(accuracies)),
            "sparsity": float(np.mean([report["stages"][index]["sparsity"] for report in reports])),
        }
    return {"reports": list(reports), "means": means}


def write_report(path: str | Path, report: dict[str, Any]) -> None:
    """Write a report as JSON, whole or not at all."""
    write_atomically(path, (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())


def table(stages: Sequence[Stage]) -> str:
    """Lay the stages out as a table of text."""
    head = ["stage", "accuracy %", "95 % interval", "sparsity", "parameters", "non-zeros"]
    head += ["dense B", "CSR B", "bitmask B", "1 - sparsity", "seconds"]
    rows = [head]
    for s in stages:
        best = s.last_epoch is not None
        dense, csr, bitmask = s.bytes["dense"], s.bytes["csr"], s.bytes["bitmask"]
        rows.append(
            [
                s.stage + (" (best epoch, chosen on test)" if best else ""),
                f"{s.accuracy:.2f}",
                "{:.2f} - {:.2f}".format(*s.interval),
                f"{s.sparsity:.4f}",
                f"{s.parameters:,}",
                f"{s.nonzeros:,}",
                f"{dense:,}",
                f"{csr:,} ({dense / csr:.2f}x)",
                f"{bitmask:,} ({dense / bitmask:.2f}x)",
                f"{100 * (1 - s.sparsity):.2f} %",
                f"{s.seconds:.1f}",
            ]
        )
        if s.last_epoch is not None:
            last = ["{:.2f} - {:.2f}".format(*s.last_epoch["interval"])]
            rows.append([f"{s.stage} (last epoch)", f"{s.last_epoch['accuracy']:.2f}", *last] + [""] * (len(head) - 3))
    return align(rows)


def align(rows: Sequence[Sequence[str]]) -> str:
    """Pad the cells of a table: the first column to the left, the others to the right; a rule below the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells)
        ).rstrip()
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
