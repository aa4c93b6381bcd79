"""`minigrad playground`: the page it writes, what it says of it, and whether it opens it."""

import json
import webbrowser

import numpy as np
import pytest
from click.testing import CliRunner

from minigrad import save_checkpoint
from minigrad.compression.cli import main
from minigrad.compression.export.html import integer_chain
from minigrad.compression.models import LeNet, LeNet300100, trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.compression.quantization import quantize_model
from minigrad.datasets import mnist, split_validation
from tests.compression.export.node_programs import script


def call(*arguments):
    return CliRunner().invoke(main, ["playground", *map(str, arguments)])


@pytest.fixture
def opened(monkeypatch):
    """Addresses that would have been opened."""
    addresses = []
    monkeypatch.setattr(webbrowser, "open", lambda address: addresses.append(address) or True)
    return addresses


def data_of(path):
    return json.loads(script(path.read_text(encoding="utf-8"), "data"))


def test_by_default_the_packages_lenet_is_shown_pruned_and_not_tuned(tmp_path, small_data, opened):
    out = tmp_path / "page.html"
    result = call("--out", out, "--no-open", "--data", small_data)
    assert result.exit_code == 0, result.output
    assert "pruned at the article's rates and not fine-tuned; 73.9 % of its parameters are zero." in result.output
    assert result.output.endswith(f": {out.stat().st_size:,} B. Written to {out}.\n")
    assert opened == []
    data, test = data_of(out), mnist("test", small_data)
    assert [sample["label"] for sample in data["samples"]] == list(np.unique(test.labels))
    assert "not fine-tuned" in data["about"]
    assert data["sizes"]["float"]["nonzeros"] == 44_190
    calibration = split_validation(mnist("train", small_data), count=200)[0].images[:500]
    integer = quantize_model(trained_lenet(), 2, calibration=calibration).integer("tflite")
    assert data["models"]["int8"] == json.loads(json.dumps(integer_chain(integer)))


def test_other_checkpoints_are_shown_and_the_page_is_opened(tmp_path, small_data, opened):
    float_path, pruned_path, out = tmp_path / "a", tmp_path / "tuned", tmp_path / "of a student" / "page.html"
    model = LeNet(widths=(2, 3, 8, 9))
    save_checkpoint(float_path, model)
    save_checkpoint(pruned_path, SparsePruner(model, ARTICLE_SPARSITY).prune(model))
    result = call(
        float_path, "--pruned", pruned_path, "--profile", "single", "--out", out, "--data", small_data, "--open"
    )
    assert result.exit_code == 0, result.output
    assert "The pruned model was read from tuned; " in result.output
    assert opened == [out.resolve().as_uri()]
    data = data_of(out)
    assert data["models"]["int8"]["profile"] == "single"
    assert data["models"]["float"]["layers"][0]["shape"] == [2, 24, 24]
    assert data["sizes"]["pruned"]["nonzeros"] < data["sizes"]["float"]["nonzeros"]


def test_a_checkpoint_that_is_pruned_already_is_not_pruned_again(pruned, tmp_path, small_data):
    out = tmp_path / "page.html"
    result = call(tmp_path / "pruned", "--no-open", "--out", out, "--data", small_data)
    assert "The model is pruned already, and is shown twice; 73.9 % of its parameters are zero." in result.output
    data = data_of(out)
    assert data["models"]["pruned"] == data["models"]["float"]


def test_another_network_is_pruned_where_it_has_the_article_s_layers(tmp_path, small_data):
    model = LeNet300100()
    save_checkpoint(tmp_path / "float", model)
    result = call(tmp_path / "float", "--no-open", "--out", tmp_path / "page.html", "--data", small_data)
    assert result.exit_code == 0, result.output
    sizes = data_of(tmp_path / "page.html")["sizes"]
    kept = 0.25 * 784 * 300 + 0.3 * 300 * 100 + 0.2 * 100 * 10
    assert (sizes["float"]["nonzeros"], sizes["pruned"]["nonzeros"]) == (266_200, kept)


def test_without_a_browser_it_says_so(tmp_path, small_data, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    result = call("--out", tmp_path / "page.html", "--data", small_data)
    assert (result.exit_code, "No browser was found; open the file in one." in result.output) == (0, True)


def test_a_folder_for_a_file_or_no_checkpoint_is_refused_with_a_sentence(tmp_path, small_data, opened):
    result = call("--out", tmp_path, "--data", small_data)
    assert (result.exit_code, "expected the name of a file, and it is a folder" in result.output) == (2, True)
    result = call(tmp_path / "none", "--out", tmp_path / "page.html", "--data", small_data)
    assert (result.exit_code, "none: there is no such file" in result.output) == (2, True)
    assert opened == []
    assert not (tmp_path / "page.html").exists()
