"""A search that takes a second, for the tests."""

from minigrad.compression.search import Coding, Plan, Route

PLAN = Plan(
    routes=(Route(1, 0.5), Route(0.5, 0.5, taught=False)),
    kept=(0.2, 0.1),
    codings=(Coding("codebook", 4, 3), Coding("integer", 8, 8)),
    teacher_epochs=1,
    epochs=1,
    images=200,
)
