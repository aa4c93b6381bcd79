"""Checks of the course's exercises: `check("05-1", answer)` in a notebook, a function for each in `exercises_05.py`.

Such a function is called `exercise_1`. It is given what the notebook hands to `check` besides the answer, and returns a
`Task`: the right answer, hints, and the mistakes that people make, each with a hint of its own.
"""

from .checking import Task, WrongAnswerError, check, difference, find_task

__all__ = ["Task", "WrongAnswerError", "check", "difference", "find_task"]
