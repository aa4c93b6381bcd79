"""`minigrad explain`: its table, its report, its pictures, and what it says where packages are missing."""

import json

import numpy as np
import pytest
from PIL import Image

from minigrad.compression import explain
from minigrad.compression.report import t_interval
from tests.compression.command_line import call, output


# shap calls Colormap.set_bad, set_over and set_under at its import, which matplotlib means to take out.
@pytest.mark.filterwarnings("ignore:The set_(bad|over|under) function:PendingDeprecationWarning")
def test_explain_writes_a_report_and_pictures(tmp_path, small_data, pruned):
    for name in ("lime", "shap"):
        pytest.importorskip(name, reason=f"{name} is not installed; the extra `explain` installs it")
    arguments = ("--images", 3, "--samples", 60, "--seed", 4, "--data", small_data, "--pruned", tmp_path / "pruned")
    said = output("explain", *arguments, "--out", tmp_path / "out")
    report = json.loads((tmp_path / "out" / "explain.json").read_text())
    assert report["settings"] == {"images": 3, "samples": 60, "seed": 4, "side": 4, "top": 5}
    assert {"lime", "shap", "numpy"} <= set(report["versions"])
    assert list(report["models"]) == ["dense", "pruned", "int8", "untrained"]
    assert len(report["agreement"]) == 2 * 7  # dense is compared with itself by other draws alone
    by = {(row["explainer"], row["model"], row["draws"]): row for row in report["agreement"]}
    assert by["SHAP", "int8", "same"]["correlation"]["mean"] > by["SHAP", "untrained", "same"]["correlation"]["mean"]
    for row in report["agreement"]:
        values = row["correlation"]["values"]
        np.testing.assert_allclose(row["correlation"]["interval"], t_interval(values))
    assert report["chance"] == pytest.approx(np.mean([5 / n for n in report["superpixels"]]))
    yardstick = by["LIME", "dense", "other"]["correlation"]["mean"]
    (line,) = [line for line in said.splitlines() if line.startswith("LIME, dense")]
    assert f"{yardstick:.3f} (" in line
    assert "yardstick" in line
    assert "The pruned model was read from pruned; 73.9 % of its parameters are zero." in said
    for name in ("explain.png", "explain_agreement.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert min(picture.size) > 300


def test_missing_packages_are_one_sentence_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(explain, "find_spec", lambda name: None)
    result = call("explain", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "lime and shap not installed; `pip install minigrad-compression[explain]` installs both" in result.output
    assert not (tmp_path / "out").exists()
