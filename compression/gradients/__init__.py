"""Gradients as messages: seven ways to send fewer bytes, and what each worker must remember for it."""

from .base import BUCKET, Codec
from .compressor import METHODS, Compressor, compressor
from .plain import Float16, Uncompressed
from .rounding import QSGD, Int8, TernGrad
from .sign import Sign
from .simulation import Simulated, train_simulated
from .topk import TopK

__all__ = [
    "BUCKET", "METHODS", "QSGD", "Codec", "Compressor", "Float16", "Int8", "Sign", "Simulated", "TernGrad", "TopK",
    "Uncompressed", "compressor", "train_simulated",
]  # fmt: skip
