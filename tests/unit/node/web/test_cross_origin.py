"""Addresses and origins: the node behind a proxy, and viewers that are served from elsewhere."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from node.settings import WebSettings
from node.web.app import create_web
from node.web.sources import WebSources

VIEWER = "https://slim.example.org"
PREFLIGHT = {
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "accept,authorization,content-type,range",
}


@pytest.fixture
def client(sources: WebSources) -> Iterator[TestClient]:
    settings = WebSettings(cors_origins=(VIEWER,), public_url="https://marrow.example.org/node")
    with local_client(replace(sources, settings=settings)) as client:
        yield client


def local_client(sources: WebSources) -> TestClient:
    """On this machine, from where DICOMweb needs no account."""
    return TestClient(create_web(sources), base_url="http://127.0.0.1", client=("127.0.0.1", 50000))


def test_a_named_viewer_may_ask(client: TestClient) -> None:
    asked = client.options("/dicomweb/studies", headers={"Origin": VIEWER, **PREFLIGHT})
    assert asked.is_success
    assert asked.headers["access-control-allow-origin"] == VIEWER
    assert {"GET", "POST", "OPTIONS"} <= set(asked.headers["access-control-allow-methods"].split(", "))
    answer = client.get("/dicomweb/studies", headers={"Origin": VIEWER})
    assert answer.headers["access-control-allow-origin"] == VIEWER
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert {"Content-Location", "Content-Type", "Warning"} <= set(
        answer.headers["access-control-expose-headers"].split(", ")
    )
    assert "Origin" in answer.headers["vary"]


def test_it_is_told_also_of_errors(client: TestClient) -> None:
    answer = client.get("/dicomweb/studies/1.2.3/metadata", headers={"Origin": VIEWER})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (404, VIEWER)


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("/dicomweb/studies", "https://evil.example.org"),
        ("/api/worklist", VIEWER),
        ("/", VIEWER),
        ("/dicomwebx", VIEWER),
    ],
)
def test_others_may_not_and_only_dicomweb_is_shared(client: TestClient, address: str, origin: str) -> None:
    assert "access-control-allow-origin" not in client.get(address, headers={"Origin": origin}).headers
    assert "access-control-allow-origin" not in client.options(address, headers={"Origin": origin, **PREFLIGHT}).headers


def test_without_the_setting_nobody_may(sources: WebSources) -> None:
    with local_client(sources) as client:
        assert "access-control-allow-origin" not in client.get("/dicomweb/studies", headers={"Origin": VIEWER}).headers


def test_options_tell_the_methods(client: TestClient) -> None:
    asked = client.options("/dicomweb/studies/1.2/series")
    assert (asked.status_code, asked.headers["allow"]) == (204, "GET, POST, OPTIONS")
    assert client.get("/dicomweb/nonsense").status_code == 404
