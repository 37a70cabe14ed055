"""`make bench`: how much a hundred thousand cells slow the slide, against the slide without them, in the same run."""

import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from node.cli_tools import write_slide
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
_DRAG = """async () => {
  const slide = document.querySelector(".viewer-slide canvas"), box = slide.getBoundingClientRect(), waits = [];
  const send = (type, step) => slide.dispatchEvent(new PointerEvent(type, {
    bubbles: true, pointerId: 1, isPrimary: true, buttons: 1,
    clientX: box.left + box.width / 2 + 100 * Math.sin(step / 8),
    clientY: box.top + box.height / 2 + 60 * Math.sin(step / 5),
  }));
  send("pointerdown", 0);
  let before = performance.now();
  for (let step = 1; step <= 60; step++) {
    send("pointermove", step);
    const now = await new Promise(requestAnimationFrame);
    waits.push(now - before);
    before = now;
  }
  send("pointerup", 60);
  return waits;
}"""


def frame_ms(page: Page) -> float:
    """The mean time of a frame while the slide is dragged."""
    return statistics.fmean(page.evaluate(_DRAG))


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
            page.goto(f"{address}/cases/{case_id}#slide")
            cells = page.get_by_role("checkbox", name="Cells", exact=True)
            cells.wait_for()
            page.wait_for_load_state("networkidle")
            start = page.url
            frame_ms(page)
            page.wait_for_function("start => location.href !== start", arg=start)  # it is dragged indeed
            ratios = []
            for _ in range(ROUNDS):
                cells.check()
                shown = frame_ms(page)
                cells.uncheck()
                ratios.append(shown / frame_ms(page))
            browser.close()
            server.stop()
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    spread = f"{middle:.2f} (min {low:.2f}, max {high:.2f}, {ROUNDS} pairs)"
    print(f"viewer, a frame with {CELLS} cells against one without: {spread}")  # noqa: T201


if __name__ == "__main__":
    main()
