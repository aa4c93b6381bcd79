"""Time the trained LeNet on MNIST's 10,000 test images, in batches of 64 and of 1,000, here and in onnxruntime (float32).

Both sides get the same plain arrays (N, 1, 28, 28); turning them batch-innermost is part of our time. The ONNX file is
built here, in a temporary folder. A session of onnxruntime is a graph read and shortened once, and so is a frozen model: that
is what the rows compare. What the model takes as it is, layer by layer, is printed above.
"""

from argparse import Namespace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from common import check_same, main, make_parser, rotate, use_threads


def lenet_as_onnx(model: Any) -> Any:
    """Write LeNet down as an ONNX model: x (N, 1, 28, 28) -> logits (N, 10), float32."""
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes, last = [], "x"

    def add(op: str, *weights: str, **settings: Any) -> None:
        nonlocal last
        name = f"{op}{len(nodes)}"
        nodes.append(helper.make_node(op, [last, *weights], [name], name=name, **settings))
        last = name

    for layer in ("conv1", "conv2"):
        add("Conv", f"{layer}.weight", f"{layer}.bias", kernel_shape=[5, 5])
        add("Relu")
        add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    add("Flatten")
    for layer in ("fc1", "fc2", "fc3"):
        add("Gemm", f"{layer}.weight", f"{layer}.bias", transB=1)
        if layer != "fc3":
            add("Relu")
    graph = helper.make_graph(
        nodes,
        "LeNet",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(array, name) for name, array in model.state_dict().items()],
    )
    # An opset and a file version that every onnxruntime of the last years reads.
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(built)
    return built


def measure(options: Namespace) -> dict:
    import numpy as np
    import onnx
    import onnxruntime

    import minigrad
    from minigrad.compression.models import trained_lenet
    from minigrad.datasets import mnist

    use_threads(options.threads)
    model = trained_lenet().eval()
    frozen = minigrad.freeze(model)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = options.threads, 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    with TemporaryDirectory() as folder:
        file = Path(folder) / "lenet.onnx"
        onnx.save(lenet_as_onnx(model), str(file))
        session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    images = mnist("test").images

    def ours(model: Any, batches: list) -> list:
        with minigrad.no_grad(), minigrad.functional.fusion():
            return [model(x).data for x in batches]

    def theirs(batches: list) -> list:
        return [session.run(None, {"x": x})[0] for x in batches]

    found = {}
    for size in (64, 1000):
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        check_same(f"batch {size}", np.concatenate(ours(frozen, batches)), np.concatenate(theirs(batches)), atol=1e-3)
        sides = {
            "frozen": partial(ours, frozen, batches),
            "not frozen": partial(ours, model, batches),
            "onnxruntime": partial(theirs, batches),
        }
        seconds = rotate(sides, options.rounds, calls=3)
        medians = (f"{name} {1e3 * median(times):.0f}" for name, times in seconds.items())
        print(f"  batch {size}, ms: {', '.join(medians)}", flush=True)
        found[f"inference_{size}"] = {"ours": seconds["frozen"], "theirs": seconds["onnxruntime"]}
    return found


if __name__ == "__main__":
    main(measure, make_parser(__doc__, rounds=7))
