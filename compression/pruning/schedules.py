"""When weights go: at once, in rounds, step by step during training, or in rounds with a return to the first weights.

A schedule is given two functions. `choose(model, target, earlier=masks)` picks the weights that stay: `selection.choose`, or
`functools.partial(choose, criterion="taylor", loader=loader)`. `train_(model, after_step)` trains the model in place and
calls after_step(model) after every step of the optimizer, as `minigrad.train` does.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minigrad import functional as F
from minigrad.nn import Dropout, Module
from minigrad.tensor import Array, Tensor

from .criteria import Names, prunable
from .ledger import Ledger
from .pruner import SparsePruner
from .selection import Choice, Masks, Target

Choose = Callable[..., Choice]
AfterStep = Callable[[Any], Any]
Train = Callable[[Any, AfterStep], Any]


@dataclass
class Round:
    """What a round of pruning left.

    Attributes:
        number: counted from 1.
        choice: what was chosen, and why.
        pruner: the masks.
        pruned: the model right after pruning (in a lottery: the ticket, with its first weights).
        trained: the model after training.
    """

    number: int
    choice: Choice
    pruner: SparsePruner
    pruned: Any
    trained: Any


def one_shot(model: Module, target: Target, choose: Choose, **settings: Any) -> Round:
    """Prune once, and do not train. Settings (earlier, ledger) are those of `prune_rounds`.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> from minigrad.compression.pruning import ARTICLE_SPARSITY, choose, model_sparsity
        >>> f"{model_sparsity(one_shot(LeNet(), ARTICLE_SPARSITY, choose).pruned):.4f}"
        '0.7387'
    """
    return next(prune_rounds(model, [target], choose, lambda model, after_step: None, **settings))


def prune_rounds(
    model: Module,
    targets: Iterable[Target],
    choose: Choose,
    train_: Train,
    *,
    rewind_to: Mapping[str, Array] | None = None,
    earlier: Masks | None = None,
    dropout: bool = False,
    ledger: Ledger | None = None,
) -> Iterator[Round]:
    """Prune and train, round by round. Yields each round when it is done, so that the caller may stop.

    Args:
        model: a trained model; it is left as it is.
        targets: the sparsity of each round, as `choose` takes it: see `even_targets` and `lottery_targets`.
        choose, train_: see above. Training holds the masks.
        rewind_to: None to train on; or a `state_dict()` to which the weights that are left return before training: with
            that of the untrained model, each round draws a lottery ticket.
        earlier: masks that hold from the start.
        dropout: whether to adjust dropout to the connections that are left (`adjust_dropout`).
        ledger: records each round.

    Source:
        Rounds of pruning and training: Han et al., "Learning both weights and connections for efficient neural networks",
        2015. Rewinding: Frankle and Carbin, "The lottery ticket hypothesis", 2019.
    """
    current, masks = model, earlier
    for number, target in enumerate(targets, 1):
        choice = choose(current, target, earlier=masks)
        if ledger is not None:
            ledger.record(current, choice)
        masks = {**(masks or {}), **choice.masks}
        pruner = SparsePruner.from_masks(masks)
        pruned = pruner.prune(current)
        if rewind_to is not None:
            pruned.load_state_dict(rewind_to)
            pruner.apply_(pruned)
        if dropout:
            pruned = adjust_dropout(pruned, masks, original=model)
        current = copy.deepcopy(pruned)
        train_(current, pruner.apply_)
        yield Round(number, choice, pruner, pruned, copy.deepcopy(current))


def even_targets(target: Target, rounds: int) -> list[Target]:
    """Return a target for each round, such that each removes the same share of what is left and the last reaches `target`.

    Raises:
        ValueError: rounds is below 1, or a sparsity is outside [0, 1].

    Example:
        >>> [f"{sparsity:.2f}" for sparsity in even_targets(0.875, 3)]
        ['0.50', '0.75', '0.88']
    """
    if rounds < 1:
        raise ValueError(f"even_targets: rounds is {rounds}, expected 1 or more")
    before = [_map(target, lambda s, r=r: 1 - (1 - _checked(s)) ** (r / rounds)) for r in range(1, rounds)]
    return [*before, _map(target, _checked)]


def lottery_targets(
    model: Module, rounds: int, share: float = 0.2, output_share: float = 0.1, names: Names = None
) -> list[Target]:
    """Return the sparsities of a lottery's rounds: each removes `share` of what a layer has left, of the last layer less.

    Args:
        model: gives the names; the last one is the output layer.
        rounds: at least 1.
        share, output_share: 0 to 1.
        names: see `choose`.

    Raises:
        ValueError: rounds is below 1 or a share outside [0, 1].

    Source:
        Frankle and Carbin, "The lottery ticket hypothesis", 2019, appendix G (LeNet-300-100: 20 % and 10 % a round).

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> {name: f"{sparsity:.3f}" for name, sparsity in lottery_targets(LeNet(), 2)[-1].items()}
        {'conv1.weight': '0.360', 'conv2.weight': '0.360', 'fc1.weight': '0.360', 'fc2.weight': '0.360', 'fc3.weight': '0.190'}
    """
    if rounds < 1:
        raise ValueError(f"lottery_targets: rounds is {rounds}, expected 1 or more")
    weights = list(prunable(model, names))
    shares = dict.fromkeys(weights, _checked(share)) | dict.fromkeys(weights[-1:], _checked(output_share))
    return [{name: 1 - (1 - s) ** r for name, s in shares.items()} for r in range(1, rounds + 1)]


def cubic_sparsity(step: int, steps: int, final: float, initial: float = 0.0, begin: int = 0) -> float:
    """Sparsity at a step of gradual pruning: final + (initial - final) · (1 - (step - begin) / steps)³.

    It rises from `initial`, at `begin`, to `final`, at begin + steps: fast while there is much to spare, then ever slower.

    Raises:
        ValueError: steps is below 1.

    Source:
        Zhu and Gupta, "To prune, or not to prune", 2017, equation 1.

    Example:
        >>> [cubic_sparsity(step, steps=4, final=0.64) for step in (0, 2, 4, 9)]
        [0.0, 0.56, 0.64, 0.64]
    """
    if steps < 1:
        raise ValueError(f"cubic_sparsity: steps is {steps}, expected 1 or more")
    left = 1 - min(max((step - begin) / steps, 0.0), 1.0)
    return final + (initial - final) * left**3


def gradual(
    model: Module,
    target: Target,
    choose: Choose,
    train_: Train,
    *,
    steps: int,
    every: int = 100,
    begin: int = 0,
    earlier: Masks | None = None,
    ledger: Ledger | None = None,
) -> Round:
    """Prune during training: every so many steps a few more weights go, along `cubic_sparsity`. Then train to the end.

    Args:
        model: is left as it is.
        target: sparsity at the end.
        choose, train_, earlier, ledger: see `prune_rounds`. What has gone does not come back.
        steps: optimizer steps over which the sparsity rises. Training may go on after them.
        every: steps from one pruning to the next; the last is at step begin + steps in any case.
        begin: steps before the first weights go.

    Raises:
        ValueError: steps or every is below 1; training ended before the target was reached.

    Source:
        Zhu and Gupta, "To prune, or not to prune", 2017.
    """
    if steps < 1 or every < 1:
        raise ValueError(f"gradual: steps is {steps} and every is {every}, expected 1 or more of both")
    trained = copy.deepcopy(model)
    pruner, choice = SparsePruner.from_masks(earlier or {}), Choice({}, {})
    pruner.apply_(trained)
    pruned, number, done = trained, 0, 0

    def after_step(current: Module) -> None:
        """Prune if it is time, and re-apply all masks so far."""
        nonlocal pruner, choice, pruned, number, done
        done += 1
        since = done - begin
        if since == steps or (0 < since < steps and since % every == 0):
            now = _map(target, lambda s: cubic_sparsity(done, steps, _checked(s), begin=begin))
            choice, number = choose(current, now, earlier=pruner.masks), number + 1
            if ledger is not None:
                ledger.record(current, choice)
            pruner = SparsePruner.from_masks({**pruner.masks, **choice.masks})
            if since == steps:
                pruned = pruner.prune(current)
        pruner.apply_(current)

    train_(trained, after_step)
    if done < begin + steps:
        raise ValueError(
            f"gradual: training ended after {done} steps, and the sparsity is reached at step {begin + steps}; "
            "train longer, or take fewer steps"
        )
    return Round(number, choice, pruner, pruned, trained)


def with_penalty(
    loss_fn: Callable[..., Tensor], parameters: Iterable[Tensor], l1: float = 0.0, l2: float = 0.0
) -> Callable[..., Tensor]:
    """Return loss_fn with l1 · Σ|w| + l2 · Σw² added, to train with before pruning: weights that can be small become so.

    Raises:
        ValueError: a factor is negative, or there are no parameters.

    Source:
        Han et al. 2015, section 3.1: L1 leaves more weights near zero and is better right after pruning; L2 is better once
        the pruned model has been trained on.

    Example:
        >>> from minigrad import nn
        >>> layer = nn.Linear(2, 2)
        >>> layer.weight.data[...] = [[3, -4], [0, 0]]
        >>> loss = with_penalty(F.cross_entropy, [layer.weight], l1=0.5)
        >>> float(loss([[0.0, 0.0]], [0]).data - F.cross_entropy([[0.0, 0.0]], [0]).data)
        3.5
    """
    weights = list(parameters)
    if not weights:
        raise ValueError("with_penalty: there are no parameters; model.parameters() can be gone through only once")
    if not (l1 >= 0 and l2 >= 0):
        raise ValueError(f"with_penalty: l1 is {l1} and l2 is {l2}, expected 0 or more")

    def loss(*arguments: Any) -> Tensor:
        total = loss_fn(*arguments)
        total = total + l1 * F.l1_penalty(weights) if l1 else total
        return total + l2 * F.l2_penalty(weights) if l2 else total

    return loss


def adjusted_dropout(p: float, kept: int, total: int) -> float:
    """Dropout rate for a layer with `kept` of `total` connections: p · sqrt(kept / total). A pruned layer overfits less.

    Source:
        Han et al. 2015, equation 2.

    Example:
        >>> adjusted_dropout(0.5, 25, 100)
        0.25
    """
    return p * math.sqrt(kept / total) if total else p


def adjust_dropout(model: Module, masks: Masks, original: Module | None = None) -> Any:
    """Return a copy of `model` with each Dropout's rate adjusted to the layer before it.

    Args:
        model: a pruned model. A Dropout belongs to the last layer with a mask that was set before it, as in Sequential; one
            without such a layer, on the input say, keeps its rate.
        masks: name → mask.
        original: gives the rates from before pruning; by default `model` itself does.

    Raises:
        KeyError: original lacks a Dropout of the model.

    Source:
        Han et al. 2015, section 3.3.

    Example:
        >>> import numpy as np
        >>> from minigrad import nn
        >>> net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        >>> adjust_dropout(net, {"0.weight": np.arange(16).reshape(4, 4) < 4})[1]
        Dropout(p=0.25)
    """
    rates = {path: m.p for path, m in (original or model).named_modules() if isinstance(m, Dropout)}
    adjusted, before = copy.deepcopy(model), None
    for path, module in adjusted.named_modules():
        mask = masks.get(f"{path}.weight" if path else "weight")
        before = before if mask is None else mask
        if isinstance(module, Dropout) and before is not None:
            if path not in rates:
                raise KeyError(f"adjust_dropout: the original model has no Dropout {path!r}")
            module.p = adjusted_dropout(rates[path], int(before.sum()), before.size)
    return adjusted


def _checked(sparsity: float) -> float:
    if not 0 <= sparsity <= 1:
        raise ValueError(f"schedule: a share is {sparsity}, expected 0 to 1")
    return sparsity


def _map(target: Target, function: Callable[[float], float]) -> Target:
    if isinstance(target, Mapping):
        return {name: function(sparsity) for name, sparsity in target.items()}
    return function(target)
