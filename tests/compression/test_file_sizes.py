"""The size of a file is what its command says, to the byte, for every format that the command line writes."""

import re

import pytest

from minigrad import save_checkpoint
from minigrad.compression.cli_export import FORMS
from minigrad.compression.models import trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.compression.sparse import FORMATS
from tests.compression.command_line import output

EXPORTS = [(format_, form) for format_, forms in FORMS.items() for form in forms or [""]]
COMMANDS = {
    **{" ".join(filter(None, e)): ["export", "--format", e[0], *(["--form", e[1]] if e[1] else [])] for e in EXPORTS},
    **{f"sparsify {name}": ["sparsify", "--format", name] for name in FORMATS},
    **{f"pack {way}": ["pack", "--way", way] for way in ("codebook", "integer", "float")},
    "to-integer": ["to-integer"],
    "to-integer, 4 bits": ["to-integer", "--bits", 4],
    "playground": ["playground", "--no-open"],
    "import": ["import"],
}  # fmt: skip
TAKES_NO_DATA = ("pack", "import")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """The trained LeNet and the same pruned, as checkpoints: plain safetensors, which `import` takes as well."""
    folder, model = tmp_path_factory.mktemp("sizes"), trained_lenet()
    save_checkpoint(folder / "dense", model)
    save_checkpoint(folder / "pruned", SparsePruner(model, ARTICLE_SPARSITY).prune(model))
    return folder


def test_every_format_and_form_is_among_them():
    assert set(FORMS) == {"c", "tflite", "onnx", "html", "mgz", "pytorch"}
    assert len(EXPORTS) == 3 + 4 + 4
    assert len(COMMANDS) == len(EXPORTS) + len(FORMATS) + 7


@pytest.mark.parametrize("checkpoint", ["dense", "pruned"])
@pytest.mark.parametrize("what", COMMANDS)
def test_a_file_is_as_large_as_its_parts_and_their_sum(what, checkpoint, checkpoints, tmp_path, small_data):
    (command, *options), out = COMMANDS[what], tmp_path / "out"
    data = [] if command in TAKES_NO_DATA else ["--data", small_data]
    said = output(command, checkpoints / checkpoint, *options, "--out", out, *data)
    *_, last = said.splitlines()
    found = re.fullmatch(r"((?:[\w. ]+ [\d,]+ B(?:, )?)+): ([\d,]+) B\. Written to (.*)\.", last)
    assert found, last
    parts = [int(number.replace(",", "")) for number in re.findall(r" ([\d,]*\d) B", found[1])]
    files = sorted(out.iterdir()) if out.is_dir() else [out]
    assert len(parts) > 1
    assert sum(parts) == int(found[2].replace(",", "")) == sum(file.stat().st_size for file in files)
    assert found[3] == str(out)
    if out.is_dir():  # one part for each file
        assert parts == [(out / name).stat().st_size for name in re.findall(r"[\w.]+\.[ch]", last.split(":")[0])]
