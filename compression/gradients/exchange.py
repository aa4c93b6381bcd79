"""Compressed gradients between the processes of a team."""

from typing import Any

from minigrad.parallel import Exchange
from minigrad.tensor import Array

from .compressor import Compressor

LENGTH = 4
"""Bytes that say how long a message is."""


class CompressedExchange(Exchange):
    """Every process sends its share of each gradient through its own `Compressor`, and decompresses everybody's.

    Sums of compressed gradients are no compressed gradients, so that nothing can be added up on the way: each process
    receives the messages of all others, in one packet a step.

    Args:
        comm: mpi4py's communicator.
        compressor: this process's. Where it keeps the momentum, the optimizer must have none.
    """

    def __init__(self, comm: Any, compressor: Compressor):
        self.comm, self.compressor, self.owns_momentum = comm, compressor, compressor.owns_momentum

    def total(self, shares: dict[str, Array], step: int) -> dict[str, Array]:
        """See `Exchange`."""
        size = self.comm.size
        # A compressor averages over processes. A share is already weighed, so that the sum of all is meant.
        own = pack([self.compressor.compress(name, share * size, step) for name, share in shares.items()])
        self.bytes_sent += len(own)
        packets = [unpack(packet, len(shares)) for packet in self.comm.allgather(own)]
        return {
            name: self.compressor.decompress(name, [messages[i] for messages in packets], share.shape)
            for i, (name, share) in enumerate(shares.items())
        }

    def settings(self) -> dict[str, Any]:
        """See `Exchange`."""
        return {key: value for key, value in self.compressor.settings().items() if key != "rank"}

    def state_dict(self) -> dict[str, Any]:
        """See `Exchange`."""
        return {**self.compressor.state_dict(), "packets": self.bytes_sent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Exchange`."""
        self.compressor.load_state_dict({name: value for name, value in state.items() if name != "packets"})
        self.bytes_sent = int(state["packets"])


def pack(messages: list[bytes]) -> bytes:
    """Return messages as one packet, each after its length (4 bytes, little-endian).

    Example:
        >>> pack([b"abc", b""])
        b'\\x03\\x00\\x00\\x00abc\\x00\\x00\\x00\\x00'
    """
    return b"".join(len(message).to_bytes(LENGTH, "little") + message for message in messages)


def unpack(packet: bytes, count: int) -> list[bytes]:
    """Return the messages of a packet.

    Raises:
        ValueError: it does not hold `count` messages.

    Example:
        >>> unpack(pack([b"abc", b""]), 2)
        [b'abc', b'']
    """
    messages, place = [], 0
    while place < len(packet):
        start = place + LENGTH
        place = start + int.from_bytes(packet[place:start], "little")
        messages.append(packet[start:place])
    if place != len(packet) or len(messages) != count:
        raise ValueError(
            f"exchange: a packet of {len(packet)} bytes does not hold {count} messages; do all processes train the same "
            "model?"
        )
    return messages
