"""Links of built pages: each must lead to a file that is there, and to a place in it; and no page may ask another host."""

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {
    "img": "src",
    "script": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
}
"""Tags that make a browser load something, and the attribute that says what."""

FOR_MACHINES = {"canonical", "icon", "alternate"}


class Page(HTMLParser):
    """What a page refers to, and what can be referred to in it.

    Attributes:
        links: addresses, of what it links to and of what it loads.
        loads: those that a browser asks for when it opens the page.
        places: ids and names.

    Example:
        >>> page = Page('<a href="b.html#c">b</a><img src="d.png"><p id="e">')
        >>> page.links, page.loads, page.places
        (['b.html#c', 'd.png'], ['d.png'], {'e'})
    """

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        address = given.get("href" if tag == "a" else LOADED.get(tag, ""))
        if address is not None:
            self.links.append(address)
            if tag != "a":
                self.loads.append(address)


@cache
def read(path: Path) -> Page:
    """Return a page's links and places."""
    return Page(path.read_text(encoding="utf-8"))


def broken(site: Path) -> list[str]:
    """Return a sentence for each link of a folder's pages that leads to no file, or to no place in it."""
    read.cache_clear()
    sentences = []
    for path in sorted(site.rglob("*.html")):
        for link in dict.fromkeys(read(path).links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            page = path.relative_to(site)
            if not target.is_file():
                sentences.append(f"{page}: {link} leads to no file")
            elif parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in read(target).places:
                sentences.append(f"{page}: {link} leads to a file that has no such place")
    return sentences


def outside(site: Path) -> list[str]:
    """Return a sentence for each thing on another host that a page, or a style, would load."""
    found = {path: read(path).loads for path in sorted(site.rglob("*.html"))}
    for path in sorted(site.rglob("*.css")):
        found[path] = re.findall(r"""(?:url\(|@import)\s*['"]?([^'")]+)""", path.read_text(encoding="utf-8"))
    return [
        f"{path.relative_to(site)} loads {address}"
        for path, addresses in found.items()
        for address in dict.fromkeys(addresses)
        if urlsplit(address).netloc
    ]
