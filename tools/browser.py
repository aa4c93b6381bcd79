"""Chromium without a window, for the tools that try pages.

Needs the extra "browser", and Chromium with its chromedriver (on Debian: chromium, chromium-driver).
"""

import base64
import shutil
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service


def start(width: int, height: int, touches: bool = False) -> Any:
    """Return a Chromium without a window, of a desk or of a phone."""
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--window-size={width},{height}"):
        options.add_argument(option)
    if touches:  # a window of Chromium cannot be as narrow as a phone
        metrics = {"width": width, "height": height, "pixelRatio": 2.0, "touch": True}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = shutil.which("chromedriver")  # told where it is, Selenium asks no server
    browser = webdriver.Chrome(options, Service(driver) if driver else None)
    browser.set_script_timeout(300)  # seconds; usually it takes a few, but not on a busy computer
    return browser


def screenshot(browser: Any, path: Path) -> None:
    """Take a picture of the whole page."""
    settings = {"captureBeyondViewport": True, "format": "png"}
    picture = browser.execute_cdp_cmd("Page.captureScreenshot", settings)["data"]
    path.write_bytes(base64.b64decode(picture))
