"""A web side over a real, empty database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, Counter

from node.cell_book import CellBook
from node.views import Check, ClassView
from node.web.app import create_web
from node.web.sources import WebSources
from tests.stored_cases import Site

MYELOBLAST = ClassView(
    name="myeloblast", icsh_name="Myeloblast", lineage="granulocytic-neutrophil", counted=True, color="#0072b2"
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.at(tmp_path) as site:
        yield site


@pytest.fixture
def checks() -> list[Check]:
    return [Check(name="database", ok=True), Check(name="worker", ok=True)]


@pytest.fixture
def sources(site: Site, checks: list[Check], tmp_path: Path) -> WebSources:
    static = tmp_path / "static"
    static.mkdir()
    registry = CollectorRegistry()
    Counter("cases", "Cases seen", registry=registry).inc()
    return WebSources(
        database=site.database,
        checks=lambda: tuple(checks),
        classes=(MYELOBLAST,),
        registry=registry,
        static=static,
        receiver=site.receiver,
        cells=CellBook(site.database, site.folder),
        cache=tmp_path / "cache",
        poll_interval_s=0.02,
    )


@pytest.fixture
def client(sources: WebSources) -> Iterator[TestClient]:
    with TestClient(create_web(sources), raise_server_exceptions=True) as client:
        yield client
