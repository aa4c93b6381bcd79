"""A walk must do what backward() does, and show it."""

import numpy as np
import pytest

from minigrad import Tensor, no_grad
from minigrad import functional as F
from minigrad.compression.models import LeNet
from minigrad.debug import step_backward


def leaf(*values):
    return Tensor(np.array(values), requires_grad=True)


def test_each_step_of_a_small_graph():
    a, b = leaf(2.0), leaf(5.0)
    total = a + a
    first, second = step_backward(total * b)
    assert (first.op, second.op) == ("multiply", "add")
    assert second.node is total
    assert first.incoming.tolist() == [1]
    assert [x for x, _ in first.outgoing] == [total, b]
    assert [g.tolist() for _, g in first.outgoing] == [[5], [4]]
    assert [g.tolist() for _, g in second.outgoing] == [[5], [5]]
    assert (first.arguments, second.arguments) == (["x", "y"], ["x", "y"])
    assert [x is b for x in first.filled] == [True]
    assert [x is a for x in second.filled] == [True]
    assert (a.grad.tolist(), b.grad.tolist()) == ([10], [4])


def test_a_gradient_comes_in_complete():
    """b is used twice: its op is visited when both uses have added their share, not before."""
    a = leaf(1.0)
    b = a + a
    steps = list(step_backward(b + b))
    assert [step.op for step in steps] == ["add", "add"]
    assert steps[1].incoming.tolist() == [2]
    assert a.grad.tolist() == [4]


def test_a_walk_ends_with_the_gradients_of_backward(rng):
    model, x = LeNet(), rng.normal(size=(3, 1, 28, 28)).astype(np.float32)

    def loss():
        model.zero_grad()
        return F.cross_entropy(model(x), np.array([3, 1, 4]))

    loss().backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    steps = list(step_backward(loss()))
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.grad, expected[name])
        assert sum(p is filled for step in steps for filled in step.filled) == 1
    assert steps[-1].op == "conv2d"
    assert steps[-1].arguments == ["w", "b"]  # the images require no gradient


def test_gradients_are_added_to_what_was_there():
    a = leaf(1.0)
    a.grad = np.array([100.0])
    list(step_backward(a * 3))
    assert a.grad.tolist() == [103]


def test_leaving_half_way_frees_nothing():
    a, b = leaf(2.0), leaf(5.0)
    out = (a + a) * b
    walk = step_backward(out)
    next(walk)
    assert a.grad is None  # not reached yet
    assert b.grad.tolist() == [4]
    del walk
    b.grad = None
    out.backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([10], [4])


def test_the_end_of_the_walk_frees_the_graph_unless_told_otherwise():
    a = leaf(2.0)
    out = a * a
    list(step_backward(out, retain_graph=True))
    list(step_backward(out))
    assert a.grad.tolist() == [8]
    with pytest.raises(RuntimeError, match=r"freed what its ops had saved"):
        step_backward(out)


def test_a_walk_from_a_leaf_fills_it():
    a = leaf(2.0)
    (step,) = step_backward(a)
    assert (step.op, step.outgoing, step.filled == [a]) == ("leaf", [], True)
    assert a.grad.tolist() == [1]


def test_the_first_gradient_is_checked_as_in_backward():
    a = leaf(1.0, 2.0)
    steps = list(step_backward(a * 2, gradient=[1.0, 10.0]))
    assert steps[0].incoming.tolist() == [1, 10]
    assert a.grad.tolist() == [2, 20]
    with pytest.raises(ValueError, match=r"backward: a tensor of shape \(2,\) needs the argument `gradient`"):
        step_backward(a * 2)
    with no_grad(), pytest.raises(RuntimeError, match=r"does not require a gradient"):
        step_backward((a * 2).sum())


def test_a_step_reads_as_text():
    a = Tensor(np.arange(8.0).reshape(2, 4), requires_grad=True)
    joined = F.concatenate([a, a[:1]])
    first, *_ = step_backward(joined, np.full((3, 4), 0.25))
    assert str(first).splitlines() == [
        "concatenate (3, 4), incoming gradient from 0.25 to 0.25",
        "  to arrays[0] (2, 4): from 0.25 to 0.25",
        "  to arrays[1] (1, 4): [[0.25 0.25 0.25 0.25]]",
    ]
    (last,) = step_backward(a.sum())
    assert str(last).splitlines()[-1] == "  .grad of a leaf (2, 4) is now from 1.25 to 1.5"
