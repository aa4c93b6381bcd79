"""backward(), one op at a time, under one's fingers: the graph with each value, and each gradient so far."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import tape
from minigrad.debug.draw import draw_labelled
from minigrad.debug.stepping import Step, step_backward, values_of
from minigrad.debug.widgets import Picture, Slider, explore
from minigrad.tape import Array, Node
from minigrad.tensor import Tensor


@dataclass(frozen=True)
class Frame:
    """The state between two steps of backward.

    Attributes:
        step: the one just done; None before the first.
        gradients: id of a node → the sum of the shares that it was given so far.
        missing: id of a node → how many shares are still to come.
    """

    step: Step | None
    gradients: dict[int, Array]
    missing: dict[int, int]


def backward_frames(tensor: Tensor, gradient: Any = None) -> list[Frame]:
    """Return what each node has got before the first step of `step_backward`, and after each one.

    The graph can be used again, and leaves keep the gradients that they have.

    Args:
        tensor: where backward starts.
        gradient: of the tensor itself; needed unless it has one element.

    Raises:
        RuntimeError, ValueError: as `step_backward`.

    Example:
        >>> a = Tensor([2.0], requires_grad=True)
        >>> b = a + a
        >>> [frame.gradients[id(b)] for frame in backward_frames(b * b)[1:]]
        [array([8.]), array([8.])]
    """
    leaves = [(node, node.grad) for node in tape.topological_order(tensor) if node.op is None]
    for leaf, _ in leaves:
        leaf.grad = None
    try:
        steps = list(step_backward(tensor, gradient, retain_graph=True))
    finally:
        for leaf, before in leaves:
            leaf.grad = before
    gradients = {id(tensor): steps[0].incoming}
    missing = Counter(id(x) for step in steps for x, _ in step.outgoing)
    frames = [Frame(None, dict(gradients), dict(missing))]
    for step in steps:
        for x, share in step.outgoing:
            gradients[id(x)] = gradients[id(x)] + share if id(x) in gradients else share
            missing[id(x)] -= 1
        frames.append(Frame(step, dict(gradients), dict(missing)))
    return frames


def draw_backward(tensor: Tensor, frames: list[Frame], number: int, **names: Tensor) -> Picture:
    """Draw the graph after a number of steps backward.

    Args:
        tensor: where backward starts.
        frames: of `backward_frames`.
        number: of steps done, 0 to len(frames) - 1.
        names: of tensors, for the picture and its words.

    Returns:
        A Picture. The op just done is thick, and so are the arrows against which it passed gradients on; those who got them
        have a dashed border. White boxes have not had their turn.

    Raises:
        RuntimeError: `backward` freed the graph.
        ValueError: the graph has over 1,000 nodes.

    Example:
        >>> a, b = Tensor(2.0, requires_grad=True), Tensor(3.0, requires_grad=True)
        >>> L = a * b
        >>> print(draw_backward(L, backward_frames(L), 1, a=a, b=b, L=L).words)
        Step 1 of 1: L = multiply, whose gradient is 1, passes on 3 to a and 2 to b. Gradients: a 3, b 2, L 1.
    """
    called = {id(x): name for name, x in names.items()}
    turns = {id(f.step.node): i for i, f in enumerate(frames) if f.step is not None}
    frame = frames[number]

    def lines(x: Any, at: Frame) -> tuple[str, ...]:
        first = called.get(id(x), "")
        if not isinstance(x, Node):
            return first or "constant", f"value {_short(np.asarray(x))}", ""
        if x.op is not None:
            first = f"step {turns[id(x)]}: {_named(x, called)}" if id(x) in turns else _named(x, called)
        value = f"value {_short(x.data)}"
        return first or ("leaf" if x.requires_grad else "constant"), value, _gradient(x, at)

    def label(x: Any) -> tuple[tuple[str, ...], str]:
        widest = max(len(line) for at in frames for line in lines(x, at))  # boxes stay where they are from step to step
        return tuple(line.center(widest) for line in lines(x, frame)), _kind(x, frame, turns.get(id(x), 0) > number)

    title = _said(frame, number, len(frames) - 1, called)
    so_far = [f"{name} {_short(frame.gradients[id(x)])}" for name, x in names.items() if id(x) in frame.gradients]
    words = " ".join(title) + (f" Gradients: {', '.join(so_far)}." if so_far else "")
    return Picture(draw_labelled(tensor, label, title), words)


def explore_backward(tensor: Tensor, gradient: Any = None, **names: Tensor) -> Any:
    """Show backward with a slider for the step; without ipywidgets, a static picture of its end.

    Args:
        tensor: where backward starts; nothing is written into its leaves.
        gradient: of the tensor itself; needed unless it has one element.
        names: of tensors, for the picture.

    Returns:
        A widget, which a notebook shows; or the Picture of the last step if ipywidgets (extra `notebooks`) is missing.

    Raises:
        RuntimeError, ValueError: as `step_backward` and `draw`.
    """
    frames = backward_frames(tensor, gradient)
    last = len(frames) - 1
    return explore(
        lambda step: draw_backward(tensor, frames, step, **names),
        lambda: draw_backward(tensor, frames, last, **names),
        step=Slider("steps done", 0, last, play=True),
    )


def _named(x: Node, called: dict[int, str]) -> str:
    """Name a node by its own name and its op's."""
    parts = [called.get(id(x), ""), x.op.name if x.op is not None else ""]
    return " = ".join(part for part in parts if part)


def _gradient(x: Node, frame: Frame) -> str:
    """Say a node's gradient, and whether it is complete."""
    if not x.requires_grad:
        return "no gradient"
    if id(x) not in frame.gradients:
        return "gradient: not yet"
    return f"gradient {'so far ' if frame.missing.get(id(x)) else ''}{_short(frame.gradients[id(x)])}"


def _kind(x: Any, frame: Frame, waits: bool) -> str:
    """Return the box's kind, as `draw_labelled` has it."""
    if not isinstance(x, Node) or not x.requires_grad:
        return "constant"
    kind = "leaf" if x.op is None else "op"
    if waits:
        kind += " waiting"
    if frame.step is not None and x is frame.step.node:
        return f"{kind} now"
    return f"{kind} gets" if frame.step is not None and any(x is y for y, _ in frame.step.outgoing) else kind


def _said(frame: Frame, number: int, last: int, called: dict[int, str]) -> list[str]:
    """Say in two lines what the step did."""
    if frame.step is None:
        (start,) = frame.gradients.values()
        return [f"Before step 1 of {last}:", f"the result's own gradient is {_short(start)}."]
    step = frame.step
    head = f"Step {number} of {last}: {_named(step.node, called) or 'leaf'}, whose gradient is {_short(step.incoming)},"
    shares = [
        f"{_short(share)} to {called.get(id(x)) or _named(x, called) or argument}"
        for argument, (x, share) in zip(step.arguments, step.outgoing, strict=True)
    ]
    return [head, f"passes on {' and '.join(shares)}." if shares else "is the end of the way."]


def _short(array: Array) -> str:
    return f"{array.item():.4g}" if array.size == 1 else values_of(array)
