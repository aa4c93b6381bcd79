"""What a search tries: routes from the given model to smaller ones, and codes for their weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Route:
    """How a model is made narrower, and by whom it is taught from then on.

    Attributes:
        filters: share of each convolution's filters that stay.
        neurons: share of each hidden linear layer's neurons that stay.
        taught: whether the model learns from the teacher (`DistillationLoss`), or from labels alone.

    Raises:
        ValueError: a share is not above 0 and at most 1.

    Example:
        >>> Route(filters=0.75, neurons=0.5).name
        'filters75-neurons50-taught'
    """

    filters: float = 1.0
    neurons: float = 1.0
    taught: bool = True

    def __post_init__(self) -> None:
        for name, share in (("filters", self.filters), ("neurons", self.neurons)):
            if not 0 < share <= 1:
                raise ValueError(f"Route: the share of {name} that stay is {share}, expected above 0, at most 1")

    @property
    def name(self) -> str:
        """For files and tables."""
        return f"filters{100 * self.filters:g}-neurons{100 * self.neurons:g}-{'taught' if self.taught else 'alone'}"


@dataclass(frozen=True)
class Coding:
    """How weights are stored in a .mgz file, see `coding.Storage`.

    Attributes:
        way: "codebook", whose centroids are trained, or "integer".
        conv_bits, linear_bits: of a value.

    Example:
        >>> Coding("codebook", 4, 3).name
        'codebook4+3'
    """

    way: str
    conv_bits: int
    linear_bits: int

    @property
    def name(self) -> str:
        """For files and tables."""
        return f"{self.way}{self.conv_bits}+{self.linear_bits}"


@dataclass(frozen=True)
class Plan:
    """What a search tries, and how it trains. The defaults were found on held-out images.

    Attributes:
        routes: in this order.
        kept: shares of the given model's weights that stay, falling: each goes on from the one before.
        codings: for each model on the way.
        teacher_epochs: of training the given model on: the result teaches, and is what gets smaller.
        epochs: after narrowing, and after each pruning; the rate falls along half a cosine.
        centroid_epochs, centroid_lr, momentum: of the training of codebooks.
        lr, batch_size: of Adam, whose steps do not grow with the loss: with SGD, the factor T² of the distillation loss kills
            ReLUs of narrow models.
        temperature, alpha: of the distillation loss.
        give_up: a route ends where the best file is so many points less accurate than is asked for.
        seed: of the order of the images.
        images: how many to train on, None for all.
    """

    routes: tuple[Route, ...] = (
        Route(1, 0.5), Route(1, 0.5, taught=False), Route(1, 1), Route(0.8, 0.4), Route(0.5, 0.35),
    )  # fmt: skip
    kept: tuple[float, ...] = (0.2, 0.12, 0.08, 0.055, 0.035)
    codings: tuple[Coding, ...] = (
        Coding("codebook", 5, 4), Coding("codebook", 4, 3), Coding("integer", 8, 8), Coding("integer", 4, 4),
    )  # fmt: skip
    teacher_epochs: int = 8
    epochs: int = 3
    centroid_epochs: int = 1
    centroid_lr: float = 2e-4
    momentum: float = 0.9
    lr: float = 0.002
    batch_size: int = 64
    temperature: float = 4.0
    alpha: float = 0.9
    give_up: float = 1.0
    seed: int = 0
    images: int | None = None


QUICK = Plan(
    routes=(Route(1, 0.5),),
    kept=(0.2, 0.1, 0.06),
    codings=(Coding("codebook", 5, 4), Coding("codebook", 4, 3), Coding("integer", 8, 8)),
    teacher_epochs=4,
    epochs=2,
)
"""A first look, in about a minute."""
