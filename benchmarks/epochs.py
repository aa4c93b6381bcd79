"""Train the same network on the same batches here and in PyTorch; shared by the benchmarks that time training."""

from argparse import ArgumentParser, Namespace
from typing import Any

from common import check_same, make_parser, take_turns, use_threads


def training_parser(description: str, steps: int | None = None, rounds: int = 5, processes: int = 1) -> ArgumentParser:
    """Return a parser with the option --steps: training steps a turn (None: a whole epoch)."""
    parser = make_parser(description, rounds, processes)
    parser.add_argument("--steps", type=int, default=steps, help=f"training steps a turn ({steps or 'an epoch'})")
    return parser


def race(model: Any, theirs: Any, batch: int, options: Namespace) -> dict[str, list[float]]:
    """Train both models on MNIST, with SGD and momentum, from images already in memory, and return the seconds.

    Args:
        model: ours.
        theirs: the same network in PyTorch; it gets our initial weights, in the order of its parameters.
        batch: images a step.
        options: with `steps`, `rounds`, `threads`.
    """
    import torch

    import minigrad
    from minigrad import nn
    from minigrad.datasets import mnist

    use_threads(options.threads)
    data = mnist("train")
    loader = minigrad.DataLoader(data.images, data.labels, batch, shuffle=True)
    skipped = 0 if options.steps is None else max(len(loader) - options.steps, 0)
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    theirs.load_state_dict(
        {name: torch.tensor(w) for name, w in zip(theirs.state_dict(), model.state_dict().values(), strict=True)}
    )
    optimizer = minigrad.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
    torch_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.5)
    loss_fn, torch_loss_fn = nn.CrossEntropyLoss(), torch.nn.CrossEntropyLoss()
    losses: dict[str, list[float]] = {"ours": [], "theirs": []}

    def our_epoch() -> None:
        loader.step = skipped
        losses["ours"].append(minigrad.train(model, loader, loss_fn, optimizer))

    def torch_epoch() -> None:
        order, total = torch.from_numpy(loader.order(loader.epoch - 1))[skipped * batch :], 0.0
        for chosen in order.split(batch):
            torch_optimizer.zero_grad()
            loss = torch_loss_fn(theirs(images[chosen]), labels[chosen])
            loss.backward()
            torch_optimizer.step()
            total += loss.item() * len(chosen)
        losses["theirs"].append(total / len(order))

    check_first_step(model, theirs, data.images[:batch], data.labels[:batch])
    seconds = take_turns(our_epoch, torch_epoch, options.rounds)
    check_same("mean losses", losses["ours"], losses["theirs"], rtol=0.1)
    return seconds


def check_first_step(model: Any, theirs: Any, images: Any, labels: Any) -> None:
    """Compare logits, loss and gradients of one batch."""
    import torch

    from minigrad import functional as F

    ours, expected = model(images), theirs(torch.from_numpy(images))
    check_same("logits", ours.data, expected.detach())
    loss = F.cross_entropy(ours, labels)
    torch_loss = torch.nn.functional.cross_entropy(expected, torch.from_numpy(labels))
    check_same("loss", loss.data, torch_loss.detach())
    loss.backward()
    torch_loss.backward()
    for (name, parameter), torch_parameter in zip(model.named_parameters(), theirs.parameters(), strict=True):
        # Where two pixels under a pool differ by rounding alone, each side may send the gradient to another one.
        near = 0.01 * float(torch_parameter.grad.abs().max())
        check_same(f"gradient of {name}", parameter.grad, torch_parameter.grad, atol=near)
