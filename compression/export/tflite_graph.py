"""The tables of a .tflite file, and a graph of them that grows operator by operator.

A model holds buffers of bytes (constants), tensors that point at them, and operators that read tensors and write tensors.
Images are (N, H, W, C) there, and filters (F, KH, KW, C / groups).

Source:
    TensorFlow Lite's schema, version 3: tensorflow/lite/schema/schema.fbs. Fields behind the last one used are left out here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minigrad.tape import Array

from .flatbuffer import Table, layout, table, to_bytes

MODEL = layout("Model", "version:uint32 operator_codes subgraphs description buffers")
OPERATOR_CODE = layout("OperatorCode", "deprecated_builtin_code:int8 custom_code version:int32 builtin_code:int32")
SUBGRAPH = layout("SubGraph", "tensors inputs outputs operators name")
TENSOR = layout("Tensor", "shape type:int8 buffer:uint32 name quantization")
QUANTIZATION = layout(
    "QuantizationParameters", "min max scale zero_point details_type:uint8 details quantized_dimension:int32"
)
OPERATOR = layout("Operator", "opcode_index:uint32 inputs outputs builtin_options_type:uint8 builtin_options")
BUFFER = layout("Buffer", "data")

CONV_2D_OPTIONS = layout(
    "Conv2DOptions",
    "padding:int8 stride_w:int32 stride_h:int32 fused_activation_function:int8 "
    "dilation_w_factor:int32 dilation_h_factor:int32",
)
POOL_2D_OPTIONS = layout(
    "Pool2DOptions",
    "padding:int8 stride_w:int32 stride_h:int32 filter_width:int32 filter_height:int32 fused_activation_function:int8",
)
FULLY_CONNECTED_OPTIONS = layout("FullyConnectedOptions", "fused_activation_function:int8 weights_format:int8")
RESHAPE_OPTIONS = layout("ReshapeOptions", "new_shape")
PAD_OPTIONS, PADV2_OPTIONS = layout("PadOptions", ""), layout("PadV2Options", "")
DEQUANTIZE_OPTIONS = layout("DequantizeOptions", "")

OPTION_TYPES = {
    CONV_2D_OPTIONS.name: 1, POOL_2D_OPTIONS.name: 5, FULLY_CONNECTED_OPTIONS.name: 8, RESHAPE_OPTIONS.name: 17,
    PAD_OPTIONS.name: 22, DEQUANTIZE_OPTIONS.name: 38, PADV2_OPTIONS.name: 43,
}  # fmt: skip
"""The schema's number for each kind of options."""

BUILTIN = {
    "AVERAGE_POOL_2D": 1, "CONV_2D": 3, "DEQUANTIZE": 6, "FULLY_CONNECTED": 9, "MAX_POOL_2D": 17, "RELU": 19, "RELU6": 21,
    "RESHAPE": 22, "PAD": 34, "PADV2": 60,
}  # fmt: skip
"""The schema's number for each operator."""

TYPES = {"float32": 0, "float16": 1, "int32": 2, "int8": 9}
SAME, VALID = 0, 1
ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU6": 3}


class Quantization(NamedTuple):
    """r = scale (q - zero_point): one scale (1,), or one for each index of an axis."""

    scale: Array
    zero_point: int = 0
    axis: int = 0

    def table(self) -> Table:
        """Return it as the file has it: as many zero points as scales."""
        scale = np.atleast_1d(np.asarray(self.scale, np.float32))
        zeros = np.full(scale.shape, self.zero_point, np.int64)
        return table(QUANTIZATION, scale=scale, zero_point=zeros, quantized_dimension=self.axis)


class Graph:
    """Tensors and operators of one .tflite file. A tensor is its number."""

    def __init__(self, description: str):
        self.description = description
        self.shapes: list[tuple[int, ...]] = []
        self._tensors: list[Table] = []
        self._buffers = [table(BUFFER)]  # buffer 0 is empty by convention: a tensor of it is no constant
        self._codes: dict[tuple[str, int], int] = {}
        self._operators: list[Table] = []

    def tensor(
        self, name: str, shape: Sequence[int], dtype: str, quantization: Quantization | None = None, buffer: int = 0
    ) -> int:
        """Add a tensor and return its number."""
        about = {} if quantization is None else {"quantization": quantization.table()}
        shaped = np.array(shape, np.int32)
        self._tensors.append(table(TENSOR, shape=shaped, type=TYPES[dtype], buffer=buffer, name=name, **about))
        self.shapes.append(tuple(shape))
        return len(self._tensors) - 1

    def constant(self, name: str, values: Array, quantization: Quantization | None = None) -> int:
        """Add a tensor that holds values and return its number."""
        data = values.astype(values.dtype.newbyteorder("<")).tobytes()
        self._buffers.append(table(BUFFER, data=np.frombuffer(data, np.uint8)))
        return self.tensor(name, values.shape, values.dtype.name, quantization, len(self._buffers) - 1)

    def operator(self, op: str, version: int, inputs: Sequence[int], output: int, options: Table | None = None) -> int:
        """Add an operator that writes the tensor `output`, and return `output`."""
        code = self._codes.setdefault((op, version), len(self._codes))
        chosen = {}
        if options is not None:
            chosen = {"builtin_options_type": OPTION_TYPES[options.layout.name], "builtin_options": options}
        numbers = {"inputs": np.array(inputs, np.int32), "outputs": np.array([output], np.int32)}
        self._operators.append(table(OPERATOR, opcode_index=code, **numbers, **chosen))
        return output

    def to_bytes(self, input: int, output: int) -> bytes:
        """Return the file: one graph from `input` to `output`."""
        ends = {"inputs": np.array([input], np.int32), "outputs": np.array([output], np.int32)}
        graph = table(SUBGRAPH, tensors=self._tensors, operators=self._operators, name="main", **ends)
        codes = [
            table(OPERATOR_CODE, deprecated_builtin_code=BUILTIN[op], version=version, builtin_code=BUILTIN[op])
            for op, version in self._codes
        ]
        parts = {"operator_codes": codes, "subgraphs": [graph], "buffers": self._buffers}
        return to_bytes(table(MODEL, version=3, description=self.description, **parts), b"TFL3")
