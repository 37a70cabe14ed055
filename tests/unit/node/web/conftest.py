"""A web side over a real, empty database."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, Counter

from node.people.accounts import Role
from node.views import Check, ClassView
from node.web.app import create_web
from node.web.identity import COOKIE
from node.web.sources import WebSources
from tests.stored_cases import Site

MYELOBLAST = ClassView(
    name="myeloblast", icsh_name="Myeloblast", lineage="granulocytic-neutrophil", counted=True, color="#0072b2"
)


@pytest.fixture
def checks() -> list[Check]:
    return [Check(name="database", ok=True), Check(name="worker", ok=True)]


@pytest.fixture
def sources(site: Site, checks: list[Check], tmp_path: Path) -> WebSources:
    static = tmp_path / "static"
    static.mkdir()
    registry = CollectorRegistry()
    Counter("cases", "Cases seen", registry=registry).inc()
    return site.web_sources(
        checks=lambda: tuple(checks), classes=(MYELOBLAST,), registry=registry, static=static, poll_interval_s=0.02
    )


@pytest.fixture
def visit(sources: WebSources) -> Iterator[Callable[..., TestClient]]:
    """`visit()` is a client on this machine that has not signed in; `visit("10.1.0.7")` one elsewhere."""
    app = create_web(sources)
    with ExitStack() as stack:

        def make(address: str = "127.0.0.1", base_url: str = "http://127.0.0.1", **options: Any) -> TestClient:
            return stack.enter_context(TestClient(app, base_url=base_url, client=(address, 50000), **options))

        yield make


@pytest.fixture
def client_of(visit: Callable[..., TestClient], site: Site) -> Callable[[Role], TestClient]:
    """`client_of(Role.VIEWER)` is a client that has signed in with that role."""

    def make(role: Role) -> TestClient:
        client = visit(base_url="http://testserver")
        client.cookies.set(COOKIE, site.sign_in(role))
        return client

    return make


@pytest.fixture
def client(client_of: Callable[[Role], TestClient]) -> TestClient:
    """A reviewer has signed in."""
    return client_of(Role.REVIEWER)
