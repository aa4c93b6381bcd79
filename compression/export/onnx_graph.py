"""The messages of an ONNX file, and a graph of them that grows node by node.

A model holds a graph; a graph holds nodes, which name what they read and write, and initializers, which are constants by
name. Images are (N, C, H, W) and filters (F, C / groups, KH, KW), as here.

Source:
    onnx.proto3 of ONNX, which gives each field its number.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .protobuf import message

IR_VERSION, OPSET = 8, 13  # of 2022 and 2020: old enough for any runtime in use
CONTRIB = "com.microsoft"
"""Domain of onnxruntime's own operators."""

TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}
INT, INTS = 2, 7  # kinds of attributes


class Graph:
    """Nodes and constants of one ONNX file. A tensor is its name.

    Attributes:
        initializers: dtype of each constant, by name.
    """

    def __init__(self) -> None:
        self.initializers: dict[str, str] = {}
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._domains = {"": OPSET}

    def constant(self, name: str, values: Any, dtype: str) -> str:
        """Add a constant and return its name; one of that name is taken to be the same."""
        if name not in self.initializers:
            self.initializers[name] = dtype
            array = np.asarray(values, np.dtype(dtype).newbyteorder("<"))
            fields = {1: [int(n) for n in array.shape], 2: TYPES[dtype], 8: name, 9: array.tobytes()}
            self._constants.append(message(fields))
        return name

    def node(
        self, op: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: int | Sequence[int]
    ) -> str:
        """Add a node that writes the tensor `output`, and return `output`."""
        if domain:
            self._domains[domain] = 1
        about = [_attribute(name, value) for name, value in attributes.items()]
        self._nodes.append(message({1: list(inputs), 2: [output], 3: output, 4: op, 5: about, 7: domain}))
        return output

    def to_bytes(self, input: tuple[str, str, Sequence[int]], output: tuple[str, str, Sequence[int]]) -> bytes:
        """Return the file. `input` and `output` are name, dtype and the shape behind the batch axis, whose length is free."""
        graph = {1: self._nodes, 2: "main", 5: self._constants, 11: [_value(*input)], 12: [_value(*output)]}
        versions = [message({1: domain, 2: version}) for domain, version in self._domains.items()]
        return message({1: IR_VERSION, 2: "minigrad", 7: message(graph), 8: versions})


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return message({1: name, 3: value, 20: INT})
    return message({1: name, 8: [int(v) for v in value], 20: INTS})


def _value(name: str, dtype: str, shape: Sequence[int]) -> bytes:
    """Return the description of an input or output."""
    axes = [message({2: "N"}), *(message({1: int(n)}) for n in shape)]
    tensor = message({1: TYPES[dtype], 2: message({1: axes})})
    return message({1: name, 2: message({1: tensor})})
