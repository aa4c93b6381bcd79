"""Build the site: the course with its outputs, in both languages, the documents, what was measured, and every public name.

    python -m tools.docs             writes build/site; open build/site/index.html
    python -m tools.docs --stale     takes outputs of earlier code or sources, where there are some

The folder build/site-source is assembled as Sphinx wants it, with the paths of the checkout, so that links between files hold.
Then all links of the built pages are followed, and every public name is looked for in the inventory.
"""

import json
import sys
import time
from pathlib import Path

import click

from minigrad.compression.course import list_notebooks, read_notebook
from tools.docs import api, links, notebooks

ROOT = notebooks.ROOT
SITE, SOURCE = ROOT / "build" / "site", ROOT / "build" / "site-source"
OWN = ROOT / "docs" / "site"
COPIED = ["*.md", "LICENSE", "CITATION.cff", "docs/*.md", "data/*.md", "results/*.*", "notebooks/README.md"]
FOLDS = {  # language → what stands on the fold of the first cell, of a solution, and for who cannot see a picture
    "en": ("Preparation", "A solution", "Figure of: "),
    "zh": ("准备", "参考答案", "图："),
}


def main(stale: bool = False) -> list[str]:
    """Assemble, build and check.

    Args:
        stale: of `notebooks.executed`.

    Returns:
        What is wrong, in sentences.
    """
    from sphinx.cmd.build import main as sphinx  # pyright: ignore[reportMissingImports]  of the extra "docs"

    kept = {path for path in SOURCE.rglob("*") if path.is_file()}
    for path in kept - assemble(stale):  # what has lost its original, and its page
        path.unlink()
        (SITE / path.relative_to(SOURCE)).with_suffix(".html").unlink(missing_ok=True)
    options = ["-W", "--keep-going", "-q", "-j", "auto", "-b", "html", "-d", str(SOURCE.with_name("site-cache"))]
    if sphinx([*options, "-c", str(OWN), str(SOURCE), str(SITE)]):
        return ["Sphinx complained, see above"]
    return links.broken(SITE) + links.outside(SITE) + api.missing(SITE / "objects.inv")


def assemble(stale: bool) -> set[Path]:
    """Write all that Sphinx reads, and return what was written. A file that is there and the same is left alone."""
    pages = {str(path.relative_to(ROOT)): path.read_bytes() for glob in COPIED for path in ROOT.glob(glob)}
    pages |= {name: (OWN / name).read_bytes() for name in ("index.md", "commands.md")}
    pages |= course(stale)
    pages["results/index.md"] = (OWN / "results.md").read_bytes()
    names = {f"api/{package}.rst": api.page(package) for package in api.packages()}
    names["api/index.rst"] = (OWN / "api.rst").read_text(encoding="utf-8") + listing()
    pages |= {name: text.encode() for name, text in names.items()}
    for name, content in pages.items():
        path = SOURCE / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return {SOURCE / name for name in pages}


def course(stale: bool) -> dict[str, bytes]:
    """Return the pages of the course: notebooks with outputs, and for each language the page above them."""
    pages: dict[str, bytes] = {}
    english = list_notebooks(ROOT / "notebooks")
    for language, folder in (("en", "notebooks"), ("zh", "notebooks/zh")):
        for number, path in list_notebooks(ROOT / folder).items():
            run = notebooks.executed(english[number], stale)
            page = notebooks.with_outputs(read_notebook(path), run)
            notebooks.for_reading(page, *FOLDS[language])
            pages[f"{folder}/{path.name}"] = json.dumps(page, ensure_ascii=False).encode()
    for name, folder in (("notebooks/README.md", "notebooks"), ("README.zh.md", "notebooks/zh")):
        text = (ROOT / name).read_text(encoding="utf-8").replace("](README.md)", "](index.md)")
        inside = [page.removesuffix(".ipynb") for page in pages if Path(page).parent.as_posix() == folder]
        toctree = "\n".join(["", "```{toctree}", ":hidden:", "", *(f"/{page}" for page in inside), "```", ""])
        pages[name] = (text + toctree * bool(inside)).encode()
    return pages


def listing() -> str:
    """Return the toctree of the pages about packages, the engine's first, by short names."""
    names = sorted(api.packages(), key=lambda name: ("compression" in name, name))
    entries = "".join(f"   {name.removeprefix('minigrad.')} <{name}>\n" for name in names)
    return f"\n.. toctree::\n   :maxdepth: 1\n\n{entries}"


@click.command(help="Build the site in build/site.")
@click.option("--stale", is_flag=True, help="Take outputs of notebooks as they are, though code may have changed.")
def command(stale: bool) -> None:
    """Build, and print what is wrong."""
    start = time.perf_counter()
    wrong = main(stale)
    for sentence in wrong:
        click.echo(sentence, err=True)
    pages = len(list(SITE.rglob("*.html")))
    click.echo(f"{pages} pages in {SITE.relative_to(ROOT)}, {time.perf_counter() - start:.0f} s, {len(wrong)} errors")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    command()
