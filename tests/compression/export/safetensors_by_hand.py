"""Safetensors files, written from the format's description: what no library would write can be written, too."""

import json
import struct


def as_file(arrays):
    """Return a safetensors file of {name: (dtype, shape, bytes)}, from the format's description."""
    header, data = {}, b""
    for name, (dtype, shape, content) in arrays.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data
