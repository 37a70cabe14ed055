"""The web side over a site of stored cases, on a port of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from node.settings import WebSettings
from node.web.app import create_web
from node.web.server import WebServer
from tests.stored_cases import Site
from tests.system.processes import free_port


@contextmanager
def serving(site: Site, **settings: Any) -> Iterator[str]:
    """The address at which the web side of `site` answers.

    It names itself by that address, as a site tells a node that has clients whose Host header lacks the port.
    """
    port = free_port()
    settings = {"public_url": f"http://127.0.0.1:{port}", **settings}
    sources = site.web_sources(settings=WebSettings(**settings), poll_interval_s=0.05)
    server = WebServer(create_web(sources), "127.0.0.1", port)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()
        sources.cells.close()
