"""A viewer that is served from elsewhere, in a browser: it may use DICOMweb where the site names its origin."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from node.settings import WebSettings
from node.web.app import create_web
from node.web.server import WebServer
from tests.stored_cases import Site

FRAME = """async ([address, credentials]) => {
  const headers = { Accept: 'multipart/related; type="application/octet-stream"; transfer-syntax=*' };
  const answer = await fetch(address, { headers, credentials });
  return [answer.status, answer.headers.get("content-type"), (await answer.arrayBuffer()).byteLength];
}"""
STORE = """async ([address, bytes]) => {
  const type = 'multipart/related; type="application/dicom"; boundary=x';
  const head = "--x\\r\\nContent-Type: application/dicom\\r\\n\\r\\n";
  const body = new Blob([head, new Uint8Array(bytes), "\\r\\n--x--\\r\\n"]);
  const answer = await fetch(address, { method: "POST", body, headers: { "Content-Type": type } });
  return answer.status;
}"""


class _Blank(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>viewer</title>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def viewer() -> Iterator[str]:
    """The origin of an empty page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Blank) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(chromium: Browser, viewer: str) -> Iterator[Page]:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(viewer)
    yield page
    context.close()


def served(site: Site, *origins: str) -> Iterator[str]:
    sources = site.web_sources(settings=WebSettings(cors_origins=origins))
    server = WebServer(create_web(sources), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()
    sources.cells.close()


@pytest.fixture
def open_node(site: Site, viewer: str) -> Iterator[str]:
    yield from served(site, viewer)


@pytest.fixture
def closed_node(site: Site) -> Iterator[str]:
    yield from served(site)


@pytest.mark.parametrize("credentials", ["omit", "include"])
def test_a_named_viewer_fetches_and_stores(
    page: Page, site: Site, open_node: str, shared: Path, credentials: str
) -> None:
    file = shared / "dicom" / "highdicom-sm_image.dcm"
    assert page.evaluate(STORE, [f"{open_node}/dicomweb/studies", list(file.read_bytes())]) == 200
    header = site.receive(file)
    series = f"{open_node}/dicomweb/studies/{header.study_instance_uid}/series/{header.series_instance_uid}"
    address = f"{series}/instances/{header.sop_instance_uid}/frames/1"
    status, content_type, length = page.evaluate(FRAME, [address, credentials])
    assert status == 200
    assert content_type.startswith('multipart/related; type="application/octet-stream"')
    assert length > 10 * 10 * 3


@pytest.mark.parametrize("path", ["/dicomweb/studies", "/api/worklist"])
def test_another_one_does_not(page: Page, closed_node: str, path: str) -> None:
    asked = page.evaluate(
        "address => fetch(address, { credentials: 'include' }).then(() => 'read', () => 'kept')", closed_node + path
    )
    assert asked == "kept"
