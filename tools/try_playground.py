"""Try the playground where people use it: draw on it by mouse, keyboard and finger, and feed it test images.

    python -m tools.try_playground runs/playground

Chromium is driven without a window, on a page of the LeNet that comes with the package. Drawn digits must be recognised,
and 1,000 test images must give the integer model's logits, each of them. Screenshots at the width of a desk and of a
phone go into the folder. Needs the extra "browser", and Chromium with its chromedriver (on Debian: chromium,
chromium-driver).
"""

import base64
import sys
from pathlib import Path
from typing import Any

import numpy as np
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

import minigrad
from minigrad.compression.export import to_html
from minigrad.compression.integer import to_integer
from minigrad.compression.models import trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.datasets import mnist, normalize
from tools.browser import screenshot, start

IMAGES = 1000
WIDTHS = {"desk": (1250, 900), "phone": (360, 740)}

STROKES = {  # digit -> strokes, points of a drawing area of 280 × 280
    1: [[(140, 50), (140, 230)]],
    7: [[(80, 70), (195, 70), (130, 235)]],
    2: [[(85, 95), (110, 60), (155, 55), (185, 85), (170, 130), (85, 225), (200, 225)]],
    4: [[(100, 60), (90, 150), (190, 150)], [(180, 60), (170, 235)]],
}

FOCUSED = """
const at = document.activeElement;
return [at.id || at.getAttribute("aria-label") || at.name || at.className || at.tagName, getComputedStyle(at).outlineStyle];
"""

RUN = """
const [encoded, count] = arguments, size = 784;
const pixels = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
const rows = Array.from({length: count}, (_, n) => minigrad.run(pixels.slice(n * size, (n + 1) * size)));
return Object.fromEntries(["float", "pruned", "int8"].map((name) => [name, rows.map((row) => Array.from(row[name]))]));
"""


def main(out: Path) -> None:
    """Write the page, and try it at both widths."""
    out.mkdir(parents=True, exist_ok=True)
    test, lenet = mnist("test"), trained_lenet()
    integer = to_integer(lenet, mnist("train").pixels[:500])
    pruned = SparsePruner(lenet, ARTICLE_SPARSITY).prune(lenet)
    first = [int(np.flatnonzero(test.labels == label)[0]) for label in range(10)]
    samples = {"samples": test.pixels[first], "labels": test.labels[first]}
    page = out / "playground.html"
    page.write_text(to_html(integer, lenet, pruned, **samples, about="A page to be tried."), encoding="utf-8")

    for name, size in WIDTHS.items():
        browser = start(*size, touches=name == "phone")
        try:
            browser.get(page.resolve().as_uri())
            wait_for(browser, "Nothing is drawn yet.")
            screenshot(browser, out / f"{name}-start.png")
            draw_digits(browser, out, name)
            use_keys(browser, out, name)
            check_width(browser)
            check_names(browser)
            if name == "desk":
                compare(browser, test.pixels[:IMAGES], integer, {"float": lenet, "pruned": pruned})
            if errors := [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]:
                raise RuntimeError(f"the page complained: {errors}")
        finally:
            browser.quit()
    print(f"Screenshots are in {out}.")


def draw_digits(browser: Any, out: Path, name: str) -> None:
    """Draw digits by mouse, or by finger, and look whether they are recognised."""
    area = browser.find_element(By.ID, "drawing")
    kind = PointerInput(POINTER_TOUCH, "finger") if name == "phone" else PointerInput("mouse", "mouse")
    for digit, strokes in STROKES.items():
        browser.find_element(By.ID, "clear").click()
        for stroke in strokes:
            actions = ActionBuilder(browser, mouse=kind, duration=30)
            pointer = actions.pointer_action
            for n, (x, y) in enumerate(stroke):
                pointer.move_to(area, x - 140, y - 140)
                if n == 0:
                    pointer.pointer_down()
            pointer.pointer_up()
            actions.perform()
        said = wait_for(browser, f"Int8: {digit}")
        print(f"{name}: drew {digit}: {said}")
    screenshot(browser, out / f"{name}-drawn.png")


def use_keys(browser: Any, out: Path, name: str) -> None:
    """Draw a 1, choose a sample and turn the temperature up, all by keyboard."""
    browser.find_element(By.ID, "drawing").send_keys(Keys.DELETE, Keys.ARROW_UP * 9, " ", Keys.ARROW_DOWN * 18)
    print(f"{name}: drew by arrow keys: {wait_for(browser, 'Int8: 1')}")
    screenshot(browser, out / f"{name}-keys.png")
    browser.find_element(By.CSS_SELECTOR, "#samples button:nth-of-type(6)").send_keys(Keys.ENTER)
    wait_for(browser, "Test image of a 5. Float: 5")
    browser.find_element(By.ID, "temperature").send_keys(Keys.ARROW_RIGHT * 4)
    print(f"{name}: chose by keyboard: {wait_for(browser, 'At T = 4.')}")
    browser.find_element(By.CSS_SELECTOR, "#whose input[value=int8]").send_keys(Keys.ARROW_LEFT)
    screenshot(browser, out / f"{name}-sample.png")


def check_names(browser: Any) -> None:
    """Walk through the page by Tab; what is met must be seen to be in focus, and have a name for screen readers."""
    browser.execute_script("document.querySelector('.skip').focus()")
    met, visible = [], True
    while (seen := browser.execute_script(FOCUSED))[0] != "BODY" and seen[0] not in met:
        met.append(seen[0])
        visible = visible and seen[1] != "none"
        ActionChains(browser).send_keys(Keys.TAB).perform()
    if not visible or not {"drawing", "clear", "temperature", "whose", "Test image of a 9"} <= set(met):
        raise RuntimeError(f"by Tab one meets {met}; where one is {'is' if visible else 'is not always'} visible")
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    focusable = [n for n in nodes if any(p["name"] == "focusable" for p in n.get("properties", []))]
    if nameless := [n["role"]["value"] for n in focusable if not n.get("name", {}).get("value")]:
        raise RuntimeError(f"without a name for screen readers: {nameless}")
    print(f"Tab meets {len(met)} elements; each of {len(focusable)} has a name for screen readers.")


def wait_for(browser: Any, words: str) -> str:
    """Wait until the result that is read out has these words, and return it."""
    said = browser.find_element(By.ID, "said")
    WebDriverWait(browser, 30).until(lambda _: words in said.text, f"{words!r} did not come: {said.text!r}")
    return said.text


def check_width(browser: Any) -> None:
    """Make sure that nothing reaches out of the window."""
    inside, window = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    if inside > window:
        raise RuntimeError(f"the page is {inside} pixels wide in a window of {window}")


def compare(browser: Any, pixels: Any, integer: Any, floats: dict[str, Any]) -> None:
    """Feed images to the page, and compare the logits of all three models with ours."""
    found = browser.execute_script(RUN, base64.b64encode(pixels.tobytes()).decode("ascii"), len(pixels))
    expected = integer.logits(pixels)
    differing = int((np.array(found["int8"]) != expected).sum())
    print(f"int8: {differing} of {expected.size:,} logits differ, on {len(pixels):,} test images")
    for name, model in floats.items():
        with minigrad.no_grad():
            logits = model(normalize(pixels)[:, None]).data
        print(f"{name}: logits differ by up to {np.abs(np.array(found[name]) - logits).max():.1e}")
    if differing:
        raise RuntimeError("the page computes other logits than the integer model")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/playground"))
