"""A clock that tests move by hand."""


class FakeClock:
    """Returns the time in seconds; `spend` lets some pass."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds
