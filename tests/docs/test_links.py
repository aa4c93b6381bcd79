"""Links of built pages: those that lead nowhere, and those that load something from elsewhere."""

import pytest

from tools.docs import links


@pytest.fixture
def site(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "style.css").write_text("body { background: url(paper.png) }\n")
    (tmp_path / "api" / "nn.html").write_text(
        '<h1 id="nn">nn</h1><a name="Linear"></a><a href="../index.html#top">up</a>'
    )
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="style.css"><h1 id="top">minigrad</h1><a href="#top">here</a>'
        '<a href="api/nn.html#Linear">Linear</a><a href="https://arxiv.org/abs/1506.02626">a paper</a>'
        '<img src="data:image/png;base64,AA==">'
    )
    return tmp_path


def add(site, text):
    path = site / "index.html"
    path.write_text(path.read_text() + text)


def test_a_sound_site_has_nothing_to_say(site):
    assert links.broken(site) == []
    assert links.outside(site) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('<a href="api/gone.html">', "index.html: api/gone.html leads to no file"),
        ('<a href="api/">', "index.html: api/ leads to no file"),
        ('<img src="gone.png">', "index.html: gone.png leads to no file"),
        ('<script src="gone.js"></script>', "index.html: gone.js leads to no file"),
        ('<a href="#bottom">', "index.html: #bottom leads to a file that has no such place"),
        ('<a href="api/nn.html#Lstm">', "index.html: api/nn.html#Lstm leads to a file that has no such place"),
    ],
)
def test_a_link_that_leads_nowhere_is_named(site, text, sentence):
    add(site, text)
    assert links.broken(site) == [sentence]


@pytest.mark.parametrize("text", ['<img src="https://a.org/b.png">', '<script src="//a.org/b.js"></script>'])
def test_what_is_loaded_from_another_host_is_named(site, text):
    add(site, text)
    (sentence,) = links.outside(site)
    assert sentence.startswith("index.html loads ")
    assert "//a.org/b." in sentence


def test_a_style_that_loads_from_another_host_is_named(site):
    (site / "style.css").write_text('@import "https://a.org/font.css";\nb { background: url("https://a.org/c.png") }')
    assert links.outside(site) == ["style.css loads https://a.org/font.css", "style.css loads https://a.org/c.png"]
