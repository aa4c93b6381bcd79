"""Try the course where people use it: run notebooks in JupyterLab, move what can be moved, and watch the pictures.

    python -m tools.try_course runs/course [00 03 08 10]

JupyterLab is started for it, on copies of the notebooks with solutions, and Chromium is driven without a window. Each
notebook is run whole. An error, or a warning on stderr, ends it; so does a slider, a list or a button that is moved by keys
or mouse without its picture and the picture's words changing. Screenshots go into the folder.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from minigrad.compression.course import find_notebooks, list_notebooks
from tools.browser import start

NUMBERS = ("00", "01", "03", "05", "08", "09", "10")
"""The notebooks with something to move."""

SETTINGS = {  # of JupyterLab: all cells are drawn, not only those in sight
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}
READY = "return window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status == 'idle'"
RUN = "window.jupyterapp.commands.execute('notebook:run-all-cells')"
STATE = """
const panel = window.jupyterapp.shell.currentWidget;
const code = panel.content.widgets.filter((cell) => cell.model.type == 'code' && cell.model.sharedModel.source.trim());
const outputs = code.flatMap((cell) => cell.model.outputs.toJSON());
const text = (output) => [].concat(output.text ?? output.traceback ?? output.evalue).join('\\n');
return {
  cells: code.length,
  executed: code.filter((cell) => cell.model.executionCount != null).length,
  idle: panel.sessionContext.session.kernel.status == 'idle',
  errors: outputs.filter((output) => output.output_type == 'error').map(text),
  warnings: outputs.filter((output) => output.name == 'stderr').map(text),
  shown: document.querySelectorAll('.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]').length,
};
"""
SEEN = "const image = arguments[0].querySelector('.widget-html img'); return [image.alt, image.src]"
EXPLORER = ".jp-OutputArea-output .jupyter-widgets.widget-vbox"
COMPILING = "minigrad: compiling kernels"  # said once on a new machine, on stderr


def main(out: Path, numbers: list[str]) -> None:
    """Start JupyterLab, try the notebooks, stop JupyterLab."""
    out.mkdir(parents=True, exist_ok=True)
    source = find_notebooks()
    with TemporaryDirectory() as name:
        folder = Path(name) / "notebooks"
        folder.mkdir()
        (Path(name) / "results").symlink_to(source.parent / "results")  # notebooks read what commands recorded
        notebooks = {number: shutil.copy(list_notebooks(source)[number], folder) for number in numbers}
        shutil.copytree(source / "checks", folder / "checks", ignore=shutil.ignore_patterns("__pycache__"))
        with jupyterlab(folder, out / "jupyterlab.log") as (address, token):
            for number, path in notebooks.items():
                browser = start(1250, 1000)
                try:
                    workspace = f"{address}/lab/workspaces/try-{number}/tree/{Path(path).name}?token={token}"
                    try_notebook(browser, workspace, out, number)
                except BaseException:
                    browser.save_screenshot(str(out / f"{number}-failed.png"))
                    raise
                finally:
                    browser.quit()
    print(f"{len(numbers)} notebooks ran without an error, and their pictures followed; screenshots are in {out}.")


@contextmanager
def jupyterlab(folder: Path, log: Path) -> Any:
    """Run JupyterLab on a folder; gives its address and its token."""
    token = secrets.token_hex()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / ".jupyter"  # the reader's settings and open notebooks stay as they are
    (config / "labconfig").mkdir(parents=True)
    (config / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    own = os.environ | {"JUPYTER_CONFIG_DIR": str(config), "MINIGRAD_PROGRESS": str(folder / "progress.json")}
    options = ["--no-browser", "--allow-root", f"--port={port}", f"--IdentityProvider.token={token}"]
    command = [sys.executable, "-m", "jupyterlab", *options, "--LabApp.expose_app_in_browser=True", str(folder)]
    with log.open("w") as lines, subprocess.Popen(command, stderr=lines, env=own) as server:
        try:
            yield f"http://127.0.0.1:{port}", token
        finally:
            server.terminate()


def until(browser: Any, happens: Callable[[Any], Any], what: str, seconds: float = 120) -> Any:
    """Wait for something, and return it."""
    return WebDriverWait(browser, seconds, ignored_exceptions=[Exception]).until(happens, f"{what} did not come")


def try_notebook(browser: Any, url: str, out: Path, number: str) -> None:
    """Run one notebook whole, and move everything in it."""
    until(browser, lambda b: b.get(url) or True, "JupyterLab")
    until(browser, lambda b: b.execute_script(READY), "the kernel")
    browser.execute_script(RUN)
    until(browser, lambda b: ended(b.execute_script(STATE)), f"the end of notebook {number}", 1200)
    state = browser.execute_script(STATE)
    warnings = [text for text in state["warnings"] if not text.startswith(COMPILING)]
    if state["errors"] or state["shown"] or warnings or state["executed"] < state["cells"]:
        raise RuntimeError(f"notebook {number}: {state['executed']} of {state['cells']} cells ran; {state}")
    print(f"{number}: {state['cells']} cells ran, nothing on stderr", flush=True)
    explorers = until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, EXPLORER), f"what moves in notebook {number}")
    for explorer in explorers:
        move_everything(browser, explorer, out, number)


def ended(state: dict[str, Any]) -> bool:
    """Say whether all cells ran, or one failed."""
    return bool(state["idle"] and (state["executed"] == state["cells"] or state["errors"]))


def move_everything(browser: Any, explorer: Any, out: Path, number: str) -> None:
    """Move each slider, list and button by keys or mouse, and see that picture and words follow each time."""

    def seen() -> list[str]:
        return browser.execute_script(SEEN, explorer)  # at once: each move puts a new picture into the page

    def settle() -> None:
        """Wait until nothing changes any more, lest a late picture be taken for the next move's."""
        before = None
        while before != seen():
            before = seen()
            time.sleep(2)

    def moves(name: str, act: Callable[[], Any]) -> None:
        words, picture = seen()
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", explorer)
        act()
        follows = f"{number}: a picture after moving {name}"
        until(browser, lambda b: seen()[0] != words and seen()[1] != picture, follows)
        settle()
        print(f"  {name}: {seen()[0]}", flush=True)
        browser.save_screenshot(str(out / f"{number}-{name.replace(' ', '-')}.png"))

    until(browser, lambda b: seen(), f"the picture in notebook {number}")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", explorer)
    browser.save_screenshot(str(out / f"{number}-start.png"))
    for play in explorer.find_elements(By.CSS_SELECTOR, ".widget-play"):
        button = play.find_element(By.CSS_SELECTOR, "button")
        moves("play", lambda button=button: (button.click(), time.sleep(2), button.click()))  # play, pause
    for slider in explorer.find_elements(By.CSS_SELECTOR, ".widget-slider"):
        handle = slider.find_element(By.CSS_SELECTOR, ".noUi-handle")
        at, most = (float(handle.get_attribute(f"aria-value{end}")) for end in ("now", "max"))
        key = Keys.ARROW_RIGHT if at < most else Keys.ARROW_LEFT
        name = slider.find_element(By.CSS_SELECTOR, ".widget-label").text
        moves(name, lambda handle=handle, key=key: handle.send_keys(key * 2))
    for choice in explorer.find_elements(By.CSS_SELECTOR, ".widget-dropdown"):
        if len(choice.find_elements(By.TAG_NAME, "option")) > 1:
            name = choice.find_element(By.CSS_SELECTOR, ".widget-label").text
            moves(name, lambda choice=choice: Select(choice.find_element(By.TAG_NAME, "select")).select_by_index(1))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/course"), sys.argv[2:] or list(NUMBERS))
