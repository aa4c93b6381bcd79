"""Try the site where people read it: open each of its pages at the width of a phone, and some at that of a desk too.

    python -m tools.try_site runs/site

Nothing may reach out of the window, ask another host, or be reported as an error; a search must find what it is asked for,
in English and in Chinese; the dark look must be dark. Screenshots go into the folder. Needs the site of `make docs`, the extra
"browser", and Chromium with its chromedriver (on Debian: chromium, chromium-driver).
"""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tools.browser import screenshot, start

SITE = Path(__file__).resolve().parents[1] / "build" / "site"
WIDTHS = {"phone": (390, 844), "desk": (1280, 900)}
SHOWN = {  # what is looked at, and photographed: name → page
    "home": "index.html",
    "notebook": "notebooks/05_pruning.html",
    "widgets": "notebooks/08_distillation.html",
    "chinese": "notebooks/zh/00_the_whole_story.html",
    "api": "api/minigrad.nn.html",
    "table": "results/han2015.html",
    "pictures": "results/index.html",
    "wide": "docs/gradcheck.html",
}
SEARCHES = {
    "quantize": "quantiz",
    "SparsePruner": "SparsePruner",
    "剪枝": "zh/",
}  # what is asked → what a result's address has

OVERHANGS = """
const wide = document.documentElement.scrollWidth, window_ = document.documentElement.clientWidth;
const out = [...document.querySelectorAll("article *")].filter((at) => at.getBoundingClientRect().right > window_ + 1);
return wide > window_ ? [wide, window_, ...out.slice(0, 3).map((at) => at.outerHTML.slice(0, 120))] : [];
"""

ASKED = (
    "return performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => /^https?:/.test(name))"
)


def main(out: Path) -> None:
    """Serve the site, and try it at both widths."""
    if not (SITE / "index.html").exists():
        raise FileNotFoundError("there is no site in build/site: make it by `make docs`")
    out.mkdir(parents=True, exist_ok=True)
    handler = partial(Quiet, directory=str(SITE))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for name, size in WIDTHS.items():
            browser = start(*size, touches=name == "phone")
            try:
                photograph(browser, address, out, name)
                look_up(browser, address, out, name)
                if name == "phone":
                    walk(browser, address)
                if errors := [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]:
                    raise RuntimeError(f"pages complained: {errors[:5]}")
                look_up(browser, SITE.as_uri(), out, f"{name}, from the disk")
            finally:
                browser.quit()
        server.shutdown()
    print(f"Screenshots are in {out}.")


class Quiet(SimpleHTTPRequestHandler):
    """A server that does not list what it is asked for."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def photograph(browser: Any, address: str, out: Path, width: str) -> None:
    """Take pictures of some pages, light and dark."""
    for look in ("light", "dark"):
        browser.get(f"{address}/index.html")
        browser.execute_script("localStorage.setItem('theme', arguments[0])", look)
        for name, page in SHOWN.items():
            if (SITE / page).exists():
                browser.get(f"{address}/{page}")
                screenshot(browser, out / f"{width}-{look}-{name}.png")
        colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        brightness = sum(int(part) for part in colour.strip("rgba()").split(",")[:3])
        if (brightness < 384) != (look == "dark"):
            raise RuntimeError(f"the {look} look has the background {colour}")
    browser.execute_script("localStorage.setItem('theme', 'light')")


def look_up(browser: Any, address: str, out: Path, width: str) -> None:
    """Search for words, and look for the page that must be among the results."""
    for words, part in SEARCHES.items():
        browser.get(f"{address}/search.html?q={words}")
        found = f"#search-results li a[href*='{part}']"
        wait = WebDriverWait(browser, 30)
        wait.until(lambda b, found=found: b.find_elements(By.CSS_SELECTOR, found), f"{words} did not find {part}")
        wait.until(
            lambda b: "found" in b.find_element(By.CSS_SELECTOR, ".search-summary").text, "the search did not end"
        )
        count = len(browser.find_elements(By.CSS_SELECTOR, "#search-results ul.search > li"))
        print(f"{width}: {count} results for {words}")
    if "," not in width:
        screenshot(browser, out / f"{width}-search.png")


def walk(browser: Any, address: str) -> None:
    """Open every page but listings of sources: nothing may reach out of the window, or come from another host."""
    pages = [path.relative_to(SITE).as_posix() for path in sorted(SITE.rglob("*.html"))]
    pages = [page for page in pages if not page.startswith("_")]
    wrong = []
    for page in pages:
        browser.get(f"{address}/{page}")
        if found := browser.execute_script(OVERHANGS):
            wrong.append(f"{page} is wider than the window: {found}")
        wrong += [f"{page} asked for {url}" for url in browser.execute_script(ASKED) if not url.startswith(address)]
    if wrong:
        raise RuntimeError("\n".join(wrong))
    print(f"{len(pages)} pages: none is wider than a phone, none asks another host.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/site"))
