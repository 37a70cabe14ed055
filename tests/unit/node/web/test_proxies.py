"""Behind a reverse proxy addresses are the client's own, and nobody else can claim to be a proxy."""

import pytest
from fastapi import Request
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from node.web.proxies import ProxiedRequests

PROXY, INNER = "10.1.0.9", "10.1.0.8"


def seen(headers: dict[str, str], peer: str = PROXY) -> tuple[str, str]:
    """Client address and base address that the application sees."""

    async def tell(request: Request) -> JSONResponse:
        assert request.client is not None
        return JSONResponse([request.client.host, str(request.base_url)])

    app = ProxiedRequests(Starlette(routes=[Route("/", tell)]), [f"{PROXY}/32", INNER])
    with TestClient(app, base_url="http://node:8000", client=(peer, 40000)) as client:
        host, base = client.get("/", headers=headers).json()
    return host, base


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (PROXY, "http://node:8000/")),
        (
            {"Forwarded": "for=192.0.2.7;host=marrow.example.org;proto=https"},
            ("192.0.2.7", "https://marrow.example.org/"),
        ),
        ({"Forwarded": 'For="[2001:db8::7]:4711";Proto=HTTPS;Host="m.org:444"'}, ("2001:db8::7", "https://m.org:444/")),
        ({"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}, ("192.0.2.7", "https://node:8000/")),
        ({"X-Forwarded-Host": "m.org", "X-Forwarded-Proto": "https"}, (PROXY, "https://m.org/")),
        ({"X-Forwarded-Host": "m.org/evil?", "X-Forwarded-Proto": "gopher"}, (PROXY, "http://node:8000/")),
        ({"X-Forwarded-For": "unknown"}, ("unknown", "http://node:8000/")),
    ],
)
def test_a_trusted_proxy_is_believed(headers: dict[str, str], expected: tuple[str, str]) -> None:
    assert seen(headers) == expected


def test_others_are_not() -> None:
    headers = {"Forwarded": "for=192.0.2.7;host=evil;proto=https", "X-Forwarded-For": "192.0.2.7"}
    assert seen(headers, peer="192.0.2.66") == ("192.0.2.66", "http://node:8000/")


def test_what_a_client_says_before_the_first_proxy_is_not_believed() -> None:
    chain = f"for=127.0.0.1;host=evil;proto=http, for=192.0.2.7;host=m.org;proto=https, for={INNER};host=inner"
    assert seen({"Forwarded": chain}) == ("192.0.2.7", "https://m.org/")
    assert seen({"X-Forwarded-For": f"127.0.0.1, 192.0.2.7, {INNER}"})[0] == "192.0.2.7"


def test_an_ipv4_proxy_on_an_ipv6_socket_is_the_same() -> None:
    assert seen({"X-Forwarded-For": "192.0.2.7"}, peer=f"::ffff:{PROXY}")[0] == "192.0.2.7"
