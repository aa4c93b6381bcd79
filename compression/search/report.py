"""What a search says in the end: its frontier as a table and as a picture, and what the chosen file was traded for."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..coding import Container, layer_rows
from ..figures import BLUE, GREEN, GREY, ORANGE
from ..report import align
from .candidates import Candidate, Wishes, frontier, most_accurate, smallest

LOOKS = {
    ("codebook", True): (BLUE, "o", "codebook, taught"),
    ("codebook", False): (BLUE, "x", "codebook, labels alone"),
    ("integer", True): (ORANGE, "s", "integers, taught"),
    ("integer", False): (ORANGE, "+", "integers, labels alone"),
}
"""How weights are stored, and whether the model was taught → colour, marker, words."""

TICKS = (0.5, 1, 2, 3, 5, 8, 10, 20, 30, 50, 100, 200, 500, 1000)
"""Of the axis of bytes, in KB."""


def as_table(found: Sequence[Candidate], chosen: Candidate | None = None) -> str:
    """Lay candidates out as text; a star marks the chosen one.

    "sure" is the lower end of the accuracy's interval, see `Candidate.sure`.
    """
    timed = any(c.milliseconds is not None for c in found)
    rows = [["", "bytes", "held-out %", "sure %", "weights", "widths", *(["ms", "runs"] if timed else [])]]
    for c in found:
        mark = "* " if chosen is not None and c.name == chosen.name else "  "
        widths = "-".join(map(str, list(c.widths.values())[:-1]))
        cells = [
            mark + c.name,
            f"{c.bytes:,}",
            f"{c.accuracy:.2f}",
            f"{c.sure:.2f}",
            f"{sum(c.weights.values()):,}",
            widths,
        ]
        rows.append([*cells, *([f"{c.milliseconds:.3f}", c.runs] if timed else [])])
    return align(rows)


def plot_frontier(candidates: Sequence[Candidate], wishes: Wishes, chosen: Candidate | None, title: str) -> Figure:
    """Draw held-out accuracy over bytes: all candidates, which of them no other beats in these two, wishes, the chosen one."""
    figure = Figure(figsize=(9.5, 5), layout="constrained")
    ax = figure.subplots()
    for (way, taught), (color, marker, words) in LOOKS.items():
        these = [c for c in candidates if c.coding.startswith(way) and c.taught == taught]
        if these:
            x, y = [c.bytes / 1000 for c in these], [c.accuracy for c in these]
            ax.scatter(x, y, s=26, c=color, marker=marker, label=words)
    best = frontier([replace(c, milliseconds=None) for c in candidates])
    x, y = [c.bytes / 1000 for c in best], [c.accuracy for c in best]
    ax.plot(x, y, color=GREY, lw=1.2, zorder=1, drawstyle="steps-post", label="frontier")
    ax.axvline(wishes.budget / 1000, color="black", ls="--", lw=1, label=f"budget: {wishes.budget:,} B")
    ax.axhline(wishes.accuracy, color="black", ls=":", lw=1, label=f"asked for: {wishes.accuracy:g} %")
    if chosen is not None:
        low = [[chosen.accuracy - chosen.sure], [0]]
        ax.errorbar(
            chosen.bytes / 1000, chosen.accuracy, low, color=GREEN, marker="*", markersize=17, markeredgecolor="black",
            capsize=3, ls="none", label="chosen\n(whisker: down to\nwhat is sure)", zorder=3,
        )  # fmt: skip
    _limits(ax, candidates, wishes)
    ax.set_xlabel("file (KB of 1,000 bytes)")
    ax.set_ylabel("accuracy on held-out images (%)")
    ax.set_title(title, fontsize=11)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize=9, loc="outside right upper")
    return figure


def _limits(ax: Axes, candidates: Sequence[Candidate], wishes: Wishes) -> None:
    """Show what lies around the accuracy that is asked for; say how many candidates lie far below it."""
    worst, best = (f(c.accuracy for c in candidates) for f in (min, max))
    bottom = max(worst - 0.2, min(wishes.accuracy, best) - 1.2)
    top = min(100.05, max(best, wishes.accuracy) + 0.25)
    sizes = [c.bytes / 1000 for c in candidates] + [wishes.budget / 1000]
    left, right = 0.85 * min(sizes), 1.2 * max(sizes)
    ticks = [tick for tick in TICKS if left < tick < right]
    ax.set(xscale="log", xlim=(left, right), ylim=(bottom, top))
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    if below := sum(c.accuracy < bottom for c in candidates):
        ax.text(0.01, 0.02, f"below the picture: {below}", transform=ax.transAxes, fontsize=9)


def why_not(candidates: Sequence[Candidate], wishes: Wishes) -> str:
    """Say that no candidate meets the wishes, and what came closest."""
    asked = f"{wishes.budget:,} bytes, {wishes.accuracy:g} %"
    asked += "" if wishes.milliseconds is None else f" and {wishes.milliseconds:g} ms"
    parts = [f"none of {len(candidates)} candidates meets {asked}"]
    within = most_accurate(candidates, wishes)
    if within is not None:
        parts.append(
            f"the best that is small{'' if wishes.milliseconds is None else ' and fast'} enough reads {within.accuracy:.2f} % "
            f"of the held-out images, which makes {within.sure:.2f} % sure ({within.name}, {within.bytes:,} bytes)"
        )
    else:
        least = min(candidates, key=lambda c: c.bytes)
        parts.append(f"the smallest file takes {least.bytes:,} bytes ({least.accuracy:.2f} %)")
        if wishes.milliseconds is not None:
            fast = min(candidates, key=lambda c: c.milliseconds or 0.0)
            parts.append(f"the fastest takes {fast.milliseconds:.3f} ms ({fast.bytes:,} bytes)")
    enough = smallest(candidates, wishes.accuracy)
    if enough is not None:
        time = "" if enough.milliseconds is None else f" and {enough.milliseconds:.3f} ms"
        parts.append(f"the smallest that is surely accurate enough takes {enough.bytes:,} bytes{time} ({enough.name})")
    else:
        most = max(candidates, key=lambda c: (c.sure, -c.bytes))
        parts.append(f"none is surely so accurate: the best makes {most.sure:.2f} % sure, at {most.bytes:,} bytes")
    return "; ".join(parts)


def traded(chosen: Candidate, container: Container, before: dict[str, Any], test: dict[str, float]) -> list[str]:
    """Say in sentences what the chosen file was traded for.

    Args:
        chosen: the candidate.
        container: what is in its file.
        before: of the given model: "weights" and "widths" by layer, "bytes" (float32), "milliseconds" (None: not timed).
        test: accuracy on the test images, percent: "given", "teacher", "chosen".
    """
    rows = {row.layer: row for row in layer_rows(container)}
    left, had = sum(chosen.weights.values()), sum(before["weights"].values())
    narrower = [
        f"{name} {n} to {chosen.widths[name]}" for name, n in before["widths"].items() if n != chosen.widths[name]
    ]
    bits = sum(row.coded_weight_bits * row.kept for row in rows.values()) / max(left, 1)
    index = sum(row.coded_index_bits * row.kept for row in rows.values()) / max(left, 1)
    weight_bytes = sum(row.bytes for row in rows.values())
    sentences = [
        f"Accuracy on the test images, looked at once: {test['chosen']:.2f} %. The given model reads {test['given']:.2f} %: "
        f"{_points(test['chosen'] - test['given'])}. Trained on without getting smaller, it reads {test['teacher']:.2f} %: "
        f"{_points(test['chosen'] - test['teacher'])} is what getting smaller cost.",
        f"Weights: {left:,} of {had:,} are left, {100 * left / max(had, 1):.1f} %: "
        + ", ".join(f"{name} {n:,} of {before['weights'][name]:,}" for name, n in chosen.weights.items())
        + ".",
        "Filters and neurons: " + (", ".join(narrower) if narrower else "all are left") + ".",
        f"Bits: a weight took 32; now {bits:.1f} for its value and {index:.1f} for its place, on average.",
        f"Bytes: {before['bytes']:,} as float32, now {chosen.bytes:,}, {before['bytes'] / chosen.bytes:.1f} times fewer: "
        + ", ".join(f"{name} {row.bytes:,}" for name, row in rows.items())
        + f", all else (biases, names, sizes) {chosen.bytes - weight_bytes:,}.",
    ]
    if chosen.milliseconds is not None:
        sentences.append(
            f"Time: {chosen.milliseconds:.3f} ms ({chosen.runs}); the given model takes {before['milliseconds']:.3f} ms."
        )
    return sentences


def _points(difference: float) -> str:
    return f"{'+' if difference >= 0 else '−'}{abs(difference):.2f} points"
