"""Training on several processes, on one machine or more, over MPI.

Every process holds the whole model, computes the gradients of its part of each batch, and takes the step that all take.
"""

from minigrad.parallel.exchange import AllReduce, Exchange, all_reduce, in_buckets
from minigrad.parallel.launch import ending_together, find_mpiexec, launch, launched, world
from minigrad.parallel.sharding import ShardedLoader, part
from minigrad.parallel.team import Team, checksum, describe_code

__all__ = [
    "AllReduce",
    "Exchange",
    "ShardedLoader",
    "Team",
    "all_reduce",
    "checksum",
    "describe_code",
    "ending_together",
    "find_mpiexec",
    "in_buckets",
    "launch",
    "launched",
    "part",
    "world",
]
