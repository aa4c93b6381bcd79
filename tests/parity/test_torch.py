"""minigrad beside PyTorch: the same weights, the same batches, the same numbers. Run with `make parity`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import functional as F
from minigrad import nn
from minigrad.compression.models import LeNet
from minigrad.compression.pruning import kth_value_mask
from minigrad.datasets import mnist
from minigrad.loader import DataLoader
from minigrad.optim import SGD
from minigrad.tensor import Tensor

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch", reason="PyTorch is not installed; `make parity` installs it")


@pytest.fixture(autouse=True)
def _torch_is_repeatable():
    torch.manual_seed(0)
    torch.set_num_threads(1)


class TorchLeNet(torch.nn.Module):
    """The article's listing."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(1, 6, 5), torch.nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = torch.nn.Linear(256, 120), torch.nn.Linear(120, 84), torch.nn.Linear(84, 10)
        self.maxpool = torch.nn.MaxPool2d(2, 2)

    def forward(self, x):
        x = self.maxpool(torch.relu(self.conv1(x)))
        x = self.maxpool(torch.relu(self.conv2(x)))
        x = torch.relu(self.fc1(x.flatten(1)))
        return self.fc3(torch.relu(self.fc2(x)))


@pytest.mark.parametrize(("dtype", "steps", "tolerance"), [(np.float64, 200, 1e-9), (np.float32, 30, 1e-5)])
def test_training_follows_pytorch_step_by_step(dtype, steps, tolerance, capsys):
    ours, theirs = LeNet(), TorchLeNet().to(torch.float64 if dtype == np.float64 else torch.float32)
    for name, p in ours.named_parameters():
        p.data = p.data.astype(dtype)
        dict(theirs.named_parameters())[name].data = torch.tensor(p.data.copy())
    start = ours.state_dict()
    optimizer = SGD(ours.parameters(), lr=0.01, momentum=0.5)
    torch_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.5)

    data = mnist("train").subset(slice(64 * steps))
    worst = 0.0
    for x, targets in DataLoader(data.images.astype(dtype), data.labels, 64, shuffle=True):
        optimizer.zero_grad()
        loss = F.cross_entropy(ours(x), targets)
        loss.backward()
        optimizer.step()
        torch_optimizer.zero_grad()
        torch_loss = torch.nn.functional.cross_entropy(
            theirs(torch.tensor(np.ascontiguousarray(x))), torch.tensor(targets)
        )
        torch_loss.backward()
        torch_optimizer.step()
        worst = max(worst, abs(loss.item() - torch_loss.item()))
    weights = max(
        np.abs(p.data - dict(theirs.named_parameters())[name].detach().numpy()).max()
        for name, p in ours.named_parameters()
    )
    with capsys.disabled():
        kind = np.dtype(dtype).name
        print(f"\n{kind}, {steps} steps: largest difference of a loss {worst:.1e}, of a final weight {weights:.1e}")
    assert all(np.abs(array - start[name]).max() > 1e-4 for name, array in ours.state_dict().items())  # they did train
    assert worst <= tolerance
    assert weights <= tolerance


@settings(max_examples=200, deadline=None, derandomize=True)
@given(size=st.integers(1, 60), values=st.integers(1, 8), share=st.floats(0, 1), seed=st.integers(0, 1_000))
def test_masks_are_those_of_kthvalue(size, values, share, seed):
    w = np.random.default_rng(seed).integers(-values, values + 1, size).astype(np.float32)  # ties, zeros
    k = round(size * share)
    if k == 0:
        expected = np.ones(size, bool)
    else:
        importance = torch.tensor(w).abs()
        expected = torch.gt(importance, importance.kthvalue(k).values).numpy()
    np.testing.assert_array_equal(kth_value_mask(w, share), expected)


def test_masks_at_the_ends():
    w = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    assert kth_value_mask(w, 0.02).all()  # k = 0
    importance = torch.tensor(w).abs()
    at_n = torch.gt(importance, importance.view(-1).kthvalue(20).values).numpy()
    np.testing.assert_array_equal(kth_value_mask(w, 0.99), at_n)  # k = n


def check_against_pytorch(ours, theirs, arrays, rtol=1e-10):
    """Compare values and gradients of two functions of the same arrays, in float64."""
    tensors = [Tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    torch_tensors = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    out, torch_out = ours(*tensors), theirs(*torch_tensors)
    np.testing.assert_allclose(out.data, torch_out.detach().numpy(), rtol=rtol, atol=1e-12)
    g = np.random.default_rng(1).normal(size=out.shape)
    out.backward(g)
    torch_out.backward(torch.tensor(g))
    for t, tt in zip(tensors, torch_tensors, strict=True):
        if t.requires_grad:
            np.testing.assert_allclose(t.grad, tt.grad.numpy(), rtol=rtol, atol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_conv2d_is_pytorchs(data):
    draw = data.draw
    sizes = st.integers(1, 3)
    groups, n, c, f = draw(sizes), draw(st.integers(1, 4)), draw(sizes), draw(sizes)
    kernel, stride, dilation = ((draw(sizes), draw(sizes)) for _ in range(3))
    padding = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    size = [d * (k - 1) + 1 + draw(st.integers(0, 4)) for k, d in zip(kernel, dilation, strict=True)]
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    arrays = [
        rng.normal(size=(n, groups * c, *size)),
        rng.normal(size=(groups * f, c, *kernel)),
        rng.normal(size=groups * f),
    ]
    settings_ = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    check_against_pytorch(
        lambda x, w, b: F.conv2d(x, w, b, **settings_),
        lambda x, w, b: torch.nn.functional.conv2d(x, w, b, **settings_),
        arrays,
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_max_pool2d_is_pytorchs_ties_included(data):
    draw = data.draw
    kernel, stride = ((draw(st.integers(1, 4)), draw(st.integers(1, 3))) for _ in range(2))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = [k + draw(st.integers(0, 5)) for k in kernel]
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    x = rng.integers(-2, 3, (draw(st.integers(1, 3)), 2, *size)).astype(float)
    check_against_pytorch(
        lambda t: F.max_pool2d(t, kernel, stride, padding),
        lambda t: torch.nn.functional.max_pool2d(t, kernel, stride, padding),
        [x],
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(n=st.integers(1, 6), i=st.integers(1, 6), o=st.integers(1, 6), seed=st.integers(0, 99))
def test_linear_softmax_and_loss_are_pytorchs(n, i, o, seed):
    rng = np.random.default_rng(seed)
    x, w, b, targets = rng.normal(size=(n, i)), rng.normal(size=(o, i)), rng.normal(size=o), rng.integers(0, o, n)
    check_against_pytorch(F.linear, torch.nn.functional.linear, [x, w, b])
    check_against_pytorch(lambda t: F.log_softmax(t, 1), lambda t: torch.log_softmax(t, 1), [x])
    for reduction in ("mean", "sum", "none"):
        check_against_pytorch(
            lambda t: F.cross_entropy(t, targets, reduction=reduction),  # noqa: B023
            lambda t: torch.nn.functional.cross_entropy(t, torch.tensor(targets), reduction=reduction),  # noqa: B023
            [rng.normal(size=(n, o))],
        )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_sgd_is_pytorchs(momentum, weight_decay):
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=5), rng.normal(size=(6, 5))
    p, q = nn.Parameter(start), torch.nn.Parameter(torch.tensor(start.copy()))
    ours = SGD([p], lr=0.1, momentum=momentum, weight_decay=weight_decay)
    theirs = torch.optim.SGD([q], lr=0.1, momentum=momentum, weight_decay=weight_decay)
    for g in gradients:
        p.grad, q.grad = g.copy(), torch.tensor(g)
        ours.step()
        theirs.step()
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-12)


def test_default_initialisation_has_pytorchs_bounds():
    for ours, theirs in (
        (nn.Conv2d(6, 64, 5), torch.nn.Conv2d(6, 64, 5)),
        (nn.Linear(256, 120), torch.nn.Linear(256, 120)),
    ):
        for name in ("weight", "bias"):
            a, b = getattr(ours, name).data, getattr(theirs, name).detach().numpy()
            assert np.abs(a).max() == pytest.approx(np.abs(b).max(), rel=0.05)
