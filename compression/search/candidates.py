"""What a search found: candidates, which of them are worth a look, and which one meets the wishes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..report import wilson_interval

CONFIDENCE = 0.95
"""With which a candidate's accuracy on other images is at least `Candidate.sure`."""


@dataclass(frozen=True)
class Wishes:
    """What is asked for.

    Attributes:
        budget: bytes of the file, at most.
        accuracy: percent, at least.
        milliseconds: for an image, at most; None: whatever.
    """

    budget: int
    accuracy: float
    milliseconds: float | None = None


@dataclass(frozen=True)
class Candidate:
    """A file, and how well it reads the held-out images.

    Attributes:
        name: of the file.
        model: name of the model it is a code of.
        coding: name of the `Coding`.
        taught: whether the model learned from the teacher.
        bytes: size of the file.
        correct, images: of the held-out images.
        weights: layer → weights that are not zero in the file.
        widths: layer → filters or neurons.
        milliseconds: for an image; None: not measured.
        runs: what takes that time: "dense", or a format of `sparse.FORMATS`.
    """

    name: str
    model: str
    coding: str
    taught: bool
    bytes: int
    correct: int
    images: int
    weights: dict[str, int]
    widths: dict[str, int]
    milliseconds: float | None = None
    runs: str = "dense"

    @property
    def accuracy(self) -> float:
        """On the held-out images, percent."""
        return 100 * self.correct / self.images

    @property
    def sure(self) -> float:
        """The accuracy that the held-out images make sure, percent: the lower end of a one-sided 95 % Wilson interval.

        The held-out images are a sample: of 5,000, an accuracy of 98.5 % is known to within 0.17 points (one standard
        error). Besides, the best of many candidates was lucky, too, by about as much. So the accuracy that is asked for must
        be reached by this lower end, not by the accuracy: for 98.3 %, by 98.58 % of 5,000 images.

        Example:
            >>> round(Candidate("a", "a", "codebook5+4", True, 900, 4929, 5000, {}, {}).sure, 2)
            98.28
        """
        return wilson_interval(self.correct, self.images, 2 * CONFIDENCE - 1)[0]

    def costs(self) -> tuple[float, ...]:
        """Return what should be small: bytes, images that are not read, and milliseconds."""
        return (self.bytes, -self.accuracy, self.milliseconds or 0.0)

    def fits(self, wishes: Wishes) -> bool:
        """Tell whether the file is small, and the model fast, enough."""
        return self.bytes <= wishes.budget and (
            wishes.milliseconds is None or (self.milliseconds is not None and self.milliseconds <= wishes.milliseconds)
        )

    def as_json(self) -> dict[str, Any]:
        """Return the fields, accuracy and `sure` as JSON can hold them."""
        return asdict(self) | {"accuracy": self.accuracy, "sure": self.sure}


def frontier(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that no other beats: in one cost, at least, without being worse in any; smallest file first.

    Example:
        >>> a, b, c = (Candidate(n, n, "", True, size, right, 100, {}, {}) for n, size, right in
        ...            (("a", 500, 97), ("b", 400, 97), ("c", 900, 98)))
        >>> [candidate.name for candidate in frontier([a, b, c])]
        ['b', 'c']
    """
    kept: list[Candidate] = []
    for candidate in sorted(
        candidates, key=lambda c: (*c.costs(), c.name)
    ):  # whoever beats a candidate comes before it
        if not any(all(a <= b for a, b in zip(k.costs(), candidate.costs(), strict=True)) for k in kept):
            kept.append(candidate)
    return kept


def choose(candidates: Sequence[Candidate], wishes: Wishes) -> Candidate | None:
    """Return the most accurate candidate that fits, the smaller of equals; None if it is not surely accurate enough.

    Example:
        >>> found = [Candidate(n, n, "", True, size, right, 10_000, {}, {}) for n, size, right in
        ...          (("a", 700, 9850), ("b", 800, 9880), ("c", 900, 9900))]
        >>> choose(found, Wishes(800, 98.3)).name, choose(found, Wishes(800, 98.9))
        ('b', None)
    """
    best = most_accurate(candidates, wishes)
    return best if best is not None and best.sure >= wishes.accuracy else None


def most_accurate(candidates: Sequence[Candidate], wishes: Wishes) -> Candidate | None:
    """Return the most accurate candidate that fits; None if none does."""
    return min((c for c in candidates if c.fits(wishes)), key=lambda c: (-c.accuracy, c.bytes, c.name), default=None)


def smallest(candidates: Sequence[Candidate], accuracy: float) -> Candidate | None:
    """Return the smallest file that is surely so accurate; None if there is none."""
    return min(
        (c for c in candidates if c.sure >= accuracy), key=lambda c: (c.bytes, -c.accuracy, c.name), default=None
    )
