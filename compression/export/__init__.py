"""Models in the file formats of other runtimes: .tflite and ONNX.

Both writers are complete in themselves: no TensorFlow, no onnx package, and the same model gives the same bytes. What is in
a file is written down in `tflite_graph.py` and `onnx_graph.py`; how a file is made of it, in `flatbuffer.py` and
`protobuf.py`.
"""

from .onnx import to_onnx
from .tflite import to_tflite, to_tflite_float16

__all__ = ["to_onnx", "to_tflite", "to_tflite_float16"]
