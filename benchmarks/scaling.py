"""Plot what conv2d forward and backward (3×3, padding 1) costs against batch size, image size and channels.

Each should be a line: a point far above it is a cliff, which somebody will fall down. The figure shown is the largest cost
over the fitted line; the plot shows all. Odd sizes stand beside powers of two on purpose.
"""

import statistics
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from common import main, make_parser, use_threads

BATCHES = [1, 2, 4, 8, 12, 16, 24, 32, 48, 63, 64, 65, 96, 100, 128]
HEIGHTS = [8, 12, 15, 16, 17, 20, 24, 28, 31, 32, 33, 36, 40]
CHANNELS = [1, 2, 3, 4, 6, 8, 12, 15, 16, 17, 24, 31, 32, 33, 40]
TURN = 0.03
"""Seconds that a point is measured for in each round, by repeating the call."""


def conv2d_call(batch: int, channels: int, height: int) -> Any:
    """Return a function that runs forward and backward once, as a layer with as many channels out as in."""
    import numpy as np

    from minigrad import Tensor
    from minigrad import functional as F
    from minigrad.ops.layout import innermost, outermost

    rng = np.random.default_rng(0)
    shapes = (batch, channels, height, height), (channels, channels, 3, 3), (channels,)
    x, w, b = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    x = outermost(innermost(x))

    def call() -> None:
        inputs = [Tensor(array, requires_grad=True) for array in (x, w, b)]
        F.conv2d(*inputs, padding=1).backward(x)

    return call


def time_points(calls: list[Any], rounds: int) -> list[float]:
    """Return the median seconds of each call. The calls take turns, so that a slow moment meets all of them."""
    seconds: list[list[float]] = [[] for _ in calls]
    repeats = []
    for call in calls:
        call()  # warms up
        start = time.perf_counter()
        call()
        repeats.append(max(1, int(TURN / (time.perf_counter() - start))))
    for _ in range(rounds):
        for call, times, count in zip(calls, seconds, repeats, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                call()
            times.append((time.perf_counter() - start) / count)
    return [statistics.median(times) for times in seconds]


def fit(units: list[float], seconds: list[float]) -> tuple[float, float]:
    """Return (fixed cost, cost a unit) of the line that misses the points by the least, relative to their height."""
    import numpy as np

    slope, fixed = np.polyfit(units, seconds, 1, w=1 / np.asarray(seconds))
    return float(fixed), float(slope)


def plot(panels: dict[str, Any], file: Path) -> None:
    """Draw measured points and fitted lines, one panel an axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.5), layout="constrained")
    for axes, (title, panel) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        units, fixed, slope = panel["units"], *panel["line"]
        axes.plot(units, [1000 * s for s in panel["seconds"]], "o", label="measured")
        ends = [0, max(units)]
        axes.plot(
            ends,
            [1000 * (fixed + slope * u) for u in ends],
            label=f"line: {1e6 * fixed:.0f} µs + {1e6 * slope:.3g} µs a unit",
        )
        axes.set(title=title, xlabel=panel["unit"], ylabel="milliseconds", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle("conv2d 3×3, forward and backward: cost against size")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def measure(options: Namespace) -> dict:
    use_threads(options.threads)
    sizes = {
        "batch": ("batch size (16 channels, 16×16)", "images", [(n, 16, 16) for n in BATCHES], BATCHES),
        "pixels": ("image size (batch 64, 8 channels)", "pixels", [(64, 8, h) for h in HEIGHTS], [h * h for h in HEIGHTS]),
        "channels": (
            "channels (batch 64, 12×12)", "channels in × channels out",
            [(64, c, 12) for c in CHANNELS], [c * c for c in CHANNELS],
        ),
    }  # fmt: skip
    panels, rows = {}, {}
    for key, (title, unit, points, units) in sizes.items():
        seconds = time_points([conv2d_call(*point) for point in points], options.rounds)
        fixed, slope = fit(units, seconds)
        over = [s / (fixed + slope * u) for s, u in zip(seconds, units, strict=True)]
        panels[title] = {"unit": unit, "units": units, "seconds": seconds, "line": (fixed, slope)}
        rows[f"scaling_{key}"] = {"values": [max(over)], "units": units, "seconds": seconds, "line": [fixed, slope]}
        print(f"\n{title}: {1e6 * fixed:.0f} µs + {1e6 * slope:.3g} µs a unit ({unit})")
        for count, taken, ratio in zip(units, seconds, over, strict=True):
            print(f"{count:6} {1000 * taken:9.3f} ms   a unit {1e6 * taken / count:8.3f} µs   {ratio:.2f} of the line")
    plot(panels, options.folder / "scaling.png")
    print(f"\n{options.folder / 'scaling.png'}")
    return rows


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks"), help="where the plot is written")
    main(measure, parser)
