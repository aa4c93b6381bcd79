"""One thread or all of them, whichever is faster just now.

Threads that share a kernel wait for each other at its end, some thirty times in a training step. If another program is
busy on the same cores, one of them is always late, and a step on two threads takes many times longer than on one (measured
on two cores with one of them busy: an epoch of 0.65 s took 10 s on two threads, and 1.1 s on one). Since the number of
threads does not change a bit of any result, a loop may change it whenever that pays.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter

from minigrad.kernels import threads

TRIAL = 4
"""Steps for which the other number of threads is tried."""

FIRST_STAY, LONGEST_STAY = 8, 256
"""Steps between two trials: after a change, and at most. Each trial that changes nothing makes it four times as many."""


class Pace:
    """Watches the steps of a loop and sets the number of threads.

    Attributes:
        most: number of threads when the loop began; the other choice is 1.
        count: number of threads now.
    """

    def __init__(self) -> None:
        self.most = self.count = threads.get_num_threads()
        self.stay = FIRST_STAY
        self.usual: float | None = None  # seconds a step before the trial that is running, None if there is none
        self.seconds: list[float] = []
        self.mark = perf_counter()

    def step(self) -> None:
        """Note that another step is done."""
        if self.most == 1:
            return
        now = perf_counter()
        self.seconds.append(now - self.mark)
        self.mark = now
        if self.usual is None and len(self.seconds) >= self.stay:
            self.usual = median(self.seconds[-TRIAL:])
            self._switch()
        elif self.usual is not None and len(self.seconds) >= TRIAL:
            if median(self.seconds) < self.usual:
                self.stay = FIRST_STAY
            else:
                self._switch()
                self.stay = min(4 * self.stay, LONGEST_STAY)
            self.usual = None

    def _switch(self) -> None:
        self.count = 1 if self.count == self.most else self.most
        threads.set_num_threads(self.count)
        self.seconds = []


@contextmanager
def pacing() -> Iterator[Pace]:
    """Yield a `Pace` for the loop in the block, and give the thread its number of threads back at the end."""
    pace = Pace()
    try:
        yield pace
    finally:
        if pace.count != pace.most:
            threads.set_num_threads(pace.most)
