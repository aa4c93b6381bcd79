"""minigrad beside PyTorch: the same weights, the same batches, the same numbers. Run with `make parity`."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import functional as F
from minigrad import nn, optim
from minigrad.compression.distillation import DistillationLoss, distill
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


def torch_pair(name):
    """An op of one array: ours and PyTorch's."""
    return {
        "exp": (F.exp, torch.exp),
        "log": (lambda x: F.log(x * x + 0.1), lambda x: torch.log(x * x + 0.1)),
        "sqrt": (lambda x: F.sqrt(x * x + 0.1), lambda x: torch.sqrt(x * x + 0.1)),
        "abs": (F.abs, torch.abs),
        "relu": (F.relu, torch.relu),
        "relu6": (lambda x: F.relu6(4 * x), lambda x: torch.nn.functional.relu6(4 * x)),
        "leaky_relu": (lambda x: F.leaky_relu(x, 0.2), lambda x: torch.nn.functional.leaky_relu(x, 0.2)),
        "sigmoid": (F.sigmoid, torch.sigmoid),
        "tanh": (F.tanh, torch.tanh),
        "gelu": (F.gelu, torch.nn.functional.gelu),
        "clip": (lambda x: F.clip(x, -0.5, 0.7), lambda x: torch.clip(x, -0.5, 0.7)),
        "power": (lambda x: x**3, lambda x: x**3),
        "sum": (lambda x: x.sum(axis=-1), lambda x: x.sum(-1)),
        "mean": (lambda x: x.mean(axis=0), lambda x: x.mean(0)),
        "var": (lambda x: x.var(correction=1), lambda x: x.var()),
        "max": (lambda x: x.max(axis=0), lambda x: x.amax(0)),
        "min": (lambda x: x.min(), lambda x: x.amin()),
        "logsumexp": (lambda x: F.logsumexp(x, axis=-1), lambda x: torch.logsumexp(x, -1)),
        "log_softmax": (lambda x: F.log_softmax(x, -1, 2.5), lambda x: torch.log_softmax(x / 2.5, -1)),
        "softmax": (lambda x: F.softmax(x, 0), lambda x: torch.softmax(x, 0)),
        "reshape": (lambda x: x.reshape(-1), lambda x: x.reshape(-1)),
        "transpose": (lambda x: x.T, lambda x: x.permute(*range(x.ndim)[::-1])),
        "pad": (lambda x: F.pad(x, [(1, 2)] * x.ndim, 3.0), lambda x: torch.nn.functional.pad(x, [1, 2] * x.ndim, value=3.0)),
        "getitem": (lambda x: x[np.array([0, -1, 0])], lambda x: x[torch.tensor([0, -1, 0])]),
    }[name]  # fmt: skip


UNARY = "exp log sqrt abs relu relu6 leaky_relu sigmoid tanh gelu clip power sum mean var max min logsumexp log_softmax"
UNARY += " softmax reshape transpose pad getitem"


@pytest.mark.parametrize("name", UNARY.split())
@settings(max_examples=40, deadline=None, derandomize=True)
@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=st.integers(0, 999), ties=st.booleans())
def test_ops_of_one_array_are_pytorchs(name, shape, seed, ties):
    x = np.random.default_rng(seed).normal(size=shape)
    if ties and name in ("max", "min", "sum"):
        x = x.round()
    if name == "var" and x.size == 1:
        x = np.repeat(x, 2, axis=0) + np.arange(2).reshape(2, *(1,) * (x.ndim - 1))
    check_against_pytorch(*torch_pair(name), [x])


PAIRS = {
    "add": (lambda x, y: x + y, lambda x, y: x + y),
    "subtract": (lambda x, y: x - y, lambda x, y: x - y),
    "multiply": (lambda x, y: x * y, lambda x, y: x * y),
    "divide": (lambda x, y: x / (y * y + 0.5), lambda x, y: x / (y * y + 0.5)),
    "maximum": (F.maximum, torch.maximum),
    "minimum": (F.minimum, torch.minimum),
    "where": (lambda x, y: F.where(x > y, x, y * y), lambda x, y: torch.where(x > y, x, y * y)),
    "stack": (lambda x, y: F.stack([x + y, y + x], 1), lambda x, y: torch.stack([x + y, y + x], 1)),
    "concatenate": (lambda x, y: F.concatenate([x + y, y * x]), lambda x, y: torch.cat([x + y, y * x])),
}


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), ties=st.booleans())
def test_ops_of_two_arrays_are_pytorchs_broadcast_included(name, data, ties):
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    other = [1 if data.draw(st.booleans()) else size for size in shape][data.draw(st.integers(0, len(shape) - 1)) :]
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    x, y = rng.normal(size=shape), rng.normal(size=other)
    check_against_pytorch(*PAIRS[name], [x.round(), y.round()] if ties else [x, y])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_matmul_is_pytorchs_batches_included(data):
    sizes = st.integers(1, 4)
    m, k, p, batch = (data.draw(sizes) for _ in range(4))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    left = data.draw(st.sampled_from([(m, k), (batch, m, k), (1, m, k), (2, batch, m, k), (k,)]))
    right = data.draw(st.sampled_from([(k, p), (batch, k, p), (1, k, p), (k,)]))
    check_against_pytorch(lambda x, y: x @ y, lambda x, y: x @ y, [rng.normal(size=left), rng.normal(size=right)])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_mean_pooling_is_pytorchs(data):
    draw = data.draw
    kernel, stride = ((draw(st.integers(1, 4)), draw(st.integers(1, 3))) for _ in range(2))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = [k + draw(st.integers(0, 5)) for k in kernel]
    x = np.random.default_rng(draw(st.integers(0, 999))).normal(size=(draw(st.integers(1, 3)), 2, *size))
    pool = torch.nn.functional
    check_against_pytorch(
        lambda t: F.avg_pool2d(t, kernel, stride, padding), lambda t: pool.avg_pool2d(t, kernel, stride, padding), [x]
    )
    parts = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    check_against_pytorch(lambda t: F.adaptive_avg_pool2d(t, parts), lambda t: pool.adaptive_avg_pool2d(t, parts), [x])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(n=st.integers(2, 5), c=st.integers(1, 3), extra=st.lists(st.integers(1, 4), max_size=2), training=st.booleans())
def test_batch_norm_is_pytorchs(n, c, extra, training):
    rng = np.random.default_rng(n * 10 + c)
    mean, var = rng.normal(size=c), rng.uniform(0.5, 2, c)
    ours, theirs = (mean.copy(), var.copy()), (torch.tensor(mean), torch.tensor(var))
    check_against_pytorch(
        lambda x, w, b: F.batch_norm(x, *ours, w, b, training, 0.3),
        lambda x, w, b: torch.nn.functional.batch_norm(x, *theirs, w, b, training, 0.3),
        [rng.normal(size=(n, c, *extra)), rng.normal(size=c), rng.normal(size=c)],
        rtol=1e-7,
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-10)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 5),
    k=st.integers(2, 6),
    seed=st.integers(0, 99),
    reduction=st.sampled_from(["mean", "sum", "none"]),
)
def test_losses_are_pytorchs(n, k, seed, reduction):
    rng = np.random.default_rng(seed)
    x, p = rng.normal(size=(n, k)), rng.dirichlet(np.ones(k), n)
    labels, signs = rng.integers(0, k, n), rng.choice([-1.0, 1.0], (n, k))
    theirs, target = torch.nn.functional, torch.tensor(labels)
    how = {"reduction": reduction}
    smooth = how | {"label_smoothing": 0.1}
    for ours, other, arrays in (
        (lambda z: F.cross_entropy(z, labels, **smooth), lambda z: theirs.cross_entropy(z, target, **smooth), [x]),
        (lambda z, q: F.cross_entropy(z, q, **smooth), lambda z, q: theirs.cross_entropy(z, q, **smooth), [x, p]),
        (lambda z: F.nll_loss(z, labels, **how), lambda z: theirs.nll_loss(z, target, **how), [x]),
        (lambda z, q: F.kl_div(z, q, **how), lambda z, q: theirs.kl_div(z, q, **how), [x, p]),
        (lambda z, q: F.mse_loss(z, q, **how), lambda z, q: theirs.mse_loss(z, q, **how), [x, p]),
        (
            lambda z, q: F.bce_with_logits(z, q, **how),
            lambda z, q: theirs.binary_cross_entropy_with_logits(z, q, **how),
            [x, p],
        ),
        (
            lambda z: F.kl_div(F.log_softmax(z), p, reduction="batchmean"),
            lambda z: theirs.kl_div(torch.log_softmax(z, -1), torch.tensor(p), reduction="batchmean"),
            [x],
        ),
        (
            lambda z: F.squared_hinge(z, signs, reduction="sum"),
            lambda z: (torch.relu(1 - torch.tensor(signs) * z) ** 2).sum(),
            [x],
        ),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of kl_div's "mean"
            check_against_pytorch(ours, other, arrays)


OPTIMIZERS = {
    "nesterov": (lambda p, o: o.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)),
    "adam": (lambda p, o: o.Adam(p, lr=0.05, betas=(0.8, 0.95), weight_decay=0.02)),
    "adamw": (lambda p, o: o.AdamW(p, lr=0.05, weight_decay=0.1)),
    "rmsprop": (lambda p, o: o.RMSprop(p, lr=0.05, alpha=0.9, momentum=0.5, weight_decay=0.01)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("schedule", [None, "StepLR", "CosineAnnealingLR", "OneCycleLR"])
def test_optimizers_and_schedules_are_pytorchs(name, schedule):
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=5), rng.normal(size=(13, 5))
    p, q = nn.Parameter(start), torch.nn.Parameter(torch.tensor(start.copy()))
    ours, theirs = OPTIMIZERS[name]([p], optim), OPTIMIZERS[name]([q], torch.optim)
    arguments = {"StepLR": (3, 0.5), "CosineAnnealingLR": (12, 0.001), "OneCycleLR": (0.2, 13)}.get(schedule, ())
    extra = {"cycle_momentum": False} if schedule == "OneCycleLR" else {}
    steps = []
    if schedule:
        steps = [getattr(optim, schedule)(ours, *arguments).step]
        steps.append(getattr(torch.optim.lr_scheduler, schedule)(theirs, *arguments, **extra).step)
    for g in gradients:
        p.grad, q.grad = g.copy(), torch.tensor(g)
        ours.step()
        theirs.step()
        for step in steps:
            step()
        assert ours.lr == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9)
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-8)


def test_clipping_is_pytorchs():
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=4), rng.normal(size=(2, 3))]
    ours = [nn.Parameter(np.zeros_like(g)) for g in gradients]
    theirs = [torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for g in gradients]
    for p, q, g in zip(ours, theirs, gradients, strict=True):
        p.grad, q.grad = g.copy(), torch.tensor(g)
    norm = optim.clip_grad_norm_(ours, 0.5)
    assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, 0.5).item(), rel=1e-6)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-5)


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


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    temperature=st.floats(0.5, 50),
    alpha=st.floats(0, 1),
    seed=st.integers(0, 10_000),
    shape=st.sampled_from([(1, 2), (7, 10)]),
)
def test_distillation_equals_pytorchs_composition(temperature, alpha, seed, shape):
    rng = np.random.default_rng(seed)
    z, v = rng.normal(0, 4, (2, *shape))
    labels = rng.integers(0, shape[1], shape[0])
    x = Tensor(z, requires_grad=True)
    loss = DistillationLoss(temperature, alpha)
    soft, hard = loss.terms(z, v, labels)
    total = loss(x, v, labels)
    total.backward()

    y = torch.tensor(z, requires_grad=True)
    log_q, p = torch.log_softmax(y / temperature, dim=1), torch.softmax(torch.tensor(v) / temperature, dim=1)
    torch_soft = torch.nn.functional.kl_div(log_q, p, reduction="batchmean") * temperature * temperature
    torch_hard = torch.nn.functional.cross_entropy(y, torch.tensor(labels))
    torch_total = alpha * torch_soft + (1 - alpha) * torch_hard
    torch_total.backward()

    for ours, theirs in ((soft, torch_soft), (hard, torch_hard), (total, torch_total)):
        np.testing.assert_allclose(ours.item(), theirs.item(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(x.grad, y.grad.numpy(), rtol=1e-8, atol=1e-10)


def test_a_distilled_student_follows_pytorch_step_by_step(rng):
    images, labels = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 3, 60)
    teacher, student = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs, torch_teacher = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    for ours, other in ((student, theirs), (teacher, torch_teacher)):
        for name, p in ours.named_parameters():
            dict(other.named_parameters())[name].data = torch.tensor(p.data.copy())
    loader = DataLoader(images, labels, 10)
    distill(student, teacher, loader, DistillationLoss(4.0, 0.7), SGD(student.parameters(), 0.1, 0.9), epochs=3)
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1, 0.9)
    for _ in range(3):
        for x, y in zip(torch.tensor(images).split(10), torch.tensor(labels).split(10), strict=True):
            with torch.no_grad():
                p = torch.softmax(torch_teacher(x) / 4, dim=1)
            logits = theirs(x)
            soft = torch.nn.functional.kl_div(torch.log_softmax(logits / 4, dim=1), p, reduction="batchmean") * 16
            loss = 0.7 * soft + 0.3 * torch.nn.functional.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, p in student.named_parameters():
        np.testing.assert_allclose(p.data, dict(theirs.named_parameters())[name].detach().numpy(), rtol=1e-4, atol=1e-6)
