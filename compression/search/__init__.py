"""Search for a small file that still reads digits: over structure, pruning, distillation, codebooks and bits."""

from .candidates import Candidate, Wishes, choose, frontier, most_accurate, smallest
from .plan import QUICK, Coding, Plan, Route
from .search import Search
from .store import Store

__all__ = [
    "QUICK", "Candidate", "Coding", "Plan", "Route", "Search", "Store", "Wishes", "choose", "frontier", "most_accurate",
    "smallest",
]  # fmt: skip
