"""A pruned weight is exactly +0.0 after whatever trains or stores the model: the one place where that is tested.

A part that trains, converts or exports pruned models adds a case here: a function, marked @case, that is given a `Setup` and
yields (name → array, masks) whenever the zeros must stand. Each runs over optimizers, their settings and criteria.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad
from minigrad import DataLoader, load_checkpoint, nn, save_checkpoint
from minigrad.compression.distillation import DistillationLoss, distill, teacher_logits
from minigrad.compression.integer import IntegerModel, to_integer
from minigrad.compression.pruning import (
    CRITERIA,
    SparsePruner,
    choose,
    even_targets,
    finetune,
    gradual,
    prune_rounds,
    with_penalty,
)
from minigrad.compression.quantization import as_float_chain, convert, prepare_qat, train_qat
from minigrad.optim import SGD, Adam, AdamW, RMSprop

Zeros = Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]


@dataclass
class Setup:
    """What a case works with.

    Attributes:
        dense: a model that is not pruned.
        model: a pruned copy of it, the case's to change.
        pruner: its masks.
        loader: 24 points in batches of 8, three classes.
        optimizer: makes an optimizer of parameters.
        choose: picks weights, by the criterion drawn.
        sparsity: of the model.
    """

    dense: nn.Module
    model: nn.Module
    pruner: SparsePruner
    loader: DataLoader
    optimizer: Callable[..., Any]
    choose: Callable[..., Any]
    sparsity: float

    def train(self, model, after_step, loss_fn=None):
        loss_fn = loss_fn or nn.CrossEntropyLoss()
        minigrad.train(model, self.loader, loss_fn, self.optimizer(model.parameters()), after_step)


CASES: dict[str, Callable[[Setup], Zeros]] = {}


def case(function):
    CASES[function.__name__] = function
    return function


@case
def every_step_of_training(setup) -> Zeros:
    states: list[Mapping[str, Any]] = []

    def after_step(model):
        setup.pruner.apply_(model)
        states.append(model.state_dict())

    setup.train(setup.model, after_step)
    assert len(states) == 3
    for state in states:
        yield state, setup.pruner.masks


@case
def training_with_a_penalty(setup) -> Zeros:
    loss_fn = with_penalty(nn.CrossEntropyLoss(), setup.model.parameters(), l1=0.1, l2=0.1)
    setup.train(setup.model, setup.pruner.apply_, loss_fn)
    yield setup.model.state_dict(), setup.pruner.masks


@case
def a_resumed_run(setup) -> Zeros:
    with tempfile.TemporaryDirectory() as folder:
        for epochs, model in ((1, setup.model), (2, setup.dense)):  # the second goes on where the first stopped
            optimizer = setup.optimizer(model.parameters())
            minigrad.fit(
                model, setup.loader, nn.CrossEntropyLoss(), optimizer, epochs, checkpoint=Path(folder) / "run", every=1,
                after_step=setup.pruner.apply_,
            )  # fmt: skip
            yield model.state_dict(), setup.pruner.masks
            arrays, _ = minigrad.read_checkpoint(Path(folder) / "run")
            yield {name.removeprefix("model."): array for name, array in arrays.items()}, setup.pruner.masks


@case
def the_best_epoch_of_fine_tuning(setup) -> Zeros:
    found = finetune(setup.model, setup.pruner, setup.loader, setup.loader, epochs=2, lr=0.1, momentum=0.9)
    for model in (found.best, setup.model):
        yield model.state_dict(), setup.pruner.masks


@case
def a_student_that_is_distilled(setup) -> Zeros:
    teacher, loss = copy.deepcopy(setup.dense), DistillationLoss(4.0, 0.7)
    for source in (teacher, teacher_logits(teacher, setup.loader.images)):
        optimizer = setup.optimizer(setup.model.parameters())
        distill(setup.model, source, setup.loader, loss, optimizer, epochs=1, after_step=setup.pruner.apply_)
        yield setup.model.state_dict(), setup.pruner.masks


@case
def rounds_of_pruning_and_training(setup) -> Zeros:
    targets = even_targets(setup.sparsity, 2)
    for done in prune_rounds(setup.model, targets, setup.choose, setup.train, earlier=setup.pruner.masks):
        for model in (done.pruned, done.trained):
            yield model.state_dict(), setup.pruner.masks
            yield model.state_dict(), done.pruner.masks


@case
def lottery_tickets(setup) -> Zeros:
    first = setup.dense.state_dict()
    for done in prune_rounds(setup.model, even_targets(setup.sparsity, 2), setup.choose, setup.train, rewind_to=first):
        for model in (done.pruned, done.trained):
            yield model.state_dict(), done.pruner.masks


@case
def gradual_pruning(setup) -> Zeros:
    done = gradual(setup.dense, setup.sparsity, setup.choose, setup.train, steps=2, every=1)
    for model in (done.pruned, done.trained):
        yield model.state_dict(), done.pruner.masks


@case
def a_checkpoint(setup) -> Zeros:
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "a.safetensors", setup.model)
        load_checkpoint(Path(folder) / "a.safetensors", setup.dense)
    yield setup.dense.state_dict(), setup.pruner.masks


@case
def quantization_aware_training_and_its_integers(setup) -> Zeros:
    model = nn.Sequential()
    for name, layer in ({"flatten": nn.Flatten()} | vars(setup.dense)).items():
        setattr(model, name, layer)
    loader = DataLoader(setup.loader.images.reshape(-1, 1, 2, 2), setup.loader.labels, 8)
    for how in ({"bits": 2, "learned": True}, {"bits": {"0": 8, "3": 3}}, {"power_of_two": True, "per_channel": False}):
        qat = prepare_qat(model, loader.images, std=1.0, **how)
        setup.pruner.apply_(qat)
        for teacher in (None, model):
            train_qat(qat, loader, 1, optimizer=setup.optimizer(qat.parameters()), teacher=teacher)
            yield qat.state_dict(), setup.pruner.masks
        yield as_float_chain(qat)[0].state_dict(), setup.pruner.masks
        yield integers(convert(qat, input_shape=(1, 2, 2), mean=0.0, std=1.0)), setup.pruner.masks


@case
def integers_without_training_and_their_file(setup) -> Zeros:
    model = nn.Sequential(nn.Flatten(), copy.deepcopy(setup.model))
    masks = {f"1.{name}": mask for name, mask in setup.pruner.masks.items()}
    pixels = np.arange(24 * 4, dtype=np.uint8).reshape(24, 1, 2, 2)
    for bits in (8, 4, 2):
        integer = to_integer(model, pixels, bits=bits)
        yield integers(integer), masks
        with tempfile.TemporaryDirectory() as folder:
            integer.save(Path(folder) / "model")
            yield integers(IntegerModel.load(Path(folder) / "model")), masks


def integers(model):
    return {f"{layer.name}.weight": layer.weight for layer in model.layers if hasattr(layer, "weight")}


def check(arrays, masks):
    """Raise unless every masked weight is +0.0."""
    assert masks
    for name, mask in masks.items():
        gone = arrays[name][~mask]
        assert (gone == 0).all(), f"{name}: {np.count_nonzero(gone)} of {gone.size} pruned weights are not zero"
        assert not np.signbit(gone).any(), f"{name}: -0.0"
        assert np.isfinite(arrays[name]).all(), f"{name}: not finite"


RATE, DECAY, MOMENTUM = st.floats(1e-4, 0.05), st.floats(0, 0.5), st.floats(0.1, 0.95)
OPTIMIZERS = st.one_of(
    st.builds(partial, st.just(SGD), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY, nesterov=st.booleans()),
    st.builds(partial, st.just(Adam), lr=RATE, weight_decay=DECAY),
    st.builds(partial, st.just(AdamW), lr=RATE, weight_decay=DECAY),
    st.builds(partial, st.just(RMSprop), lr=RATE, weight_decay=DECAY, momentum=MOMENTUM),
)
CHOICES = st.one_of(
    st.builds(
        dict,
        criterion=st.sampled_from(list(CRITERIA)),
        scope=st.sampled_from(["local", "global"]),
        ties=st.sampled_from(["drop", "exact"]),
    ),
    st.builds(dict, criterion=st.sampled_from(list(CRITERIA)), pattern=st.sampled_from(["1:4", "2x2"])),
)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(optimizer=OPTIMIZERS, choice=CHOICES, sparsity=st.floats(0.2, 0.8), seed=st.integers(0, 99))
def test_pruned_weights_are_exactly_zero(name, optimizer, choice, sparsity, seed):
    minigrad.manual_seed(seed)
    rng = np.random.default_rng(seed)
    loader = DataLoader(rng.normal(size=(24, 4)).astype(np.float32), rng.integers(0, 3, 24), 8, shuffle=True, seed=seed)
    dense = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    chooser = partial(choose, loader=loader, seed=seed, **choice)
    pruner = SparsePruner.from_masks(chooser(dense, sparsity).masks)
    seen = 0
    for arrays, masks in CASES[name](Setup(dense, pruner.prune(dense), pruner, loader, optimizer, chooser, sparsity)):
        check(arrays, masks)
        seen += 1
    assert seen


@pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW, RMSprop])
def test_the_check_notices_training_that_forgets_the_masks(optimizer, rng):
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    pruner = SparsePruner.from_masks(choose(model, 0.5).masks)
    pruner.apply_(model)
    check(model.state_dict(), pruner.masks)
    loader = DataLoader(rng.normal(size=(24, 4)).astype(np.float32), rng.integers(0, 3, 24), 8)
    minigrad.train(model, loader, nn.CrossEntropyLoss(), optimizer(model.parameters(), lr=0.01))
    with pytest.raises(AssertionError, match="pruned weights are not zero"):
        check(model.state_dict(), pruner.masks)
    model[0].weight.data[...] = -0.0
    with pytest.raises(AssertionError, match=r"-0\.0"):
        check({"0.weight": model[0].weight.data}, {"0.weight": pruner.masks["0.weight"]})
