"""The Chinese notebooks: the English ones' cells, with every cell of prose translated, and nothing lost in it."""

import json
import re
from pathlib import Path

import pytest

from minigrad.compression.course import list_notebooks, read_notebook
from tools import chinese

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
ENGLISH = list_notebooks(FOLDER)
HAN = re.compile(r"[\u4e00-\u9fff]")
HALF_WIDTH = re.compile(
    r"[\u4e00-\u9fff][,;:?!]|[\u4e00-\u9fff]\.(?!\w)"
)  # Latin punctuation behind a Chinese character

each_notebook = pytest.mark.parametrize("number", ENGLISH)


def pair(number):
    return read_notebook(ENGLISH[number]), read_notebook(FOLDER / "zh" / ENGLISH[number].name)


def prose_pairs(number):
    cells = zip(*(notebook["cells"] for notebook in pair(number)), strict=True)
    return [(a["source"], b["source"]) for a, b in cells if a["cell_type"] == "markdown"]


@each_notebook
def test_code_cells_are_the_same_and_all_prose_is_translated(number):
    english, translated = pair(number)
    assert len(english["cells"]) == len(translated["cells"])
    for ours, theirs in zip(english["cells"], translated["cells"], strict=True):
        if ours["cell_type"] == "code":
            assert ours == theirs
        else:
            assert {**ours, "source": ""} == {**theirs, "source": ""}
            assert HAN.search(theirs["source"]), f"in English still: {theirs['source'][:60]}"
    assert english["metadata"]["kernelspec"] == translated["metadata"]["kernelspec"]


@each_notebook
def test_a_chinese_notebook_is_what_the_tool_makes_of_its_prose(number):
    prose = chinese.read_prose(FOLDER / "zh" / f"{ENGLISH[number].stem}.md")
    made = chinese.as_file(chinese.translate(read_notebook(ENGLISH[number]), prose, number))
    assert made == (FOLDER / "zh" / ENGLISH[number].name).read_text(encoding="utf-8"), "run: python -m tools.chinese"


@each_notebook
def test_a_translation_has_its_original_s_headings_code_formulas_and_numbers(number):
    for ours, theirs in prose_pairs(number):
        assert re.findall(r"^#+ ", ours, re.M) == re.findall(r"^#+ ", theirs, re.M), ours[:60]
        for pattern in (r"`[^`]+`", r"\d[\d,.]*\d|\d", r"arXiv:[\d.]+"):
            lost = {what for what in re.findall(pattern, " ".join(ours.split())) if what not in theirs}
            assert lost == set(), f"lost from: {ours[:80]}"


@each_notebook
def test_chinese_text_has_chinese_punctuation(number):
    for _, text in prose_pairs(number):
        prose = re.sub(r"`[^`]*`|\$\$.*?\$\$|\$[^$]*\$", "x", text, flags=re.S)
        assert HALF_WIDTH.findall(prose) == [], text[:60]


def glossary():
    """Return the English terms of several words, each with the Chinese words that may stand for it."""
    text = (FOLDER.parent / "docs" / "glossary.md").read_text(encoding="utf-8").split("## Engine")[1]
    terms = {}
    for english, chinese_ in re.findall(r"^\| (.+) \| (.+) \|$", text, re.M):
        words = [re.sub(r"[(（].*?[)）]", "", word).strip() for word in re.split("[、，,]", chinese_)]
        for term in re.split(", | / ", re.sub(r" *\([^)]*\)", "", english)):
            if " " in term and not term.startswith("to "):
                terms[term] = words
    return terms


@each_notebook
def test_terms_are_those_of_the_glossary(number):
    for ours, theirs in prose_pairs(number):
        text = " ".join(re.sub(r"`[^`]*`|\*[^*]+\*|\bin place of\b", "", ours.split("## Sources")[0]).split()).lower()
        said = {
            term: words for term, words in glossary().items() if re.search(rf"\b{re.escape(term.lower())}s?\b", text)
        }
        strange = [term for term, words in said.items() if not any(word in theirs for word in words)]
        assert strange == [], f"{theirs[:60]}: the glossary has another word"


def notebook_of(*texts):
    cells = [{"cell_type": "markdown", "id": str(i), "metadata": {}, "source": text} for i, text in enumerate(texts)]
    code = {
        "cell_type": "code",
        "id": "c",
        "metadata": {},
        "source": "x = 1\ny = 2",
        "outputs": [],
        "execution_count": None,
    }
    return {"cells": [*cells, code], "metadata": {"jupytext": {}, "kernelspec": {"name": "python3"}}, "nbformat": 4}


def test_translate_changes_prose_and_leads_links_one_folder_up():
    source = "See [the page](../docs/gradcheck.md)."
    made = chinese.translate(notebook_of(source), {chinese.key(source): "见 [该页](../docs/gradcheck.md)。"}, "05")
    assert [cell["source"] for cell in made["cells"]] == ["见 [该页](../../docs/gradcheck.md)。", "x = 1\ny = 2"]
    assert made["metadata"] == {"kernelspec": {"name": "python3"}}, "it is not paired with a text"
    assert json.loads(chinese.as_file(made))["cells"][1]["source"] == ["x = 1\n", "y = 2"]


def test_a_changed_original_is_named_with_its_left_over_translation():
    prose = {chinese.key("old"): "旧"}
    with pytest.raises(ValueError, match=rf"05: no translation of {chinese.key('new')} \(new\)"):
        chinese.translate(notebook_of("new"), prose, "05")
    with pytest.raises(ValueError, match=rf"05: {chinese.key('old')} translates no cell that is there"):
        chinese.translate(notebook_of("new"), {**prose, chinese.key("new"): "新"}, "05")


def test_prose_is_read_block_by_block(tmp_path):
    file = tmp_path / "05.md"
    assert chinese.read_prose(file) == {}
    file.write_text("<!-- 01234567 -->\n一\n\n二\n\n<!-- 89abcdef -->\n三\n", encoding="utf-8")
    assert chinese.read_prose(file) == {"01234567": "一\n\n二", "89abcdef": "三"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("一\n<!-- 01234567 -->\n二\n", "05.md: the text above the first line <!-- ... --> belongs to no cell"),
        ("<!-- 01234567 -->\n一\n<!-- 01234567 -->\n二\n", "05.md: 01234567 is translated twice"),
    ],
)
def test_damaged_prose_is_refused(tmp_path, text, message):
    (tmp_path / "05.md").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        chinese.read_prose(tmp_path / "05.md")
