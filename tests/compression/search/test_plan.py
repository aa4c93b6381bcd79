"""Routes, codings and plans."""

import pytest

from minigrad.compression.search import QUICK, Plan, Route


@pytest.mark.parametrize("share", [0, -0.5, 1.5, float("nan")])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(ValueError, match=r"Route: the share of neurons that stay is .*, expected above 0, at most 1"):
        Route(1, share)
    with pytest.raises(ValueError, match=r"Route: the share of filters"):
        Route(share, 1)


@pytest.mark.parametrize("plan", [Plan(), QUICK])
def test_names_tell_routes_and_codings_apart(plan):
    assert len({route.name for route in plan.routes}) == len(plan.routes)
    assert len({coding.name for coding in plan.codings}) == len(plan.codings)
    assert list(plan.kept) == sorted(plan.kept, reverse=True)  # each goes on from the one before


def test_the_plan_covers_all_that_is_promised():
    plan = Plan()
    assert {route.taught for route in plan.routes} == {True, False}
    assert {coding.way for coding in plan.codings} == {"codebook", "integer"}
    assert len({route.filters for route in plan.routes}) > 1
    assert len({route.neurons for route in plan.routes}) > 1
