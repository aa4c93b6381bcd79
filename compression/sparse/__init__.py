"""Sparse storage."""

from .accounting import WeightBytes, weight_bytes

__all__ = ["WeightBytes", "weight_bytes"]
