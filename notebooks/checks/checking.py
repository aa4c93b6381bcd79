"""`check` compares an answer with the right one, keeps count of the attempts, and hints more with each of them."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.compression.course import progress_file, record_attempt


class WrongAnswerError(AssertionError):
    """An answer is not right yet."""

    def _render_traceback_(self) -> list[str]:
        """IPython prints this in place of the way through our code: the sentence is all that a student needs."""
        return [f"Not yet. {self}"]


@dataclass(frozen=True)
class Task:
    """What an exercise's check has to know.

    Args:
        right: the right answer: a number, a text, an array; a tuple or dictionary of these.
        hint: what everybody is told at the second attempt whose mistake is none of `mistakes`.
        stronger: what everybody is told at the third.
        mistakes: wrong answers that people give, each with its hint: at the second attempt it stands in place of `hint`.
        rtol: by how much of its size a number may be off; integers are compared exactly.
        judge: in place of `right`, where many answers are right: returns what differs and a hint, or None for a right answer.
    """

    right: Any
    hint: str
    stronger: str
    mistakes: Sequence[tuple[Any, str]]
    rtol: float = 1e-4
    judge: Callable[[Any], tuple[str, str] | None] | None = None

    def fault(self, answer: Any) -> tuple[str, str] | None:
        """Return what differs in an answer, and a hint for it; None if it is right."""
        if self.judge is not None:
            return self.judge(answer)
        differs = difference(answer, self.right, self.rtol)
        if differs is None:
            return None
        known = [hint for wrong, hint in self.mistakes if difference(answer, wrong, self.rtol) is None]
        return differs, (known or [self.hint])[0]


def check(exercise: str, answer: Any, **given: Any) -> None:
    """Check the answer to an exercise, such as "05-1", and note the attempt in the student's file of progress.

    Args:
        exercise: number of the notebook, number of the exercise.
        answer: the student's.
        given: what the exercise started from.

    Raises:
        WrongAnswerError: it is not right. The first attempt is told what differs, the second is given a hint as well, and
            the third a stronger one.
    """
    task = find_task(exercise, **given)
    fault = task.fault(answer)
    attempt = record_attempt(progress_file(Path(__file__).resolve().parents[1]), exercise, passed=fault is None)
    if fault is None:
        print(f"Exercise {exercise}: right.")
        return
    differs, hint = fault
    parts = [f"Exercise {exercise}: {differs}.", f"Hint: {hint}", f"Stronger hint: {task.stronger}"]
    raise WrongAnswerError("\n".join(parts[:attempt])) from None


def find_task(exercise: str, **given: Any) -> Task:
    """Return the task of an exercise, made from what the notebook has given."""
    notebook, _, number = exercise.partition("-")
    return getattr(importlib.import_module(f".exercises_{notebook}", __package__), f"exercise_{number}")(**given)


def difference(answer: Any, right: Any, rtol: float = 1e-4) -> str | None:
    """Say where an answer differs from the right one; None if it does not.

    A number or a tuple of them was found on paper, so only a direction is given away; of an array one element is.

    >>> difference(3, 4), difference((1, 2.0), (1, 2.00001))
    ('expected a larger number, got 3', None)
    >>> difference((1, 9), (1, 2))
    'answer 2 of 2: expected a smaller number, got 9'
    >>> difference([[1, 2], [9, 4]], np.array([[1, 2], [3, 4]]))
    'first wrong index (1, 0): expected 3, got 9 (1 of 4 are wrong)'
    >>> difference([1, 2], np.zeros(3))
    'expected shape (3,), got (2,)'
    >>> difference("10", "11")
    "first wrong index 1: expected '1', got '0'"
    """
    if isinstance(right, Mapping):
        return _parts(answer, right, rtol)
    if isinstance(right, tuple):
        return _pieces(answer, right, rtol)
    if isinstance(right, str):
        return _text(answer, right)
    if isinstance(right, list) and any(isinstance(part, str) for part in right):
        return _texts(answer, right)
    return _numbers(answer, np.asarray(right), rtol)


def _parts(answer: Any, right: Mapping[str, Any], rtol: float) -> str | None:
    if not isinstance(answer, Mapping) or set(answer) != set(right):
        return f"expected a dictionary with the keys {', '.join(right)}, got {_short(answer)}"
    found = ((key, difference(answer[key], part, rtol)) for key, part in right.items())
    return next((f"{key}: {differs}" for key, differs in found if differs), None)


def _pieces(answer: Any, right: tuple[Any, ...], rtol: float) -> str | None:
    if not isinstance(answer, tuple | list | np.ndarray) or len(answer) != len(right):
        return f"expected {len(right)} answers in a tuple, got {_short(answer)}"
    found = (difference(a, b, rtol) for a, b in zip(answer, right, strict=True))
    return next((f"answer {i} of {len(right)}: {differs}" for i, differs in enumerate(found, 1) if differs), None)


def _text(answer: Any, right: str) -> str | None:
    if not isinstance(answer, str):
        return f"expected a text, got {_short(answer)}"
    if answer == right:
        return None
    i = next((i for i, (a, b) in enumerate(zip(answer, right, strict=False)) if a != b), None)
    if i is None:
        return f"expected a text of {len(right)} characters, got {len(answer)}: {_short(answer)}"
    return f"first wrong index {i}: expected {right[i]!r}, got {answer[i]!r}"


def _texts(answer: Any, right: list[str]) -> str | None:
    if not isinstance(answer, list | tuple) or len(answer) != len(right):
        return f"expected a list of {len(right)} texts, got {_short(answer)}"
    wrong = next((i for i in range(len(right)) if answer[i] != right[i]), None)
    return None if wrong is None else f"first wrong index {wrong}: expected {right[wrong]!r}, got {answer[wrong]!r}"


def _numbers(answer: Any, right: np.ndarray, rtol: float) -> str | None:
    what = "a number" if right.ndim == 0 else f"numbers of shape {right.shape}"
    try:
        got = np.asarray(answer, dtype=float)
    except (TypeError, ValueError, RuntimeError):  # texts, lists of unequal length, a Tensor that needs a gradient
        return f"expected {what}, got {_short(answer)}"
    if answer is None or isinstance(answer, str):  # NumPy takes them for nan and for what the text says
        return f"expected {what}, got {_short(answer)}"
    if got.shape != right.shape:
        return (
            f"expected {what}, got {_short(answer)}"
            if right.ndim == 0
            else f"expected shape {right.shape}, got {got.shape}"
        )
    same = got == right if right.dtype.kind in "biu" else np.isclose(got, right, rtol, rtol * np.abs(right).mean())
    wrong = np.argwhere(~same)
    if len(wrong) == 0:
        return None
    if right.ndim == 0:
        way = "larger" if right > got else "smaller"
        return f"expected a {way if np.isfinite(got) else 'finite'} number, got {_short(answer)}"
    place = tuple(wrong[0].tolist())
    return (
        f"first wrong index {place if len(place) > 1 else place[0]}: expected {right[place]:.6g}, "
        f"got {got[place]:.6g} ({len(wrong)} of {right.size} are wrong)"
    )


def _short(answer: Any) -> str:
    text = " ".join(str(answer) if isinstance(answer, np.generic) else repr(answer).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
