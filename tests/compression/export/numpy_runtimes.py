"""Runs int8 .tflite files, and ONNX files of integers or floats, in NumPy, from what is written in them alone: opcodes,
constants, scales.

Slow and plain; a stand-in for the runtimes where these are not installed. No line is shared with the writers.
"""

import math

import numpy as np

from tests.compression.export.readers import Record, read_message

TFLITE_TYPES = {0: "<f4", 1: "<f2", 2: "<i4", 9: "<i1"}
ONNX_TYPES = {1: "<f4", 2: "<u1", 3: "<i1", 6: "<i4", 7: "<i8"}


def windows(x, kernel, stride, dilation=(1, 1)):
    """(N, C, H, W) -> (N, C, OH, OW, KH, KW)"""
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, reach, (2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def conv(x, w, stride, dilation, groups):
    """x: int64 (N, C, H, W), padded   w: int64 (F, C / groups, KH, KW)   returns (N, F, OH, OW)"""
    parts = zip(np.split(x, groups, 1), np.split(w, groups), strict=True)
    sums = [np.einsum("nchwij,fcij->nfhw", windows(a, w.shape[2:], stride, dilation), b) for a, b in parts]
    return np.concatenate(sums, axis=1)


def half_away(x, divisor):
    return np.sign(x) * ((abs(x) + divisor // 2) // divisor)


class TfliteTensor:
    def __init__(self, record, buffers):
        self.shape, self.dtype = record.vector(0, "<i4").tolist(), TFLITE_TYPES[record.scalar(1, "<i1")]
        self.name, data = record.text(3), buffers[record.scalar(2, "<u4")].vector(0, np.uint8)
        self.values = None if data is None else data.view(self.dtype).reshape(self.shape)
        if record.place(4) is not None:
            about = record.record(4)
            self.scale, self.zero = about.vector(2, "<f4"), about.vector(3, "<i8")
            self.axis = about.scalar(6, "<i4")


class TfliteOperator:
    def __init__(self, record, codes):
        code = codes[record.scalar(0, "<u4")]
        self.code, self.version = code.scalar(3, "<i4"), code.scalar(2, "<i4", 1)
        assert code.scalar(0, "<i1") == self.code
        self.inputs, self.outputs = record.vector(1, "<i4").tolist(), record.vector(2, "<i4").tolist()
        self.kind = record.scalar(3, "<u1")
        self.options = record.record(4) if record.place(4) is not None else None


class TfliteFile:
    """A .tflite file, read; `run` computes int8 files."""

    def __init__(self, data):
        assert data[4:8] == b"TFL3"
        root = Record.root(data)
        assert root.scalar(0, "<u4") == 3
        (graph,) = root.records(2)
        buffers = root.records(4)
        assert buffers[0].place(0) is None
        self.tensors = [TfliteTensor(record, buffers) for record in graph.records(0)]
        self.operators = [TfliteOperator(record, root.records(1)) for record in graph.records(3)]
        self.inputs, self.outputs = graph.vector(1, "<i4").tolist(), graph.vector(2, "<i4").tolist()

    def run(self, x):
        """int8 (N, H, W, C) of the file's N -> int8"""
        values = {self.inputs[0]: x}
        for op in self.operators:
            constants = [self.tensors[i] for i in op.inputs[1:]]
            source, target = self.tensors[op.inputs[0]], self.tensors[op.outputs[0]]
            read = values[op.inputs[0]].astype(np.int64)
            out = RUN[op.code](op, read, source, target, *constants)
            assert out.shape == tuple(target.shape), target.name
            values[op.outputs[0]] = out.astype(np.int8)
        return values[self.outputs[0]]


def _activation(number, target, q):
    low, high = -128, 127
    if number in (1, 3):
        low = max(low, target.zero[0])
    if number == 3:
        high = min(high, math.floor(np.float32(6) / target.scale[0] + 0.5) + target.zero[0])
    return np.clip(q, low, high)


def _requantize(acc, product, target):
    """Double rounding, from float64 multipliers; acc: (N, F, ...)"""
    out = np.empty_like(acc)
    for f in range(acc.shape[1]):
        fraction, shift = math.frexp(float(product[f % len(product)]) / float(target.scale[0]))
        q = math.floor(fraction * 2**31 + 0.5)
        high = ((acc[:, f] << max(shift, 0)) * q + 2**30) >> 31
        out[:, f] = half_away(high, 1 << max(-shift, 0))
    return out + target.zero[0]


def _same(x, reach, stride, fill):
    """Pad as SAME does; x: (N, C, H, W)"""
    pads = [(0, 0), (0, 0)]
    for n, k, s in zip(x.shape[2:], reach, stride, strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, pads, constant_values=fill)


def _conv_2d(op, x, source, target, weight, bias):
    assert (op.version, op.kind, weight.axis, bias.zero.any(), weight.zero.any()) == (3, 1, 0, False, False)
    assert np.array_equal(bias.scale, source.scale * weight.scale)
    padding, act = (op.options.scalar(slot, "<i1") for slot in (0, 3))
    across, down, d_across, d_down = (op.options.scalar(slot, "<i4") for slot in (1, 2, 4, 5))
    x, w = (x - source.zero[0]).transpose(0, 3, 1, 2), weight.values.astype(np.int64).transpose(0, 3, 1, 2)
    if padding == 0:
        reach = [d * (k - 1) + 1 for k, d in zip(w.shape[2:], (d_down, d_across), strict=True)]
        x = _same(x, reach, (down, across), 0)
    acc = conv(x, w, (down, across), (d_down, d_across), x.shape[1] // w.shape[1]) + bias.values[:, None, None]
    q = _requantize(acc, source.scale.astype(np.float64) * weight.scale.astype(np.float64), target)
    return _activation(act, target, q).transpose(0, 2, 3, 1)


def _fully_connected(op, x, source, target, weight, bias):
    per_channel = len(weight.scale) > 1
    assert (op.version, op.kind, weight.axis, weight.zero.any()) == (12 if per_channel else 4, 8, 0, False)
    acc = (x - source.zero[0]) @ weight.values.T.astype(np.int64) + bias.values
    product = source.scale.astype(np.float64) * weight.scale if per_channel else source.scale * weight.scale
    return _activation(op.options.scalar(0, "<i1"), target, _requantize(acc, product, target))


def _pool(op, x, source, target):
    assert (op.version, op.kind) == (2, 5)
    assert (source.scale, source.zero) == (target.scale, target.zero)
    padding, act = (op.options.scalar(slot, "<i1") for slot in (0, 5))
    across, down, columns, rows = (op.options.scalar(slot, "<i4") for slot in (1, 2, 3, 4))
    x = x.transpose(0, 3, 1, 2)
    if padding == 0:
        x = _same(x, (rows, columns), (down, across), -128)
        assert op.code == 17, "SAME leaves the border out of a mean"
    seen = windows(x, (rows, columns), (down, across))
    q = seen.max((4, 5)) if op.code == 17 else half_away(seen.sum((4, 5)), rows * columns)
    return _activation(act, target, q).transpose(0, 2, 3, 1)


def _reshape(op, x, source, target, shape):
    assert (op.version, op.kind) == (1, 17)
    assert op.options.vector(0, "<i4").tolist() == shape.values.tolist()
    return x.reshape(shape.values)


def _pad(op, x, source, target, amounts, fill):
    assert (op.version, op.kind) == (2, 43)
    assert (fill.scale, fill.zero, source.scale, source.zero) == (target.scale, target.zero) * 2
    return np.pad(x, amounts.values, constant_values=fill.values[0])


RUN = {1: _pool, 3: _conv_2d, 9: _fully_connected, 17: _pool, 22: _reshape, 60: _pad}


class OnnxFile:
    """An ONNX file, read; `run` computes those of the form "integer", and float ones."""

    def __init__(self, data):
        model = read_message(data)
        graph = read_message(model[7][0])
        self.opsets = {m.get(1, [b""])[0].decode(): m[2][0] for m in map(read_message, model[8])}
        self.nodes = [self._node(read_message(node)) for node in graph[1]]
        self.initializers = dict(self._constant(read_message(tensor)) for tensor in graph[5])
        self.input, self.output = self._value(graph[11][0]), self._value(graph[12][0])

    @staticmethod
    def _node(fields):
        attributes = {}
        for attribute in map(read_message, fields.get(5, [])):
            number = attribute[20][0]
            attributes[attribute[1][0].decode()] = attribute[3][0] if number == 2 else attribute.get(8, [])
        names = [[name.decode() for name in fields[number]] for number in (1, 2)]
        return fields[4][0].decode(), *names, attributes

    @staticmethod
    def _constant(fields):
        array = np.frombuffer(fields[9][0], ONNX_TYPES[fields[2][0]]).reshape(fields.get(1, []))
        return fields[8][0].decode(), array

    @staticmethod
    def _value(data):
        """name, dtype and shape behind the batch axis"""
        fields = read_message(data)
        tensor = read_message(read_message(fields[2][0])[1][0])
        axes = [read_message(axis) for axis in read_message(tensor[2][0])[1]]
        assert axes[0] == {2: [b"N"]}
        return fields[1][0].decode(), ONNX_TYPES[tensor[1][0]], [axis[1][0] for axis in axes[1:]]

    def run(self, x):
        values = {**self.initializers, self.input[0]: x}
        for op, inputs, outputs, attributes in self.nodes:
            values[outputs[0]] = ONNX_RUN[op](attributes, *(values[name] for name in inputs))
        return values[self.output[0]]


def _conv_integer(a, x, w, x_zero, w_zero):
    x = x.astype(np.int64) - x_zero
    if a.get("pads"):
        top, left, bottom, right = a["pads"]
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    return conv(x, w.astype(np.int64) - w_zero, a["strides"], a.get("dilations", (1, 1)), a["group"]).astype(np.int32)


def _bordered(a, x, fill):
    top, left, bottom, right = a["pads"]
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)


def _conv(a, x, w, b=None):
    assert a["kernel_shape"] == list(w.shape[2:])
    y = conv(_bordered(a, x, 0), w, a["strides"], a["dilations"], a["group"])
    return y if b is None else y + b[:, None, None]


def _gemm(a, x, w, b=0):
    assert (a["transB"], x.ndim) == (1, 2)
    return x @ w.T + b


def _average_pool(a, x):
    assert a["count_include_pad"] == 1
    return windows(_bordered(a, x, 0), a["kernel_shape"], a["strides"]).mean((4, 5))


def _max_pool(a, x):
    x = _bordered(a, x, -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min)
    return windows(x, a["kernel_shape"], a["strides"]).max((4, 5))


def _divide(a, x, divisor):
    """Cuts towards zero; wraps around are noticed."""
    assert x.dtype == divisor.dtype == np.int64
    return np.sign(x) * (np.abs(x) // divisor)


def _exact(function):
    """Compute in Python's integers, and fail where int64 would wrap around."""

    def run(a, x, y):
        assert x.dtype == y.dtype == np.int64
        exact = function(x.astype(object), y.astype(object))
        assert (np.abs(exact) < 2**63).all()
        return exact.astype(np.int64)

    return run


ONNX_RUN = {
    "Identity": lambda a, x: x,
    "Flatten": lambda a, x: x.reshape(len(x), -1),
    "Conv": _conv,
    "Gemm": _gemm,
    "Relu": lambda a, x: np.maximum(x, 0),
    "AveragePool": _average_pool,
    "ConvInteger": _conv_integer,
    "MatMulInteger": lambda a, x, w, xz, wz: ((x.astype(np.int64) - xz) @ (w.astype(np.int64) - wz)).astype(np.int32),
    "MaxPool": _max_pool,
    "Cast": lambda a, x: x.astype(ONNX_TYPES[a["to"]]),
    "Add": _exact(lambda x, y: x + y),
    "Sub": _exact(lambda x, y: x - y),
    "Mul": _exact(lambda x, y: x * y),
    "Div": _divide,
    "Sign": lambda a, x: np.sign(x),
    "Clip": lambda a, x, low, high: np.clip(x, low, high),
    "Pad": lambda a, x, pads, fill: np.pad(x, list(zip(*np.split(pads, 2), strict=True)), constant_values=fill),
}
