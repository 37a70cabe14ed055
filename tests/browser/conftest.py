"""Debian's Chromium, headless and offline, before a node's web side."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from node.settings import ReviewSettings, Settings
from node.web.app import create_web
from node.web.identity import COOKIE
from node.web.server import WebServer
from node.web.sources import STATIC
from tests.browser.picture import FLAGS
from tests.stored_cases import Site

expect.set_options(timeout=30_000)
ARTIFACTS = Path(__file__).parents[2] / "artifacts"


@pytest.fixture(scope="module")  # playwright's own event loop must not outlive these tests
def chromium() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    assert executable, "chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pages() -> Path:
    assert (STATIC / "index.html").is_file(), "the pages are not built: run `make web`"
    return STATIC


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.at(tmp_path) as site:
        yield site


@pytest.fixture
def review() -> ReviewSettings:
    """How the site reviews."""
    return ReviewSettings()


@pytest.fixture
def address(site: Site, pages: Path, review: ReviewSettings) -> Iterator[str]:
    """Where the web side over `site` answers."""
    settings = Settings(home=site.home, review=review)
    sources = site.web_sources(static=pages, poll_interval_s=0.05, session_check_s=0.5, site=settings)
    server = WebServer(create_web(sources), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()
    sources.cells.close()


@pytest.fixture
def visitor(chromium: Browser, address: str) -> Iterator[Page]:
    """A page of nobody who has signed in. It may not ask anyone but the node, and may not log an error."""
    context = chromium.new_context(base_url=address, viewport={"width": 1440, "height": 1080})
    page = context.new_page()
    page.set_default_timeout(60_000)  # software rendering on a busy machine
    faults: list[str] = []
    page.on(
        "request", lambda request: request.url.startswith((address, "blob:", "data:")) or faults.append(request.url)
    )
    page.on("console", lambda line: _is_fault(line) and faults.append(line.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert faults == []


@pytest.fixture
def page(visitor: Page, address: str, site: Site) -> Page:
    """The page of a reviewer who has signed in."""
    cookie = {"name": COOKIE, "value": site.sign_in(), "url": address, "httpOnly": True, "sameSite": "Strict"}
    visitor.context.add_cookies([cookie])
    return visitor


@pytest.fixture
def until(page: Page) -> Callable[[Callable[[], object]], bool]:
    """`until(condition)` polls as `wait_for` does, but lets the browser work in between."""

    def wait(condition: Callable[[], object], timeout_s: float = 120.0) -> bool:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "condition not met"
            page.wait_for_timeout(500)
        return True

    return wait


@pytest.fixture
def keep_picture(request: pytest.FixtureRequest):
    """`keep_picture(page, name)` saves a screenshot among the test artefacts, to be looked at."""
    folder = Path(os.environ.get("ARTIFACTS", ARTIFACTS)) / "browser"
    folder.mkdir(parents=True, exist_ok=True)

    def keep(page: Page, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png", full_page=True)

    return keep


def _is_fault(line: ConsoleMessage) -> bool:
    """An error, other than the browser's own line for a refusal of the node, which the page itself shows."""
    return line.type == "error" and "Failed to load resource" not in line.text
