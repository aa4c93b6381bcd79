"""Models in the forms of other runtimes: .tflite and ONNX files, C, a web page, PyTorch's weights.

The writers are complete in themselves: no TensorFlow, no onnx package, and the same model gives the same bytes. What is in
a file is written down in `tflite_graph.py` and `onnx_graph.py`; how a file is made of it, in `flatbuffer.py` and
`protobuf.py`. C needs nothing but a compiler: `c_layers.py`, `c_text.py`.
"""

from .c import CSource, to_c
from .html import to_html
from .onnx import to_onnx
from .onnx_float import to_onnx_float32
from .pytorch import compare, from_pytorch, read_pytorch, suggest, to_pytorch
from .tflite import to_tflite, to_tflite_float16, to_tflite_float32

__all__ = [
    "CSource", "compare", "from_pytorch", "read_pytorch", "suggest", "to_c", "to_html", "to_onnx", "to_onnx_float32",
    "to_pytorch", "to_tflite", "to_tflite_float16", "to_tflite_float32",
]  # fmt: skip
