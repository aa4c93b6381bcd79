"""Weights that PyTorch writes are taken, compressed and given back: docs/pytorch.md, its blocks run in their order."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from minigrad.checkpoint import load_checkpoint
from minigrad.compression.models import CaffeLeNet, LeNet, LeNet300100, trained_lenet
from minigrad.datasets import mnist
from tests.compression.command_line import output

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch", reason="PyTorch is not installed; `make parity` installs it")
PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "pytorch.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def images():
    return mnist("test").images[:1000]


def torch_logits(model, images):
    with torch.no_grad():
        return model(torch.tensor(images)).numpy()


def ours(path, make=LeNet):
    model = make()
    load_checkpoint(path, model)
    return model


def test_the_page_is_true(images, tmp_path, monkeypatch, small_data):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIGRAD_DATA", str(small_data))
    assert [kind for kind, _ in BLOCKS] == ["python", "sh", "python"]
    (_, there), (_, here), (_, back) = BLOCKS
    # In place of training: the weights of the LeNet that comes with the package.
    trained = {name: torch.tensor(array) for name, array in trained_lenet().state_dict().items()}
    start, end = there.split("model = LeNet()", 1)
    names = {}
    exec(compile(start, "docs/pytorch.md", "exec"), names)  # noqa: S102  our own page
    names["model"] = names["LeNet"]()
    names["model"].load_state_dict(trained)
    exec(compile(end, "docs/pytorch.md", "exec"), names)  # noqa: S102
    before = torch_logits(names["model"], images)
    for line in here.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "minigrad"
        output(*arguments)
    np.testing.assert_allclose(ours("lenet.safetensors")(images).data, before, rtol=0, atol=1e-5)
    pruned = ours("pruned.safetensors")
    exec(compile(back, "docs/pytorch.md", "exec"), names)  # noqa: S102
    after = torch_logits(names["model"], images)
    np.testing.assert_allclose(after, pruned(images).data, rtol=0, atol=1e-5)
    assert np.abs(after - before).max() > 1
    state = names["model"].state_dict()
    for name, p in pruned.named_parameters():
        np.testing.assert_array_equal(state[name].numpy(), p.data)
    assert sum(int((array == 0).sum()) for array in state.values()) == 32_816


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_every_float_of_pytorch_is_read_as_pytorch_widens_it(dtype, tmp_path):
    from safetensors.torch import save_file

    state = {
        name: torch.tensor(array).to(getattr(torch, dtype)) for name, array in trained_lenet().state_dict().items()
    }
    save_file(state, tmp_path / "theirs")
    output("import", tmp_path / "theirs", "--out", tmp_path / "lenet")
    for name, p in ours(tmp_path / "lenet").named_parameters():
        np.testing.assert_array_equal(p.data, state[name].float().numpy())


def sequential(name):
    """The other networks, as a Sequential: layers have numbers for names."""
    t = torch.nn
    if name == "LeNet300100":
        return t.Sequential(t.Flatten(), t.Linear(784, 300), t.ReLU(), t.Linear(300, 100), t.ReLU(), t.Linear(100, 10))
    return t.Sequential(
        t.Conv2d(1, 20, 5), t.MaxPool2d(2), t.Conv2d(20, 50, 5), t.MaxPool2d(2), t.Flatten(), t.Linear(800, 500), t.ReLU(),
        t.Linear(500, 10),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (LeNet300100, {"1": "fc1", "3": "fc2", "5": "fc3"}),
        (CaffeLeNet, {"0": "conv1", "2": "conv2", "5": "fc1", "7": "fc2"}),
    ],
)
def test_a_sequential_under_other_names_computes_the_same_here(make, names, images, tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(0)
    theirs = sequential(make.__name__)
    save_file(theirs.state_dict(), tmp_path / "theirs")
    maps = [option for pair in names.items() for option in ("--map", "=".join(pair))]
    output("import", tmp_path / "theirs", "--model", make.__name__, *maps, "--out", tmp_path / "ours")
    logits = ours(tmp_path / "ours", make)(images).data
    np.testing.assert_allclose(logits, torch_logits(theirs, images), rtol=0, atol=1e-5)


@pytest.mark.parametrize("protocol", [True, False])
def test_what_torch_save_writes_is_refused(protocol, tmp_path):
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "w.bin", _use_new_zipfile_serialization=protocol)
    from tests.compression.command_line import call

    result = call("import", tmp_path / "w.bin", "--out", tmp_path / "out")
    assert (result.exit_code, "w.bin is a pickle, as torch.save writes it" in result.stderr) == (2, True)
