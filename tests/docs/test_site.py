"""What goes into the site; and a small one, built as the whole is."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from tools.docs import __main__ as docs
from tools.docs import api, links

INDEX = """
# 首页

知识蒸馏, and $\\frac{1}{2}$:

$$\\sum_i x_i$$

```{toctree}
api/minigrad.optim
```
"""

THIN = '<mspace width="0.167em" />'


@pytest.mark.parametrize("page", ["index.md", "commands.md"])
def test_parts_of_the_readme_begin_and_end_at_its_headings(page):
    marks = re.findall(r'^:(?:start-after|end-before): "(.*)"$', (docs.OWN / page).read_text(), re.MULTILINE)
    lines = (docs.ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(marks) >= 2
    assert [mark for mark in marks if lines.count(mark) != 1] == []


def test_every_document_is_in_the_table_of_contents():
    listed = (docs.OWN / "index.md").read_text()
    documents = [f"docs/{path.stem}" for path in (docs.ROOT / "docs").glob("*.md")]
    assert [name for name in documents if f"\n{name}\n" not in listed] == []


def test_every_picture_and_report_of_the_results_is_shown():
    pages = [docs.OWN / "results.md", *(docs.ROOT / "results").glob("*.md")]
    linked = {link for page in pages for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))}
    made = {path.name for path in (docs.ROOT / "results").glob("*.*") if path.suffix in (".png", ".json")}
    assert made <= linked
    assert [link for link in linked if "/" not in link and not (docs.ROOT / "results" / link).exists()] == []


def test_a_picture_has_words_for_who_cannot_see_it():
    words = re.findall(r"!\[(.*?)\]\(", (docs.OWN / "results.md").read_text(encoding="utf-8"))
    assert words
    assert min(len(text) for text in words) > 30


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of two pages, built with our settings."""
    for package in ("sphinx", "myst_nb", "furo", "latex2mathml"):
        pytest.importorskip(package, reason="building the site needs the extra `docs`")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "api").mkdir()
    (source / "index.md").write_text(INDEX, encoding="utf-8")
    (source / "api" / "minigrad.optim.rst").write_text(api.page("minigrad.optim"))
    shutil.copy(source / "index.md", source / "README.zh.md")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", docs.OWN, "-D"]
    command += ["suppress_warnings=toc.not_included", source, out]
    result = subprocess.run(command, cwd=docs.ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return out


def test_links_of_a_built_site_hold_and_nothing_comes_from_elsewhere(site):
    assert links.broken(site) == []
    assert links.outside(site) == []


def test_a_name_leads_to_its_description_by_every_path(site):
    sentences = set(api.missing(site / "objects.inv"))
    assert "the site says nothing of minigrad.nn.Linear" in sentences
    missing = [name for name in api.every_name() if f"the site says nothing of {name}" in sentences]
    assert [name for name in missing if name.startswith("minigrad.optim.")] == []


def test_formulas_are_mathml(site):
    page = (site / "index.html").read_text(encoding="utf-8")
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>" in page
    assert re.search(r'<div class="math"><math[^>]* display="block">', page)
    assert "mathjax.js" not in page.lower()


@pytest.mark.parametrize(
    ("latex", "part"),
    [
        (r"p \log q", f"<mi>p</mi>{THIN}<mi>log</mi>{THIN}<mi>q</mi>"),
        (r"\log(2)", '<mi>log</mi><mo stretchy="false">&#x00028;</mo>'),
        (r"\log_2 x", "<msub><mi>log</mi><mn>2</mn></msub>"),
        ("a = -3", '<mo>&#x0003D;</mo><mo form="prefix">&#x02212;</mo><mn>3</mn>'),
        ("(a) - 3", "</mo><mo>&#x02212;</mo><mn>3</mn>"),
    ],
)
def test_formulas_are_spaced_as_in_tex(latex, part):
    pytest.importorskip("sphinx", reason="formulas of the site need the extra `docs`")
    pytest.importorskip("latex2mathml", reason="formulas of the site need the extra `docs`")
    from tools.docs.extension import mathml

    assert part in mathml(latex, "inline")


def test_chinese_is_found_by_pairs_of_characters(site):
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    assert {"知识", "识蒸", "蒸馏"} <= set(index["terms"])
    assert "知识蒸馏" not in index["terms"]
    assert "首页" in index["titleterms"]


def test_a_page_says_its_language(site):
    assert '<html class="no-js" lang="en"' in (site / "index.html").read_text(encoding="utf-8")
    assert '<html class="no-js" lang="zh-CN"' in (site / "README.zh.html").read_text(encoding="utf-8")
