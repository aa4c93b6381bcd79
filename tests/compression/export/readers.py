"""Small readers of FlatBuffers and protocol buffers, written from the formats' descriptions; they share no line with the
writers."""

import struct

import numpy as np


class Record:
    """A FlatBuffers table at a place in a file; fields go by their slot."""

    def __init__(self, data, at):
        self.data, self.at = data, at
        self.vtable = at - struct.unpack_from("<i", data, at)[0]

    @classmethod
    def root(cls, data):
        return cls(data, struct.unpack_from("<I", data)[0])

    def place(self, slot):
        """Where the field is, None if it is left out."""
        (size,) = struct.unpack_from("<H", self.data, self.vtable)
        entry = 4 + 2 * slot
        offset = struct.unpack_from("<H", self.data, self.vtable + entry)[0] if entry < size else 0
        return self.at + offset if offset else None

    def scalar(self, slot, dtype, default=0):
        place = self.place(slot)
        return default if place is None else np.frombuffer(self.data, dtype, 1, place)[0].item()

    def target(self, slot):
        """Where what the field refers to begins."""
        return _follow(self.data, self.place(slot))

    def record(self, slot):
        return Record(self.data, self.target(slot))

    def vector(self, slot, dtype):
        if self.place(slot) is None:
            return None
        at = self.target(slot)
        return np.frombuffer(self.data, dtype, struct.unpack_from("<I", self.data, at)[0], at + 4)

    def text(self, slot):
        text = self.vector(slot, np.uint8).tobytes()
        assert self.data[self.target(slot) + 4 + len(text)] == 0
        return text.decode()

    def records(self, slot):
        at = self.target(slot)
        count = struct.unpack_from("<I", self.data, at)[0]
        return [Record(self.data, _follow(self.data, at + 4 + 4 * index)) for index in range(count)]


def _follow(data, place):
    return place + struct.unpack_from("<I", data, place)[0]


def read_message(data):
    """Return a protocol buffers message as {number: [values in order]}, an int or bytes each."""
    fields, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        value, at = read_varint(data, at)
        if key & 7 == 2:
            assert at + value <= len(data), "a field is longer than its message"
            value, at = data[at : at + value], at + value
        else:
            assert key & 7 == 0, f"kind {key & 7} of field {key >> 3}"
        fields.setdefault(key >> 3, []).append(value)
    return fields


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
