"""The search: a teacher, then route by route narrower and sparser models, each stored in several ways.

Work is shared: one teacher serves all routes, each pruning goes on from the one before, and each model on the way is stored in
all ways. A candidate's size is that of a real file, and its accuracy that of the model read from it.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import minigrad
from minigrad import nn
from minigrad.datasets import ImageDataset
from minigrad.errors import NonFiniteLossError
from minigrad.loader import DataLoader
from minigrad.optim import Adam, CosineAnnealingLR, Optimizer
from minigrad.tensor import Array
from minigrad.training import count_correct

from ..coding import Container, SharedSGD, Storage, load_mgz, save_mgz, share_weights_of
from ..demo import evaluation_loader
from ..distillation import DistillationLoss, checksum_of_model, distill, teacher_logits
from ..distillation.teachers import checksum_of_images
from ..models import as_sequential
from ..pruning import SparsePruner, choose, prunable, prune_channels, shrink
from .candidates import Candidate
from .plan import Coding, Plan, Route
from .store import Store

Say = Callable[[str], Any]


class Search:
    """A search for small files that hold a model.

    Args:
        model: a trained chain of layers; it stays as it is, and what is zero in it stays zero.
        plan: what to try.
        training: images to train on.
        held_out: images that decide; neither the model nor the search must have been trained on them.
        folder: keeps what was found; a search that was interrupted goes on from there.

    Raises:
        ValueError: the model is no chain of layers; the folder holds another search.

    Attributes:
        source: the model as a chain.
        store: its folder.
    """

    def __init__(self, model: nn.Module, plan: Plan, training: ImageDataset, held_out: ImageDataset, folder: Path):
        self.plan, self.held_out = plan, held_out
        self.training = training.subset(np.arange(len(training))[: plan.images])
        self.source = as_sequential(model, self.training.images[:1])
        parts = [array for part in (self.training, held_out) for array in (part.images, part.labels)]
        self.store = Store(
            folder,
            {
                "model": checksum_of_model(self.source),
                "images": [checksum_of_images(array) for array in parts],
                "plan": asdict(plan),
            },
        )

    def run(self, accuracy: float, say: Say = lambda line: None) -> list[Candidate]:
        """Return all candidates, in the order in which they were found. What is in the folder is not made again.

        Args:
            accuracy: that is asked for, percent: decides how far each route is followed, see `Plan.give_up`.
            say: called with a line of text for each candidate.
        """
        found: list[Candidate] = []
        plan = self.plan
        with tqdm(total=len(plan.routes), desc="routes", disable=None, leave=False) as bar:
            for route in plan.routes:
                for name, model in self.models(route):
                    here: list[Candidate] = []
                    for coding in plan.codings:
                        here.append(c := self.candidate(name, route, model, coding))
                        say(f"{c.name:<52}{c.bytes:>8,} B  held-out accuracy {c.accuracy:.2f} %")
                    found += here
                    if max(c.accuracy for c in here) < accuracy - plan.give_up:
                        say(f"{route.name}: ends here, {plan.give_up:g} points below what is asked for")
                        break
                bar.update()
        return found

    @cached_property
    def teacher(self) -> nn.Sequential:
        """The given model, trained on."""

        def make() -> nn.Module:
            model = copy.deepcopy(self.source)
            self._tune_(model, self.plan.teacher_epochs, taught=False)
            return model

        return self.store.model("teacher", make)

    def models(self, route: Route) -> Iterator[tuple[str, nn.Sequential]]:
        """Yield name and model: narrowed, then ever sparser, without what has become dead."""
        name = route.name
        model = self.store.model(name, partial(self._narrow, route))
        yield name, model
        whole = sum(p.size for p in prunable(self.source).values())
        for kept in self.plan.kept:
            count = round(kept * whole)
            if count < sum(np.count_nonzero(p.data) for p in prunable(model).values()):
                name = f"{route.name}-kept{100 * kept:g}"
                model = self.store.model(name, partial(self._prune, model, count, route.taught))
                yield name, model

    def candidate(self, name: str, route: Route, model: nn.Sequential, coding: Coding) -> Candidate:
        """Return a model's candidate in one way of storing it."""
        full = f"{name}-{coding.name}"

        def make(file: Path) -> Candidate:
            """Write the file, and read the held-out images with what is in it."""
            coded = model
            if coding.way == "codebook":
                coded = self._share(model, coding, route.taught)
            container = _pack(file, coded, coding)
            correct, images = count_correct(load_mgz(file), evaluation_loader(self.held_out))
            layers = {layer.name: layer.weight for layer in container.layers if layer.weight is not None}
            return Candidate(
                full, name, coding.name, route.taught, container.size, correct, images,
                {name: int(w.positions.size) for name, w in layers.items()},
                {name: w.shape[0] for name, w in layers.items()},
            )  # fmt: skip

        return self.store.candidate(full, make)

    def _narrow(self, route: Route) -> nn.Module:
        """Return the teacher without its least filters and neurons, trained on."""
        weighted = _weighted(self.teacher)
        shares = {
            name: 1 - (route.filters if isinstance(layer, nn.Conv2d) else route.neurons)
            for name, layer in list(weighted.items())[:-1]  # the last layer's outputs are the classes
        }
        model = shrink(prune_channels(self.teacher, shares)) if any(shares.values()) else copy.deepcopy(self.teacher)
        self._tune_(model, self.plan.epochs, route.taught)
        return model

    def _prune(self, model: nn.Module, count: int, taught: bool) -> nn.Module:
        """Return a copy with so many weights, those of largest magnitude in all layers together, trained on."""
        sparsity = 1 - count / sum(p.size for p in prunable(model).values())
        pruner = SparsePruner.from_masks(choose(model, sparsity, scope="global").masks)
        pruned = pruner.prune(model)
        self._tune_(pruned, self.plan.epochs, taught)
        return shrink(pruned)

    def _share(self, model: nn.Sequential, coding: Coding, taught: bool) -> nn.Module:
        """Return a copy with shared weights; the training of the centroids is kept if it reads more held-out images."""
        bits = {f"{name}.weight": storage.bits or 8 for name, storage in _storage(model, coding).items()}
        shared = share_weights_of(model, bits)
        trained = copy.deepcopy(shared)
        optimizer = SharedSGD(trained, self.plan.centroid_lr, self.plan.momentum)
        try:
            self._train_(trained, optimizer, self.plan.centroid_epochs, taught)
        except NonFiniteLossError:
            return shared
        loader = evaluation_loader(self.held_out)
        return max((shared, trained), key=lambda m: count_correct(m, loader)[0])

    def _tune_(self, model: nn.Module, epochs: int, taught: bool) -> None:
        """Train a model in place; zeros stay."""
        pruner = SparsePruner.from_zeros(model)
        self._train_(model, Adam(model.parameters(), self.plan.lr), epochs, taught, pruner.apply_)

    def _train_(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        epochs: int,
        taught: bool,
        after_step: Callable[[Any], Any] | None = None,
    ) -> None:
        plan = self.plan
        loader = DataLoader(self.training.images, self.training.labels, plan.batch_size, shuffle=True, seed=plan.seed)
        schedule = CosineAnnealingLR(optimizer, epochs * len(loader))
        settings: dict[str, Any] = {"schedule": schedule, "schedule_each": "step", "after_step": after_step}
        if taught:
            loss = DistillationLoss(plan.temperature, plan.alpha)
            distill(model, self._logits, loader, loss, optimizer, epochs, **settings)
        else:
            minigrad.fit(model, loader, nn.CrossEntropyLoss(), optimizer, epochs, **settings)

    @cached_property
    def _logits(self) -> Array:
        """What the teacher says of each training image, (N, K)."""
        return teacher_logits(self.teacher, self.training)


def _weighted(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers with weights, by name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}


def _storage(model: nn.Module, coding: Coding) -> dict[str, Storage]:
    return {
        name: Storage(coding.way, coding.conv_bits if isinstance(layer, nn.Conv2d) else coding.linear_bits)
        for name, layer in _weighted(model).items()
    }


def _pack(file: Path, model: nn.Module, coding: Coding) -> Container:
    return save_mgz(file, model, _storage(model, coding), float_bits=16)
