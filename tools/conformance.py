"""Compare integer models with other runtimes on all test images, logit by logit, and write docs/conformance.md.

Run from the checkout's root, as `make conformance` does: python -m tools.conformance. It takes about three minutes on an
idle core. Figures also go to results/conformance.json.
"""

import sys
from collections.abc import Callable
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from llvmlite import binding
from tqdm import tqdm

import minigrad
from minigrad import nn
from minigrad.compression.export import to_onnx, to_tflite
from minigrad.compression.integer import IntegerModel, to_integer
from minigrad.compression.models import LeNet, trained_lenet
from minigrad.compression.report import write_report
from minigrad.compression.sweep import versions
from minigrad.datasets import mnist
from tests.parity import oracles
from tools.markdown import table

ROOT = Path(__file__).resolve().parent.parent
PAGE, FIGURES = ROOT / "docs" / "conformance.md", ROOT / "results" / "conformance.json"
SEEDS = range(5)
CALIBRATION = 1_000
"""Training images that ranges are taken from."""


class Runtime(NamedTuple):
    """Another runtime: its name on the page, the profile it rounds by, and how it runs a model on int8 images."""

    name: str
    profile: str
    run: Callable[[IntegerModel, np.ndarray], np.ndarray]


def _tflite(run: Callable[..., np.ndarray], *settings: Any) -> Callable[[IntegerModel, np.ndarray], np.ndarray]:
    return lambda model, x: run(to_tflite(model, oracles.BATCH), x, *settings)


def _onnx(form: str, activations: str) -> Callable[[IntegerModel, np.ndarray], np.ndarray]:
    return lambda model, x: oracles.onnxruntime(to_onnx(model, form, activations), x)


RUNTIMES = [
    Runtime("tflite-micro", "tflite", _tflite(oracles.tflite_micro)),
    Runtime("onnxruntime, integers", "tflite", _onnx("integer", "int8")),
    Runtime("onnxruntime, integers", "single", _onnx("integer", "int8")),
    Runtime("onnxruntime, QLinear", "onnx", _onnx("qlinear", "int8")),
    Runtime("onnxruntime, QLinear u8", "onnx", _onnx("qlinear", "uint8")),
    Runtime("onnxruntime, QDQ", "onnx", _onnx("qdq", "int8")),
    Runtime("LiteRT, XNNPACK", "onnx", _tflite(oracles.litert, "AUTO")),
]
"""Those that must agree with a profile in every bit."""

OTHERS = [
    Runtime("LiteRT, own kernels", "tflite", _tflite(oracles.litert, "BUILTIN_WITHOUT_DEFAULT_DELEGATES")),
    Runtime("LiteRT, reference", "tflite", _tflite(oracles.litert, "BUILTIN_REF")),
]
"""Those that are shown beside them."""


class Case(NamedTuple):
    """A model to compare: its name on the page, the float model, settings of `to_integer`."""

    name: str
    model: Callable[[], nn.Module]
    settings: dict[str, Any]
    averages: bool = False


def _seeded(make: Callable[[], nn.Module], seed: int) -> Callable[[], nn.Module]:
    def model() -> nn.Module:
        minigrad.manual_seed(seed)
        return make()

    return model


def padded_net() -> nn.Module:
    """Return a network with what LeNet lacks: padding, strides, groups, ReLU6, average pooling, batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU6(), nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(2, stride=1),
        nn.Flatten(), nn.Linear(16 * 6 * 6, 10),
    ).eval()  # fmt: skip


CASES = [
    Case("LeNet, trained", trained_lenet, {}),
    Case("linear layers per channel", trained_lenet, {"linear_per_channel": True}),
    Case("one scale a layer", trained_lenet, {"per_channel": False}),
    Case("4-bit weights", trained_lenet, {"bits": 4}),
    Case("scales that are powers of two", trained_lenet, {"power_of_two": True}),
    *(Case(f"LeNet, random weights, seed {seed}", _seeded(LeNet, seed), {}) for seed in SEEDS),
    *(Case(f"padded network, random weights, seed {seed}", _seeded(padded_net, seed), {}, True) for seed in SEEDS),
]


def main() -> int:
    """Compare everything; write the page if all agree that must."""
    test, calibration = mnist("test"), mnist("train").pixels[:CALIBRATION]
    pixels = test.pixels[:, None]
    cases = {case.name: compare(case, calibration, pixels) for case in tqdm(CASES, "models", disable=None)}
    figures = {
        "images": len(pixels), "calibration": CALIBRATION, "cases": cases, "matrix": matrix(calibration, pixels, test.labels),
        "versions": {**versions(), **{name: version(name) for name in ("tflite-micro", "onnxruntime", "ai-edge-litert")}},
        "processor": binding.get_host_cpu_name(), "features": features(),
    }  # fmt: skip
    text = page(figures)
    print(text)
    wrong = [f"{name}: {key}" for name, case in cases.items() for key, count in case["differences"].items() if count]
    if wrong:
        print(f"{len(wrong)} comparisons differ; the page is left as it was:", *wrong, sep="\n  ", file=sys.stderr)
        return 1
    PAGE.write_text(text)
    write_report(FIGURES, figures)
    return 0


def compare(case: Case, calibration: np.ndarray, pixels: np.ndarray) -> dict[str, Any]:
    """Return, for each runtime, how many logits differ from ours in its profile; and how many were compared."""
    ours = {p: to_integer(case.model(), calibration, p, **case.settings) for p in ("tflite", "single", "onnx")}
    logits = {profile: model.logits(pixels) for profile, model in ours.items()}
    x = (pixels ^ 128).view(np.int8)
    differences = {}
    for runtime in RUNTIMES:
        floats_average = case.averages and runtime.profile == "onnx"  # they round a mean in their own way
        if not floats_average and not (runtime.name.endswith("u8") and oracles.saturates()):
            found = runtime.run(ours[runtime.profile], x)
            differences[_key(runtime)] = int(np.count_nonzero(found != logits[runtime.profile]))
    return {"logits": logits["tflite"].size, "distinct": len(np.unique(logits["tflite"])), "differences": differences}


def _key(runtime: Runtime) -> str:
    return f"{runtime.name} ({runtime.profile})"


def matrix(calibration: np.ndarray, pixels: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return how many logits of the trained LeNet differ between any two.

    Returns:
        "names"; "differences", by "name | name"; "largest" of them; "right": images classified as labelled, by name.
    """
    models = {p: to_integer(trained_lenet(), calibration, p) for p in ("tflite", "single", "onnx")}
    x = (pixels ^ 128).view(np.int8)
    logits = {}
    for profile, model in models.items():
        logits[f"ours ({profile})"] = model.logits(pixels)
        logits |= {_key(r): r.run(model, x) for r in (*RUNTIMES, *OTHERS) if r.profile == profile}
    pairs = list(combinations(logits, 2))
    return {
        "names": list(logits),
        "largest": max(int(np.abs(logits[a].astype(int) - logits[b]).max()) for a, b in pairs),
        "differences": {f"{a} | {b}": int(np.count_nonzero(logits[a] != logits[b])) for a, b in pairs},
        "right": {name: int((found.argmax(axis=1) == labels).sum()) for name, found in logits.items()},
    }


def features() -> list[str]:
    """Return the CPU's features that integer kernels choose by."""
    wanted = ("avx2", "avx512f", "avx512bw", "avx512vnni", "avxvnni", "neon", "dotprod", "i8mm")
    return [name for name in wanted if binding.get_host_cpu_features().get(name)]


HEAD = """# Who agrees with whom, bit by bit

`make conformance` writes this page, and ends with an error, leaving the page as it was, if a model differs in one logit
from a runtime that must agree. `make parity` compares fewer images, and random architectures.

An integer model is written as a file of another runtime by `minigrad.compression.export`, and both classify all
{images:,} test images. Each image has 10 int8 logits. They are compared one by one, and the tables count those that differ.
Ranges are taken from {calibration:,} training images.

A profile is a way of rounding a sum back to int8: "tflite" rounds twice, "single" once, "onnx" as float32 does.

The same models written as C99, by `to_c`, are compiled and compared by `make c-export`, in all three profiles, on the same
images; no logit differs there either (`results/c_export.json`).
"""

EVERY = """## Every logit

Columns name the runtime and, below, the profile in which our model runs. "integers" is an ONNX graph of ConvInteger,
MatMulInteger and int64 arithmetic, without a floating-point number; "QLinear" one of QLinearConv and QGemm, with int8
activations or with uint8 ones (u8); "QDQ" a float graph between QuantizeLinear and DequantizeLinear, which onnxruntime puts
together again. The padded network has padding, strides, groups, batch normalisation, ReLU6 and average pooling; float
runtimes round an average in their own way, so it is not compared with them.
"""

EACH = """## Each with each

The trained LeNet, {logits:,} logits. The last column is how many images are classified as labelled, by the largest int8
logit, the lowest index of equal ones. Where two logits differ, they do so by {largest} at most.

LiteRT's own kernels and its reference kernels are shown besides. They are meant to be as "tflite" is. The reference kernel
of linear layers multiplies by a float, though. LiteRT's own kernels round ties of negative numbers up, and in a linear layer
with one weight scale they round the product of two scales to float32; with that, each of their logits is accounted for.
"""


def page(figures: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    cases, matrix = figures["cases"], figures["matrix"]
    keys = [_key(runtime) for runtime in RUNTIMES]
    rows = [
        [
            name,
            f"{case['logits']:,}",
            *(f"{case['differences'][key]:,}" if key in case["differences"] else "–" for key in keys),
        ]
        for name, case in cases.items()
    ]
    head = ["model", "logits", *(f"{r.name}<br>{r.profile}" for r in RUNTIMES)]
    names, right = matrix["names"], matrix["right"]
    numbers = [str(number) for number in range(1, len(names) + 1)]
    square = [
        [number, name, *(_cell(matrix["differences"], name, other) for other in names), f"{right[name]:,}"]
        for number, name in zip(numbers, names, strict=True)
    ]
    about = [f"{name} {number}" for name, number in figures["versions"].items()]
    return "\n".join(
        [
            HEAD.format(**figures),
            EVERY,
            table(head, rows),
            EACH.format(logits=cases["LeNet, trained"]["logits"], largest=matrix["largest"]),
            table(["", "", *numbers, "right"], square),
            "## Where this was run\n",
            f"Processor: {figures['processor']}, with {', '.join(figures['features'])}.",
            f"Versions: {', '.join(about)}.\n",
            "On x86 without VNNI, onnxruntime's products of uint8 and int8 saturate, as its documentation says; u8 is left out",
            "there.",
            "",
        ]
    )


def _cell(differences: dict[str, int], a: str, b: str) -> str:
    return "" if a == b else f"{differences.get(f'{a} | {b}', differences.get(f'{b} | {a}')):,}"


if __name__ == "__main__":
    sys.exit(main())
