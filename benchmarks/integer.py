"""Time LeNet in integers on MNIST's 10,000 test images, in batches of 64, of 1,000 and of 1: beside onnxruntime's int8 and
float32, and beside our own float32 network, fused.

The integer model goes to onnxruntime in four forms, with quantized operators and as a float graph between QuantizeLinear and
DequantizeLinear, with signed and with unsigned activations; it is compared with the fastest of them. Our side gets uint8
images, onnxruntime what each form takes, normalised beforehand where that is float32. Batches of 1 are the first 500 images.
The plain kernel is timed as well: others take its place where the CPU has AVX512-VNNI, one for a few images, one for more.
"""

import statistics
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from common import check_same, main, make_parser, rotate, use_threads

FORMS = [(form, dtype) for form in ("qlinear", "qdq") for dtype in ("int8", "uint8")]

Work = Callable[[], Any]


def sessions(model: Any, float_model: Any, threads: int) -> dict[str, tuple[Any, Any]]:
    """Return for each of onnxruntime's sides its session and the 10,000 images as it takes them."""
    import numpy as np
    import onnxruntime
    from inference import lenet_as_onnx

    from minigrad.compression.export import to_onnx
    from minigrad.datasets import mnist

    test = mnist("test")
    as_int8 = (test.pixels[:, None].astype(np.int16) - 128).astype(np.int8)
    files = {f"{form} {dtype}": to_onnx(model, form, activations=dtype) for form, dtype in FORMS}
    files["float"] = lenet_as_onnx(float_model).SerializeToString()
    images = {"int8": as_int8, "uint8": test.pixels[:, None], "float": test.images}
    made = {}
    for name, content in files.items():
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
        settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        if name == "qdq int8":
            settings.add_session_config_entry("session.qdqisint8allowed", "1")
        session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
        made[name] = (session, images[name.split()[-1]])
    return made


def in_batches(run: Callable[[Any], Any], images: Any, size: int) -> Work:
    """Return the work of running all images, or 500 one by one."""
    batches = [images[start : start + size] for start in range(0, 500 if size == 1 else len(images), size)]
    return lambda: [run(batch) for batch in batches]


def measure(options: Namespace) -> dict:
    import numpy as np

    import minigrad
    from minigrad.compression.integer import to_integer
    from minigrad.compression.integer.engine import plain_kernel
    from minigrad.compression.models import trained_lenet
    from minigrad.datasets import mnist

    use_threads(options.threads)
    float_model = trained_lenet().eval()
    model = to_integer(float_model, mnist("train").pixels[:1000])
    pixels, images = mnist("test").pixels, mnist("test").images
    theirs = sessions(model, float_model, options.threads)

    def plain(batch: Any) -> Any:
        with plain_kernel():
            return model.logits(batch)

    def ours_float(batch: Any) -> Any:
        with minigrad.no_grad(), minigrad.functional.fusion():
            return float_model(batch).data

    measured: dict[str, Any] = {}
    for size in (64, 1000, 1):
        sides = {"ours": in_batches(model.logits, pixels, size), "plain": in_batches(plain, pixels, size)}
        sides["ours float"] = in_batches(ours_float, images, size)
        for name, (session, given) in theirs.items():
            key = session.get_inputs()[0].name
            sides[name] = in_batches(lambda x, s=session, k=key: s.run(None, {k: x})[0], given, size)
        found = {name: np.concatenate(work()) for name, work in sides.items()}
        check_same(f"plain, batch {size}", found["ours"], found["plain"], 0, 0)
        for form, dtype in FORMS:  # they round in float32: a step more or less, now and then
            logits = found[f"{form} {dtype}"].astype(np.int16) - (128 if dtype == "uint8" else 0)
            agree = (logits.argmax(axis=1) == found["ours"].argmax(axis=1)).mean()
            check_same(f"{form} {dtype}, batch {size}: share of equal classes", agree, 1.0, 0, 0.01)
        seconds = rotate(sides, options.rounds, calls=1)
        fastest = min((f"{form} {dtype}" for form, dtype in FORMS), key=lambda name: statistics.median(seconds[name]))
        print(
            f"batch {size}: " + ", ".join(f"{name} {1000 * statistics.median(s):.1f} ms" for name, s in seconds.items())
        )
        pairs = {"int8": ("ours", fastest), "float": ("ours", "ours float"), "onnx": ("ours", "float")}
        pairs["plain"] = ("plain", "ours float")
        for key, (mine, other) in pairs.items():
            if size > 1 or key == "int8":
                measured[f"integer_{key}_{size}"] = {"ours": seconds[mine], "theirs": seconds[other]}
    return measured


if __name__ == "__main__":
    main(measure, make_parser(__doc__, rounds=7))
