"""Protocol buffers, as far as an ONNX file needs them: a message is its fields one after the other, and nothing else.

A field is a key and a value. The key is 8 * number + kind, kind 0 for an integer and 2 for bytes that begin with their
length: strings, packed arrays, and messages inside the message. An integer is written 7 bits a byte, the lowest first, and
every byte but the last has its top bit set. A repeated field comes several times. What a number means is in the schema
alone; a reader skips numbers it does not know.

Source:
    https://protobuf.dev/programming-guides/encoding
"""

from typing import TypeAlias

Field: TypeAlias = "int | str | bytes | list[int] | list[str] | list[bytes]"


def varint(value: int) -> bytes:
    """Return an integer of up to 64 bits, 7 bits a byte; a negative one as the 64 bits of its two's complement.

    Example:
        >>> varint(300).hex()
        'ac02'
    """
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError(f"protobuf: {value} has more than 64 bits")
    value, out = value & (1 << 64) - 1, bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(fields: dict[int, Field]) -> bytes:
    """Return a message.

    Args:
        fields: by number. An int, a str, bytes (a message among them), or a list of them: a repeated field.

    Example:
        >>> message({1: 150, 2: "hi", 3: [1, 2]}).hex()
        '0896011202686918011802'
    """
    out = bytearray()
    for number, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int):
                out += varint(number << 3) + varint(item)
            else:
                data = item.encode() if isinstance(item, str) else item
                out += varint(number << 3 | 2) + varint(len(data)) + data
    return bytes(out)
