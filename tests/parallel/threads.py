"""Threads in place of processes: a communicator with the methods of mpi4py's that the packages use, for tests without MPI."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError


class ThreadComm:
    """One thread's view of the others. Objects are pickled, as on their way between processes."""

    def __init__(self, rank, slots, barrier):
        self.rank, self.size, self.slots, self.barrier = rank, len(slots), slots, barrier

    def allgather(self, value):
        self.slots[self.rank] = pickle.dumps(value)
        self.barrier.wait(30)
        found = [pickle.loads(slot) for slot in self.slots]  # noqa: S301  written by the lines above
        self.barrier.wait(30)
        return found

    def bcast(self, value):
        return self.allgather(value)[0]

    def gather(self, value):
        found = self.allgather(value)
        return None if self.rank else found

    def Allgather(self, send, receive):
        receive[...] = self.allgather(send)

    def Alltoall(self, send, receive):
        receive[...] = [rows[self.rank] for rows in self.allgather(send)]

    def Abort(self, code):
        self.slots[self.rank] = code
        self.barrier.abort()


def together(size, function):
    """Call function(comm) in so many threads at once; return the results in order of ranks.

    Raises:
        Exception: what the first of the threads raised; the others are ended.
    """
    slots, barrier = [None] * size, Barrier(size)

    def call(rank):
        try:
            return function(ThreadComm(rank, slots, barrier))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(call, rank) for rank in range(size)]
    errors = [future.exception() for future in futures]
    for error in sorted(filter(None, errors), key=lambda error: isinstance(error, BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]


def errors_of(size, function):
    """Call function(comm) in so many threads; return the error of each as text, None for none."""

    def call(comm):
        try:
            function(comm)
        except Exception as error:  # noqa: BLE001
            return f"{type(error).__name__}: {error}"
        return None

    return together(size, call)
