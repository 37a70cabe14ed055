"""`make picture`: the README's picture, the result page of the demonstration's synthetic slide."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from node.demo import run_demo

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]


def take(address: str, out: Path) -> None:
    """Photograph a page in Debian's Chromium, once its pictures are there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.goto(f"{address}#overview")
        page.wait_for_function("document.images.length && [...document.images].every(each => each.naturalWidth)")
        page.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    run_demo(None, roi="auto", tiles="auto", port_base=None, visit=lambda page: take(page, Path(sys.argv[1])))
