"""`make bench`: how much a hundred thousand cells slow the slide, against the slide without them, in the same run."""

import math
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from node.cli.tools import write_slide
from node.web.app import create_web
from node.web.identity import COOKIE
from node.web.server import WebServer
from node.web.sources import STATIC
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.spec import PhantomSpec
from tests.browser.picture import FLAGS
from tests.stored_cases import Site, many_cells, unwritten_case

CELLS = 100_000
SIZE = (6000, 4000)
ROUNDS = 5
DEADLINE_MS = 180_000
STEPS = 60
_FRAME = "() => new Promise(requestAnimationFrame)"


def drag_s(page: Page) -> float:
    """How long it takes to drag the slide, frame by frame."""
    box = page.locator(".viewer").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    start = time.perf_counter()
    for step in range(STEPS):
        page.mouse.move(x + 100 * math.sin(step / 8), y + 60 * math.sin(step / 5))
        page.evaluate(_FRAME)
    took = time.perf_counter() - start
    page.mouse.up()
    return took


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="marrow-node-bench-") as name, sync_playwright() as playwright:
        home = Path(name)
        smear = PhantomSlide(PhantomSpec(seed=1, size=SIZE, mpp=0.25))
        write_slide(smear, home / "slide", container="BENCH-1", synthetic=True)
        with Site.at(home) as site:
            case_id = unwritten_case(site, home / "slide", many_cells(CELLS, SIZE))
            server = WebServer(create_web(site.web_sources(static=STATIC)), "127.0.0.1", 0)
            server.start()
            address = f"http://127.0.0.1:{server.port}"
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            page = browser.new_page(viewport={"width": 1440, "height": 1080})
            page.set_default_timeout(DEADLINE_MS)
            page.context.add_cookies([{"name": COOKIE, "value": site.sign_in(), "url": address}])
            page.goto(f"{address}/cases/{case_id}#slide&x=3000&y=2000&r=5")  # most of it in view
            cells = page.get_by_role("checkbox", name="Cells", exact=True)
            cells.wait_for()
            page.wait_for_load_state("networkidle")
            start = page.url
            drag_s(page)
            page.wait_for_function("start => location.href !== start", arg=start)  # it is dragged indeed
            ratios = []
            for _ in range(ROUNDS):
                cells.check()
                shown = drag_s(page)
                cells.uncheck()
                ratios.append(shown / drag_s(page))
            browser.close()
            server.stop()
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    spread = f"{middle:.2f} (min {low:.2f}, max {high:.2f}, {ROUNDS} pairs)"
    print(f"viewer, dragging {CELLS} cells against dragging none: {spread}")  # noqa: T201


if __name__ == "__main__":
    main()
