"""What a weight is worth: scores by which weights are ranked. The lowest go first.

Every criterion is called as criterion(model, names, loader, seed) and returns name → scores of the weight's shape. The model
is left as it is: whatever needs gradients works on a copy, and in evaluation mode unless it says otherwise. Losses are the
cross-entropy of the labels, since the models here are classifiers.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minigrad import functional as F
from minigrad.functional import fusion
from minigrad.loader import DataLoader
from minigrad.nn import Module, Parameter
from minigrad.optim import SGD
from minigrad.tape import Observer, no_grad, observing
from minigrad.tensor import Array, Tensor
from minigrad.training import evaluating

from .pruner import SparsePruner

Scores = dict[str, Array]
Names = Iterable[str] | None


def prunable(model: Module, names: Names = None) -> dict[str, Parameter]:
    """Return name → parameter of what may be pruned: by default all parameters of two or more dimensions.

    Biases and normalisation have one dimension and are left alone unless they are named.

    Raises:
        KeyError: the model has no such parameter.

    Example:
        >>> from minigrad import nn
        >>> list(prunable(nn.Linear(3, 2))), list(prunable(nn.Linear(3, 2), ["bias"]))
        (['weight'], ['bias'])
    """
    parameters = dict(model.named_parameters())
    if names is None:
        return {name: p for name, p in parameters.items() if p.ndim > 1}
    names = list(names)
    if unknown := [name for name in names if name not in parameters]:
        raise KeyError(f"pruning: {type(model).__name__} has no parameter {unknown[0]!r}; it has {list(parameters)}")
    return {name: parameters[name] for name in names}


def magnitude(model: Module, names: Names = None, loader: DataLoader | None = None, seed: int = 0) -> Scores:
    """|w|, the L1 norm of a single weight. Neither loader nor seed is used.

    Source:
        Han et al., "Learning both weights and connections for efficient neural networks", 2015; the pruning article.

    Example:
        >>> from minigrad import nn
        >>> layer = nn.Linear(2, 1)
        >>> layer.weight.data[...] = [[-3, 2]]
        >>> magnitude(layer)
        {'weight': array([[3., 2.]], dtype=float32)}
    """
    return {name: np.abs(p.data) for name, p in prunable(model, names).items()}


def l2(model: Module, names: Names = None, loader: DataLoader | None = None, seed: int = 0) -> Scores:
    """w², the squared L2 norm of a single weight. Neither loader nor seed is used.

    Of single weights within one choice this ranks as `magnitude` does. The two differ where scores are added up, over a
    filter or a block: (3, 0) has the smaller L1 norm beside (2, 2), and the larger L2 norm.

    Source:
        Li et al., "Pruning filters for efficient convnets", 2017, compares the norms of filters.
    """
    return {name: p.data * p.data for name, p in prunable(model, names).items()}


def random(model: Module, names: Names = None, loader: DataLoader | None = None, seed: int = 0) -> Scores:
    """Numbers drawn evenly from [0, 1): the control that every other criterion must beat. The loader is not used."""
    rng = np.random.default_rng(seed)
    return {name: rng.random(p.shape, np.float32) for name, p in prunable(model, names).items()}


def gradient(model: Module, names: Names = None, loader: DataLoader | None = None, seed: int = 0) -> Scores:
    """|∂L/∂w|, L being the mean loss over the loader's images: how fast the loss would change, not by how much.

    It does not ask how far a weight is from zero: a large one in a flat place goes first. `taylor` repairs that.

    Raises:
        ValueError: there is no loader, or it has no images.

    Source:
        The article on quantization and pruning in practice names the size of the gradient among the rules.
    """
    return {name: np.abs(g) for name, (_, g) in _weights_and_gradients("gradient", model, names, loader).items()}


def taylor(model: Module, names: Names = None, loader: DataLoader | None = None, seed: int = 0) -> Scores:
    """|w · ∂L/∂w|: the change of the mean loss when w is set to zero, to first order.

    L(w = 0) - L ≈ -w · ∂L/∂w.

    Raises:
        ValueError: there is no loader, or it has no images.

    Source:
        Mozer and Smolensky, "Skeletonization", 1989; Molchanov et al., "Pruning convolutional neural networks for resource
        efficient inference", 2017.
    """
    return {name: np.abs(w * g) for name, (w, g) in _weights_and_gradients("taylor", model, names, loader).items()}


def movement(
    model: Module, names: Names = None, loader: DataLoader | None = None, seed: int = 0, lr: float = 0.01
) -> Scores:
    """-Σ w · ∂L/∂w over the steps of one epoch of training: positive where training moves a weight away from zero.

    A copy of the model is trained by plain SGD, in training mode, with batches in an order drawn from the seed. Weights
    that are zero are held there. What counts is where weights go, not where they are. It was made for fine-tuning on
    another task: where training has settled, w · ∂L/∂w is mostly noise, of which large weights have the most.

    Raises:
        ValueError: there is no loader, or it has no images.

    Source:
        Sanh et al., "Movement pruning: adaptive sparsity by fine-tuning", 2020, without its constant factor.
        There, scores are gathered while the mask changes and gradients pass through it; here, before the mask is chosen.
    """
    loader = _needed("movement", loader)
    trained, weights = _copy(model, names)
    trained.train()
    pruner, optimizer = SparsePruner.from_zeros(trained), SGD(trained.parameters(), lr)
    scores = {name: np.zeros_like(p.data) for name, p in weights.items()}
    for x, targets in loader.batches(np.random.default_rng(seed).permutation(len(loader.labels))):
        for name, g in _gradients(trained, weights, F.cross_entropy(trained(x), targets)).items():
            scores[name] -= weights[name].data * g
        optimizer.step()
        pruner.apply_(trained)
    return scores


def activation(model: Module, names: Names = None, loader: DataLoader | None = None, seed: int = 0) -> Scores:
    """How often a weight's filter or neuron is active: 1 - APoZ, the average percentage of zeros behind its ReLU.

    All weights of a filter or neuron share its score; among them (and among equal ones) the smaller weight goes first, for
    which |w|, scaled to at most 1e-9, is added. Layers without a ReLU behind them (or one behind a normalisation or
    pooling), such as the last, are never inactive: they score 1.

    Returns:
        name → float64 scores.

    Raises:
        ValueError: there is no loader, or it has no images.

    Source:
        Hu et al., "Network trimming: a data-driven neuron pruning approach", 2016. It removes whole neurons.
    """
    loader = _needed("activation", loader)
    weights = prunable(model, names)
    counter = _Activity(weights)
    with evaluating(model), no_grad(), fusion(False), observing(counter):  # each ReLU is to be seen
        for x, _ in _batches(loader):
            model(x)
            counter.origin.clear()
    scores = {}
    for name, p in weights.items():
        size = np.abs(p.data.astype(np.float64))
        shares = counter.active[name] / counter.seen[name] if name in counter.active else np.ones(len(p.data))
        largest = size.max(initial=0.0) or 1.0
        scores[name] = shares.reshape(-1, *[1] * (p.ndim - 1)) + 1e-9 * size / largest
    return scores


class _Activity(Observer):
    """Counts, for each output of a layer, how often it gets through the ReLU behind it.

    Attributes:
        origin: id of an array → the array and the names of the parameters that made it.
        active: name → (F,) number of positive values.
        seen: name → number of values an output.
    """

    def __init__(self, weights: Mapping[str, Parameter]):
        self.names = {id(p.data): name for name, p in weights.items()}
        self.origin: dict[int, tuple[Array, list[str]]] = {}
        self.active: dict[str, Array] = {}
        self.seen: dict[str, int] = {}

    def forward(self, op: Any, arrays: list[Any], settings: dict[str, Any], out: Array, seconds: float) -> None:
        """Follow a layer's output through normalisation and pooling to its ReLU."""
        _, names = self.origin.get(id(arrays[0]), (None, []))
        if op.name in ("conv2d", "linear"):
            # The array is kept too: as long as it lives, no other one has its id.
            self.origin[id(out)] = out, [self.names[id(x)] for x in arrays[1:] if id(x) in self.names]
        elif op.name in ("batch_norm", "max_pool2d", "avg_pool2d"):
            own = [self.names[id(x)] for x in arrays[1:] if id(x) in self.names]
            self.origin[id(out)] = out, names + own
        elif op.name in ("relu", "relu6"):
            positive = np.moveaxis(arrays[0] > 0, 1, 0).reshape(arrays[0].shape[1], -1)  # (N, F, ...) -> (F, values)
            for name in names:
                self.active[name] = self.active.get(name, 0) + positive.sum(axis=1)
                self.seen[name] = self.seen.get(name, 0) + positive.shape[1]


def obd(model: Module, names: Names = None, loader: DataLoader | None = None, seed: int = 0, draws: int = 4) -> Scores:
    """h · w² / 2, h being a diagonal element of the loss's Gauss-Newton matrix: the second-order cost of removing w.

    At a minimum the gradient is zero, and to second order the loss rises by h · w² / 2, if weights are removed one at a
    time. h is the mean over the images of J^T (diag(p) - p p^T) J, with J the logits' derivatives by w and p = softmax. It is
    estimated without bias: with labels drawn from p, gradients of different images are independent with mean zero, so
    that the squared gradient of a batch's summed loss has the sum of the images' h as its mean.

    Args:
        model, names, loader, seed: as every criterion. Small batches give better estimates at equal cost.
        draws: passes over the loader.

    Raises:
        ValueError: there is no loader, or it has no images.

    Source:
        LeCun, Denker and Solla, "Optimal brain damage", 1990. There the diagonal is propagated backwards, here
        it is drawn, as in Martens, "New insights and perspectives on the natural gradient method", 2020.
    """
    rng = np.random.default_rng(seed)

    def surprise(logits: Tensor) -> Tensor:
        rising = F.softmax(logits, axis=1).data.cumsum(axis=1)  # (N, K)
        labels = (rising > rng.random((len(rising), 1)) * rising[:, -1:]).argmax(axis=1)
        return F.cross_entropy(logits, labels, reduction="sum")

    def costs(network: Module, x: Array) -> Iterable[Tensor]:
        return (surprise(network(x)) for _ in range(draws))

    return _curvature("obd", model, names, loader, costs, draws, factor=0.5)


def stability(
    model: Module,
    names: Names = None,
    loader: DataLoader | None = None,
    seed: int = 0,
    noise: float = 0.3,
    draws: int = 2,
) -> Scores:
    """How much the outputs change when w is set to zero, on images and on noisy copies of them.

    Defined as the mean of ||f(x; w) - f(x; w = 0)||² over the loader's images and as many copies with Gaussian noise added, f
    being the logits. `output_change` measures it; for every weight at once it is estimated to first order, as
    w² · mean ||∂f/∂w||², which is exact where f is linear in w, as in a last layer. The mean is estimated without bias: with v
    a random sign for each image and logit, the squared derivative of a batch's Σ v · f has Σ ||∂f/∂w||² as its mean.

    Args:
        model, names, loader, seed: as every criterion. No labels are needed. Small batches give better estimates.
        noise: standard deviation of the noise, in the units of x (normalised pixels).
        draws: passes over the loader, each over the images and over noisy copies.

    Raises:
        ValueError: there is no loader, or it has no images.

    Source:
        The model-optimisation article's "stability-based pruning", which it names (weights are set to zero "so that the
        outputs stay stable") and leaves open; random signs after Hutchinson, "A stochastic estimator of the trace of the
        influence matrix", 1990.
    """
    rng = np.random.default_rng(seed)

    def costs(network: Module, x: Array) -> Iterable[Tensor]:
        for _ in range(draws):
            for inputs in (x, _noisy(x, noise, rng)):
                f = network(inputs)
                yield (f * rng.choice([-1, 1], f.shape).astype(f.dtype)).sum()

    return _curvature("stability", model, names, loader, costs, 2 * draws, factor=1.0)


def output_change(model: Module, loader: DataLoader, name: str, index: Any, noise: float = 0.3, seed: int = 0) -> float:
    """Measure what `stability` estimates: the mean squared change of the outputs when part of a weight is set to zero.

    Args:
        model: is left as it is.
        loader: images.
        name: of a parameter.
        index: what to set to zero: an index of one weight, (3, 5), or of a group: 3 is a whole filter or neuron.
        noise, seed: see `stability`.

    Raises:
        KeyError: there is no such parameter.
        ValueError: the loader has no images.

    Example:
        >>> from minigrad import nn
        >>> layer = nn.Linear(2, 1)
        >>> layer.weight.data[...] = [[3, 1]]
        >>> images = DataLoader(np.ones((5, 2), np.float32), np.zeros(5, int))
        >>> output_change(layer, images, "weight", (0, 0), noise=0.0)
        9.0
    """
    loader = _needed("output_change", loader)
    changed, weights = _copy(model, [name])
    weights[name].data[index] = 0
    rng, total = np.random.default_rng(seed), 0.0
    with evaluating(model), no_grad():
        for x, _ in _batches(loader):
            for inputs in (x, _noisy(x, noise, rng)):
                total += float(((model(inputs).data - changed(inputs).data) ** 2).sum())
    return total / (2 * len(loader.labels))


CRITERIA: dict[str, Callable[..., Scores]] = {
    "magnitude": magnitude,
    "l2": l2,
    "random": random,
    "gradient": gradient,
    "taylor": taylor,
    "movement": movement,
    "activation": activation,
    "obd": obd,
    "stability": stability,
}
"""Name → criterion."""

WITHOUT_DATA = ("magnitude", "l2", "random")
"""Criteria that need no images."""


def _needed(criterion: str, loader: DataLoader | None) -> DataLoader:
    if loader is None or not len(loader.labels):
        raise ValueError(f"{criterion}: this criterion looks at images; pass a loader that has some")
    return loader


def _copy(model: Module, names: Names) -> tuple[Module, dict[str, Parameter]]:
    """Return a copy of the model, in evaluation mode, and its weights, all of which take gradients."""
    model = copy.deepcopy(model).eval()
    weights = prunable(model, names)
    for p in weights.values():
        p.requires_grad = True
    return model, weights


def _batches(loader: DataLoader) -> Iterable[tuple[Array, Array]]:
    """Every image once, in file order; the loader's epochs are not counted on."""
    return loader.batches(np.arange(len(loader.labels)))


def _noisy(x: Array, noise: float, rng: np.random.Generator) -> Array:
    return x + (noise * rng.standard_normal(x.shape)).astype(x.dtype)


def _gradients(model: Module, weights: Mapping[str, Parameter], loss: Tensor) -> Scores:
    """Return the derivative of `loss` by each weight; zeros for a weight that takes no part."""
    model.zero_grad()
    loss.backward()
    return {name: np.zeros_like(p.data) if p.grad is None else p.grad for name, p in weights.items()}


def _weights_and_gradients(
    criterion: str, model: Module, names: Names, loader: DataLoader | None
) -> dict[str, tuple[Array, Array]]:
    """Return name → (w, derivative of the mean loss by w)."""
    loader = _needed(criterion, loader)
    model, weights = _copy(model, names)
    sums = {name: np.zeros_like(p.data) for name, p in weights.items()}
    for x, targets in _batches(loader):
        for name, g in _gradients(model, weights, F.cross_entropy(model(x), targets, reduction="sum")).items():
            sums[name] += g
    return {name: (p.data, sums[name] / len(loader.labels)) for name, p in weights.items()}


def _curvature(
    criterion: str,
    model: Module,
    names: Names,
    loader: DataLoader | None,
    costs: Callable[[Module, Array], Iterable[Tensor]],
    draws: int,
    factor: float,
) -> Scores:
    """Return factor · w² · (mean over images and draws of the squared derivatives of the random costs of a batch)."""
    loader = _needed(criterion, loader)
    model, weights = _copy(model, names)
    squares = {name: np.zeros_like(p.data) for name, p in weights.items()}
    for x, _ in _batches(loader):
        for cost in costs(model, x):
            for name, g in _gradients(model, weights, cost).items():
                squares[name] += g * g
    scale = factor / (draws * len(loader.labels))
    return {name: scale * squares[name] * p.data * p.data for name, p in weights.items()}
