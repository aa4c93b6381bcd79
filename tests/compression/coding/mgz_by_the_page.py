"""A reader of .mgz files written from docs/format.md alone: plain Python, no NumPy, nothing of minigrad. It trusts the file."""

import json
import struct
import zlib
from itertools import product


class File:
    def __init__(self, content):
        self.content, self.at = content, 0

    def bytes(self, count):
        self.at += count
        return self.content[self.at - count : self.at]

    def number(self):
        value = place = 0
        while True:
            byte = self.bytes(1)[0]
            value += (byte % 128) << place
            place += 7
            if byte < 128:
                return value

    def floats(self, count):
        bits = self.bytes(1)[0]
        return list(struct.unpack(f"<{count}{'e' if bits == 16 else 'f'}", self.bytes(count * bits // 8)))

    def packed(self, count, bits):
        whole = int.from_bytes(self.bytes((count * bits + 7) // 8), "little")
        return [whole >> (i * bits) & (2**bits - 1) for i in range(count)]

    def stream(self, count):
        if width := self.number():
            return self.packed(count, width)
        lengths = self.packed(self.number(), 4)
        codes, code, before = {}, 0, 0
        for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
            code <<= length - before
            codes[f"{code:0{length}b}"], before = symbol, length
            code += 1
        bits = "".join(f"{byte:08b}"[::-1] for byte in self.bytes(self.number()))
        symbols, begin = [], 0
        for end in range(len(bits) + 1):
            if len(symbols) < count and bits[begin:end] in codes:
                symbols.append(codes[bits[begin:end]])
                begin = end
        return symbols


SETTINGS = {0: 11, 1: 2, 4: 6, 5: 6}


def read(content):
    """Return the metadata, the input's shape, and (kind, settings, name, flat weights, biases) of each layer."""
    assert content[:4] == b"MGZ\1"
    assert zlib.crc32(content[:-4]) == int.from_bytes(content[-4:], "little")
    file = File(content)
    file.bytes(4)
    shape = [file.number() for _ in range(file.number())]
    metadata = json.loads(file.bytes(file.number()) or b"{}")
    layers = [read_layer(file) for _ in range(file.number())]
    assert file.at == len(content) - 4
    return metadata, shape, layers


def read_layer(file):
    kind = file.number()
    settings = [file.number() for _ in range(SETTINGS.get(kind, 0))]
    if kind > 1:
        return kind, settings, None, None, None
    name = file.bytes(file.number()).decode("ascii")
    if kind == 0:
        inputs, outputs, rows, columns, *_, groups = settings
        shape = outputs, inputs // groups * rows * columns
    else:
        shape = settings[1], settings[0]
    weights = (read_floats, read_codebook, read_integers)[file.number()](file, *shape)
    return kind, settings, name, weights, file.floats(shape[0]) if file.number() else None


def read_floats(file, outputs, inputs):
    return file.floats(outputs * inputs)


def read_codebook(file, outputs, inputs):
    centroids = file.floats(file.number())
    order, entries, bits = file.number(), file.number(), file.number()
    gaps = file.stream(entries) if bits else [0] * entries
    listed = []
    for gap, value in zip(gaps, file.stream(entries), strict=True):
        listed += [0.0] * gap + [centroids[value] if value < len(centroids) else 0.0]
    listed += [0.0] * (outputs * inputs - len(listed))
    if order == 0:
        return listed
    return [listed[column * outputs + row] for row, column in product(range(outputs), range(inputs))]


def read_integers(file, outputs, inputs):
    bits, masked = file.number(), file.number()
    scales = file.floats(file.number())
    mask = file.packed(outputs * inputs, 1) if masked else [1] * (outputs * inputs)
    stored = iter(file.packed(sum(mask), bits))
    integers = [next(stored) if bit else 0 for bit in mask]
    signed = [q - 2**bits if q >= 2 ** (bits - 1) else q for q in integers]
    return [q * scales[i // inputs if len(scales) > 1 else 0] for i, q in enumerate(signed)]
