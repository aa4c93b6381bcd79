"""What a worker remembers from one gradient to the next: what its messages left out, and momentum."""

import dataclasses
import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.tensor import Array

from .base import Codec
from .plain import Float16, Uncompressed
from .rounding import QSGD, Int8, TernGrad
from .sign import Sign
from .topk import TopK

METHODS: dict[str, type[Codec]] = {
    codec.name: codec for codec in (Uncompressed, Float16, Int8, Sign, QSGD, TernGrad, TopK)
}
"""Every codec, by the name that the command line knows."""


class Compressor:
    """A codec with one worker's memory. Each worker has its own; tensors are told apart by name.

    Error feedback: what a message leaves out, the residual, is added to the next gradient, so nothing is lost, only late:

        v += g;  send C(v);  v -= C(v)

    After any number of steps all that was sent, plus the residual, is the sum of all gradients. Residuals are float64, so
    that this holds to float64's rounding, and exactly as long as the numbers fit into its 53 bits.

    Deep Gradient Compression changes three things, all for codecs that leave coordinates out:

        momentum correction    u = momentum * u + g;  v += u    the optimizer's momentum, taken before what is left out
        factor masking         u = 0 where something was sent   old directions are not followed for steps to come
        clipping               |g| is limited first             residuals pile gradients up

    With momentum correction the optimizer must have no momentum of its own: see `owns_momentum`. The more is sent, the less
    momentum factor masking leaves: with ratio 1 none at all.

    Args:
        codec: how gradients are written.
        seed: of all random rounding. A draw depends on seed, rank, step and the tensor's name only, so there is nothing
            to be kept for a run that is resumed.
        rank: number of this worker, from 0.
        momentum: of momentum correction, at least 0 and below 1.
        clip_norm: largest L2 norm of a tensor's gradient. The paper limits the norm of all tensors together, and divides
            the limit for one machine by the square root of the number of workers. None: no limit.
        error_feedback: False forgets residuals: to see what comes of it. None: as the codec needs it.

    Attributes:
        bytes_sent: bytes of all messages so far.

    Raises:
        ValueError: a setting is out of range, or the codec sends all coordinates and momentum is not 0.

    Source:
        Seide et al., "1-bit stochastic gradient descent", 2014; Lin et al., "Deep gradient compression", 2018 (arXiv
        1712.01887), section 3 and algorithm 4.

    Example:
        >>> worker, gradient = Compressor(Sign()), np.float32([3, 1])
        >>> for step in range(3):
        ...     message = worker.compress("w", gradient, step)
        ...     print(worker.decompress("w", [message], shape=(2,)), worker.residuals["w"])
        [2. 2.] [ 1. -1.]
        [2. 2.] [ 2. -2.]
        [ 3. -3.] [2. 2.]
        >>> worker.bytes_sent
        15
    """

    def __init__(
        self,
        codec: Codec,
        *,
        seed: int = 0,
        rank: int = 0,
        momentum: float = 0.0,
        clip_norm: float | None = None,
        error_feedback: bool | None = None,
    ):
        if seed < 0 or rank < 0:
            raise ValueError(f"Compressor: seed is {seed} and rank {rank}, expected 0 or more")
        if not 0 <= momentum < 1:
            raise ValueError(f"Compressor: momentum is {momentum}, expected 0 to below 1")
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"Compressor: clip_norm is {clip_norm}, expected a number above 0")
        self.codec, self.seed, self.rank = codec, seed, rank
        self.momentum, self.clip_norm = float(momentum), clip_norm
        self.error_feedback = codec.error_feedback if error_feedback is None else error_feedback
        if momentum and not (codec.sparse and self.error_feedback):
            raise ValueError(
                f"Compressor: momentum correction is for what is left out and sent later, as topk does; with {codec.name} "
                f"{'' if self.error_feedback else 'and no error feedback '}the optimizer keeps its momentum"
            )
        self.bytes_sent = 0
        self.residuals: dict[str, Array] = {}
        self.velocities: dict[str, Array] = {}

    @property
    def owns_momentum(self) -> bool:
        """True if momentum is taken here: the optimizer's must then be 0, or it would count twice."""
        return self.momentum > 0

    def compress(self, name: str, gradient: Array, step: int) -> bytes:
        """Return the message that says as much of a gradient as the codec can, and keep the rest.

        Args:
            name: of the tensor.
            gradient: any shape, float32; with the codec "none" also float64. It is left as it is.
            step: number of the training step, from 0, over all epochs.

        Raises:
            ValueError: the gradient holds NaN or infinity, or has another size than the last one of this name. Nothing is
                changed then.
            TypeError: it is of another dtype.
        """
        flat = np.reshape(gradient, -1)
        self.codec.check(flat)
        if self.clip_norm is not None:
            norm = math.sqrt(np.square(flat, dtype=np.float64).sum())
            flat = flat * flat.dtype.type(min(1.0, self.clip_norm / norm)) if norm else flat
        codec = self.codec.at(step)
        rng = np.random.default_rng([self.seed, self.rank, step, zlib.crc32(name.encode())])
        message = self._send_and_keep(codec, name, flat, rng) if self.error_feedback else codec.encode(flat, rng)
        self.bytes_sent += len(message)
        return message

    def _send_and_keep(self, codec: Codec, name: str, gradient: Array, rng: np.random.Generator) -> bytes:
        residual = self.residuals.get(name, np.zeros(gradient.size))
        if residual.size != gradient.size:
            raise ValueError(
                f"compress: the gradient of {name} has {gradient.size} numbers, and what is left of the last one "
                f"{residual.size}; every tensor needs a name of its own"
            )
        velocity = self.momentum * self.velocities.get(name, 0.0) + gradient.astype(np.float64)
        wanted = residual + velocity
        with np.errstate(over="ignore"):  # the codec says it better
            message = codec.encode(wanted.astype(gradient.dtype), rng)
        sent = codec.decode(message, gradient.size)
        self.residuals[name] = wanted - sent
        if self.owns_momentum:
            velocity[sent != 0] = 0
            self.velocities[name] = velocity
        return message

    def decompress(self, name: str, messages: Sequence[bytes], shape: tuple[int, ...]) -> Array:
        """Return the mean of what the workers' messages say.

        It is added up in the order given. With messages in order of ranks it has the same bits on every worker.

        Args:
            name: of the tensor, for error messages.
            messages: one of each worker.
            shape: of the tensor.

        Returns:
            float32 of that shape; float64 if the codec is "none" and the messages hold float64.

        Raises:
            ValueError: there are no messages, or one is damaged or of another tensor.
        """
        size = math.prod(shape)
        if not messages:
            raise ValueError(f"decompress: there are no messages for {name}")
        total = None
        for rank, message in enumerate(messages):
            try:
                part = self.codec.decode(message, size)
            except ValueError as error:
                raise ValueError(f"decompress: {name}, message of worker {rank}: {error}") from None
            total = part if total is None else total + part
        assert total is not None
        return (total / len(messages)).reshape(shape)

    def settings(self) -> dict[str, Any]:
        """Return all that must be the same for a run to go on, as JSON can hold it."""
        own = {name: getattr(self, name) for name in ("seed", "rank", "momentum", "clip_norm", "error_feedback")}
        return {**self.codec.settings(), **own}

    def state_dict(self) -> dict[str, Array]:
        """Return what has to be saved: `residual.NAME` and `velocity.NAME`, float64 (n,); `bytes_sent`, int64 ()."""
        arrays = {f"residual.{name}": array.copy() for name, array in self.residuals.items()}
        arrays |= {f"velocity.{name}": array.copy() for name, array in self.velocities.items()}
        return {**arrays, "bytes_sent": np.array(self.bytes_sent, np.int64)}

    def load_state_dict(self, state: dict[str, Array]) -> None:
        """Go on from what `state_dict` returned. Messages are then the same, byte for byte.

        Raises:
            ValueError: it is of a compressor of another kind; nothing is changed then.
        """
        parts: dict[str, dict[str, Array]] = {"residual": {}, "velocity": {}}
        for key, array in state.items():
            part, _, name = key.partition(".")
            if key == "bytes_sent":
                continue
            if part not in parts or not name or array.dtype != np.float64 or array.ndim != 1:
                raise ValueError(f"load_state_dict: {key!r}, {array.dtype} {array.shape}, is nothing that was saved")
            parts[part][name] = array.copy()
        names, fast = parts["residual"].keys(), parts["velocity"].keys()
        if (
            "bytes_sent" not in state
            or (names and not self.error_feedback)
            or fast != (names if self.owns_momentum else set())
        ):
            raise ValueError(
                f"load_state_dict: {len(names)} residuals and {len(fast)} velocities were saved by another kind of "
                f"compressor than {self.codec.name} with momentum {self.momentum}"
            )
        self.residuals, self.velocities = parts["residual"], parts["velocity"]
        self.bytes_sent = int(state["bytes_sent"])


OWN_OPTIONS = ("momentum", "clip_norm", "error_feedback")


def compressor(name: str, *, seed: int = 0, rank: int = 0, **options: Any) -> Compressor:
    """Return a compressor by the name of its codec, one of `METHODS`.

    Args:
        seed, rank: see `Compressor`.
        options: the codec's (`levels`, `bucket`, `ratio`, `warmup`, `clip`) and those of `Compressor` (`momentum`,
            `clip_norm`, `error_feedback`).

    Raises:
        ValueError: there is no such codec, or it has no such option.

    Example:
        >>> compressor("topk", ratio=0.01, momentum=0.5).codec
        TopK(ratio=0.01, warmup=0)
    """
    if name not in METHODS:
        raise ValueError(f"compressor: there is no method {name!r}; there are {', '.join(METHODS)}")
    fields = [field.name for field in dataclasses.fields(METHODS[name])]
    for option in options:
        if option not in (*fields, *OWN_OPTIONS):
            raise ValueError(
                f"compressor: {name} has no option {option!r}; it has {', '.join((*fields, *OWN_OPTIONS))}"
            )
    own = {option: options.pop(option) for option in OWN_OPTIONS if option in options}
    return Compressor(METHODS[name](**options), seed=seed, rank=rank, **own)
