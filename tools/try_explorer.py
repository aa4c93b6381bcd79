"""Try the explorer of temperature where people use it: open it in JupyterLab, move its sliders, and watch its picture.

    python tools/try_explorer.py runs/explorer

JupyterLab is started for it, with a notebook of one cell, and Chromium is driven without a window. Before and after each
move a screenshot goes into the folder. A picture that does not follow, or does not say the slider's number, ends it with
an error. Needs the extra "browser", and Chromium with its chromedriver (on Debian: chromium, chromium-driver).
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

CELL = """
from minigrad.compression.distillation import explore_temperature, teacher_logits
from minigrad.compression.models import trained_lenet
from minigrad.datasets import mnist

test = mnist("test")
explore_temperature(teacher_logits(trained_lenet(), test)[:3], test.images[:3], test.labels[:3])
"""
READY = "return window.jupyterapp && window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status == 'idle'"
MOVES = {  # name -> (place of the slider, key, how often it is pressed, what the picture then says)
    "temperature": (0, Keys.ARROW_RIGHT, 12, "at T = 3.98 and α = 0.5"),
    "alpha": (1, Keys.ARROW_RIGHT, 6, "at T = 3.98 and α = 0.8"),
    "below-1": (0, Keys.ARROW_LEFT, 20, "at T = 0.398 and α = 0.8"),
}


def main(out: Path) -> None:
    """Start JupyterLab, move the sliders, stop JupyterLab."""
    out.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with TemporaryDirectory() as folder:
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # without one, JupyterLab asks which
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL.strip())], metadata=kernel)
        nbformat.write(notebook, Path(folder) / "explorer.ipynb")
        own = os.environ | {"JUPYTER_CONFIG_DIR": folder}  # the reader's open notebooks stay as they are
        options = ["--no-browser", "--allow-root", f"--port={port}", f"--IdentityProvider.token={token}"]
        command = [sys.executable, "-m", "jupyterlab", *options, "--LabApp.expose_app_in_browser=True", folder]
        with (out / "jupyterlab.log").open("w") as log, subprocess.Popen(command, stderr=log, env=own) as server:
            try:
                look(f"http://127.0.0.1:{port}/lab/tree/explorer.ipynb?token={token}", out)
            finally:
                server.terminate()


def look(url: str, out: Path) -> None:
    """Run the cell, press keys on the sliders, and compare the pictures."""
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1250,900"):
        options.add_argument(option)
    driver = shutil.which("chromedriver")  # told where it is, Selenium asks no server
    browser = webdriver.Chrome(options, Service(driver) if driver else None)

    def until(happens: Callable[[Any], Any], what: str) -> Any:
        return WebDriverWait(browser, 120, ignored_exceptions=[Exception]).until(happens, f"{what} did not come")

    def picture() -> tuple[str, str]:
        image = browser.find_element(By.CSS_SELECTOR, ".jp-OutputArea .widget-html img")
        return image.get_attribute("alt") or "", image.get_attribute("src") or ""

    try:
        until(lambda b: b.get(url) or True, "JupyterLab")
        until(lambda b: b.execute_script(READY), "the kernel")
        browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        seen = [until(lambda b: picture(), "the explorer")]
        browser.save_screenshot(str(out / "start.png"))
        for name, (place, key, times, words) in MOVES.items():
            slider = browser.find_elements(By.CSS_SELECTOR, ".jupyter-widgets .noUi-handle")[place]
            slider.send_keys(key * times)
            until(lambda b, words=words: words in picture()[0], f"a picture that says {words!r}")
            seen.append(picture())
            browser.save_screenshot(str(out / f"{name}.png"))
            print(f"{name}: {seen[-1][0]}")
        if len({source for _, source in seen}) < len(seen):
            raise RuntimeError("the words under the picture changed, and the picture did not")
    finally:
        browser.quit()
    print(f"The picture followed {len(MOVES)} moves; screenshots are in {out}.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/explorer"))
