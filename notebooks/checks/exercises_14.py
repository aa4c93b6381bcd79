"""Notebook 14: take it away."""

import base64
import hashlib

from .checking import Task


def exercise_1():
    """Two buffers by turns."""
    sizes = [1_024, 8_192, 2_048, 4_096, 1_024, 100]
    first, second = max(sizes[::2]), max(sizes[1::2])
    return Task(
        (first, second),
        hint="Write down which buffer each array lies in. What was read may be overwritten.",
        stronger="1,024, 2,048 and 1,024 lie in the first, 8,192, 4,096 and 100 in the second.",
        mistakes=[
            ((second, first), "The order: the pixels lie in the first buffer, so the 8,192 go into the second."),
            ((second, second), "Each buffer needs only the largest of those arrays that lie in *it*."),
            ((sum(sizes[::2]), sum(sizes[1::2])), "By turns: what was read may be overwritten. Not the sum."),
        ],
    )


def exercise_2():
    """Seconds on a chip."""
    products = 16 * 8 * 8 * 6 * 5 * 5
    return Task(
        products * 44 / 16e6,
        hint="Count the multiplications of the layer; each takes 44 of 16 million cycles a second.",
        stronger="16 filters, at 8 · 8 places, of 6 · 5 · 5 products: 153,600 multiplications.",
        mistakes=[
            (products / 64 * 44 / 16e6, "Each weight is used at 8 × 8 places."),
            (products / 6 * 44 / 16e6, "A filter reaches over all 6 channels of its input."),
            (products / 16e6, "A multiplication takes 44 cycles."),
            (products * 44, "Those are cycles: divide by 16 million a second."),
        ],
    )


def exercise_3(field):
    """A field of a protocol buffer."""
    key, low, high = field
    number, value = key >> 3, (low & 127) + (high << 7)
    return Task(
        (number, value),
        hint="The key is 8 · number + kind. In the value each byte holds seven bits; the lowest come first.",
        stronger="40 = 8 · 5 + 0. The value is (0xE8 without its top bit) + 128 · 7.",
        mistakes=[
            ((key, value), "The key is 8 · number + kind: the lowest three bits are the kind."),
            ((number, low << 8 | high), "Seven bits a byte: the top bit only says that more follow."),
            ((number, ((low & 127) << 7) + high), "The lowest seven bits come first."),
            ((number, (low & 127) + high), "The second byte counts 128 times as much."),
        ],
    )


def exercise_4(text):
    """A policy's source for one script."""
    digest = hashlib.sha256(text.encode())

    def source(content):
        return f"'sha256-{base64.b64encode(content).decode()}'"

    right = source(digest.digest())
    return Task(
        right,
        hint="Text to bytes, SHA-256 of these, its 32 bytes in base64, as a text, with sha256- and quotes around it.",
        stronger="base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() goes between 'sha256- and '.",
        mistakes=[
            (f"'sha256-{digest.hexdigest()}'", "That is the digest in hexadecimal; the policy wants base64."),
            (source(digest.hexdigest().encode()), "base64 of the hexadecimal text: take digest(), not hexdigest()."),
            (source(text.encode()), "That is the text itself in base64: hash it first."),
            (right.strip("'"), "The single quotes belong to it."),
        ],
    )
