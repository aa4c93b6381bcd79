"""Models in the forms of other runtimes: .tflite and ONNX files, C, and a web page.

The writers are complete in themselves: no TensorFlow, no onnx package, and the same model gives the same bytes. What is in
a file is written down in `tflite_graph.py` and `onnx_graph.py`; how a file is made of it, in `flatbuffer.py` and
`protobuf.py`. C needs nothing but a compiler: `c_layers.py`, `c_text.py`.
"""

from .c import CSource, to_c
from .html import to_html
from .onnx import to_onnx
from .tflite import to_tflite, to_tflite_float16

__all__ = ["CSource", "to_c", "to_html", "to_onnx", "to_tflite", "to_tflite_float16"]
