"""Reproductions of papers' experiments: over several seeds, resumable, each figure beside the paper's."""

from ..sweep import Job, run_jobs
from .common import Reproduction, Row, reproduce
from .deepcompression import DEEPCOMPRESSION
from .han2015 import HAN2015
from .hinton2015_report import HINTON2015
from .lottery import LOTTERY

REPRODUCTIONS = {reproduction.name: reproduction for reproduction in (DEEPCOMPRESSION, HAN2015, HINTON2015, LOTTERY)}
"""Name → what `minigrad repro NAME` does."""

__all__ = [
    "DEEPCOMPRESSION", "HAN2015", "HINTON2015", "LOTTERY", "REPRODUCTIONS", "Job", "Reproduction", "Row", "reproduce",
    "run_jobs",
]  # fmt: skip
