"""Other runtimes, each as a function from a file and int8 images to int8 results.

None of them shares code with this project, nor with each other where the names differ.
"""

import numpy as np
from llvmlite import binding

BATCH = 50
"""Images a run of a .tflite file, whose batch is fixed."""


def batches(images, batch=BATCH):
    """Return images (N, C, H, W) as (N, H, W, C), in batches; the last is filled up with its first image."""
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    parts = [channels_last[start : start + batch] for start in range(0, len(images), batch)]
    parts[-1] = np.concatenate([parts[-1], parts[-1][:1].repeat(batch - len(parts[-1]), axis=0)])
    return parts


def saturates():
    """Tell whether onnxruntime's products of uint8 and int8 saturate here: they do on x86 without VNNI."""
    features = binding.get_host_cpu_features()
    return bool(features.get("sse2")) and not (features.get("avx512vnni") or features.get("avxvnni"))


def tflite_micro(data, images, batch=BATCH):
    """TensorFlow Lite Micro's reference kernels.

    data: a .tflite file of that batch   images: int8 (N, C, H, W)   returns int8 (N, classes)
    """
    from tflite_micro import runtime

    largest = 16 * images[0].size * batch + 500_000  # bytes for all activations at once
    interpreter = runtime.Interpreter.from_bytes(data, arena_size=largest)
    results = []
    for part in batches(images, batch):
        interpreter.set_input(part, 0)
        interpreter.invoke()
        results.append(interpreter.get_output(0).copy())
    return np.concatenate(results)[: len(images)]


def litert(data, images, kernels="AUTO", batch=BATCH):
    """LiteRT: kernels "AUTO" (XNNPACK), "BUILTIN_WITHOUT_DEFAULT_DELEGATES" (its own fast ones) or "BUILTIN_REF"."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    settings = {"experimental_op_resolver_type": OpResolverType[kernels], "num_threads": 1}
    interpreter = Interpreter(model_content=data, **settings)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    results = []
    for part in batches(images, batch):
        interpreter.set_tensor(source["index"], part)
        interpreter.invoke()
        results.append(interpreter.get_tensor(target["index"]).copy())
    return np.concatenate(results)[: len(images)]


def onnxruntime(data, images):
    """onnxruntime on the CPU; files with uint8 activations get the pixels, and their results are moved back to int8."""
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # Without it, onnxruntime leaves an int8 QDQ graph in floats on x86, whose sums round.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    lifted = source.type == "tensor(uint8)"
    x = images.view(np.uint8) ^ 128 if lifted else images
    out = np.concatenate([session.run(None, {source.name: x[i : i + 1000]})[0] for i in range(0, len(x), 1000)])
    return (out ^ 128).view(np.int8) if lifted else out
