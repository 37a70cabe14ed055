"""Who may ask for what: sessions, roles, the demo reviewer, DICOMweb, and requests from other sites."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from node.people.accounts import Role, add_account
from node.settings import WebSettings
from node.web.app import create_web
from node.web.identity import COOKIE
from node.web.sources import WebSources
from tests.stored_cases import Site

Visit = Callable[..., TestClient]
PASSWORD = "a quiet sentence"
ELSEWHERE = "10.1.0.7"


@pytest.fixture
def anna(site: Site, sources: WebSources) -> dict[str, str]:
    who = {"name": "anna", "password": PASSWORD}
    add_account(site.database, sources.passwords, full_name="Dr. Anna Beispiel", role=Role.VIEWER, actor="root", **who)
    return who


def test_signing_in_and_out(visit: Visit, anna: dict[str, str]) -> None:
    client = visit(ELSEWHERE)
    assert client.get("/api/session").status_code == 401
    answer = client.post("/api/session", json=anna)
    assert answer.json() == {"name": "anna", "full_name": "Dr. Anna Beispiel", "role": "viewer", "demo": False}
    cookie = answer.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/"))
    assert "secure" not in cookie
    assert client.get("/api/session").json()["name"] == "anna"
    kept = client.cookies[COOKIE]
    assert client.delete("/api/session").status_code == 204
    client.cookies.set(COOKIE, kept)
    assert client.get("/api/worklist").status_code == 401


def test_the_cookie_is_secure_behind_tls(visit: Visit, anna: dict[str, str]) -> None:
    answer = visit(base_url="https://node.example").post("/api/session", json=anna)
    assert "secure" in answer.headers["set-cookie"].lower()


def test_guessing_is_slowed_down(visit: Visit, anna: dict[str, str]) -> None:
    client = visit(ELSEWHERE)
    answers = [client.post("/api/session", json=anna | {"password": "wrong"}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert answers[-1].headers["retry-after"] == "1"
    assert "set-cookie" not in answers[0].headers


def test_everything_of_api_asks_who_it_is(visit: Visit, sources: WebSources) -> None:
    """Also what later parts add: each route of the application is tried."""
    client = visit()
    for route in create_web(sources).openapi()["paths"].items():
        path, methods = route
        if not path.startswith("/api/") or path == "/api/session":
            continue
        for method in methods:
            assert client.request(method, path.replace("{", "").replace("}", "")).status_code == 401, (method, path)


@pytest.mark.parametrize("trusted", [(), ("127.0.0.1",)])
@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Host": "127.0.0.1", "Host": "evil.example"},
        {"Forwarded": "for=127.0.0.1;host=localhost;proto=http", "Host": "evil.example"},
    ],
)
def test_what_a_proxy_passes_on_is_not_this_machine(
    sources: WebSources, headers: dict[str, str], trusted: tuple[str, ...]
) -> None:
    settings = WebSettings(demo_reviewer=True, trusted_proxies=trusted)
    app = create_web(replace(sources, settings=settings))
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50000)) as client:
        assert client.get("/dicomweb/studies").status_code == 200
        for path in ("/dicomweb/studies", "/api/worklist"):
            assert client.get(path, headers=headers).status_code == 401


def test_a_client_behind_the_proxy_is_known_by_its_own_address(sources: WebSources) -> None:
    settings = WebSettings(trusted_proxies=("10.9.9.9",), dicomweb_addresses=(f"{ELSEWHERE}/32",))
    app = create_web(replace(sources, settings=settings))
    for proxy, status in (("10.9.9.9", 200), ("10.8.8.8", 401)):
        with TestClient(app, client=(proxy, 50000)) as client:
            assert client.get("/dicomweb/studies", headers={"X-Forwarded-For": ELSEWHERE}).status_code == status


@pytest.mark.parametrize("path", ["/health/live", "/metrics", "/nowhere", "/static/x.js"])
def test_what_holds_no_patient_data_is_open(visit: Visit, path: str) -> None:
    assert visit(ELSEWHERE).get(path).status_code in {200, 404}


def test_a_page_from_another_site_changes_nothing(client: TestClient, anna: dict[str, str]) -> None:
    for headers, status in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://testserver"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://testserver"}, 200),
        ({}, 200),
    ):
        assert client.post("/api/session", json=anna, headers=headers).status_code == status, headers
    assert client.get("/api/worklist", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_what_changes_something_is_json_of_a_stated_length(client: TestClient) -> None:
    form = client.post("/api/session", content=b'{"name":"a","password":"b"}', headers={"Content-Type": "text/plain"})
    assert form.status_code == 415
    assert client.post("/api/session", content=iter([b"{}"])).status_code == 411
    assert client.post("/api/session", content=b" " * 5_000_000).status_code == 413


def test_a_password_is_changed_by_who_knows_it(visit: Visit, anna: dict[str, str]) -> None:
    here, elsewhere = visit(), visit()
    for client in (here, elsewhere):
        assert client.post("/api/session", json=anna).status_code == 200
    change = {"current": "not mine at all", "new": "another sentence"}
    assert here.put("/api/session/password", json=change).json()["field"] == "current"
    change["current"] = PASSWORD
    assert here.put("/api/session/password", json=change | {"new": "short"}).status_code == 422
    assert here.put("/api/session/password", json=change).status_code == 204
    assert here.get("/api/session").status_code == 200
    assert elsewhere.get("/api/session").status_code == 401
    assert elsewhere.post("/api/session", json=anna).status_code == 401


def test_the_demo_reviewer_is_who_opens_the_page_on_this_machine(site: Site, sources: WebSources) -> None:
    app = create_web(site.web_sources(settings=WebSettings(demo_reviewer=True), static=sources.static))
    here = TestClient(app, base_url="http://localhost:8000", client=("127.0.0.1", 50000))
    assert here.get("/api/session").json()["demo"] is True
    assert here.get("/api/worklist").status_code == 200
    change = {"current": PASSWORD, "new": PASSWORD}
    assert here.put("/api/session/password", json=change).status_code == 409
    rebound = TestClient(app, base_url="http://evil.example", client=("127.0.0.1", 50000))
    assert rebound.get("/api/worklist").status_code == 401
    proxied = TestClient(app, base_url="http://localhost:8000", client=(ELSEWHERE, 50000))
    assert proxied.get("/api/worklist").status_code == 401


def test_dicomweb_is_for_people_accounts_and_named_addresses(
    visit: Visit, site: Site, sources: WebSources, anna: dict[str, str]
) -> None:
    studies = "/dicomweb/studies"
    assert visit().get(studies).status_code == 200
    assert visit("::ffff:127.0.0.1").get(studies).status_code == 200
    assert visit(base_url="http://evil.example").get(studies).status_code == 401
    stranger = visit(ELSEWHERE)
    refused = stranger.get(studies)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert stranger.get(studies, auth=("anna", PASSWORD)).status_code == 200
    wrong = stranger.get(studies, auth=("anna", "wrong"))
    assert (wrong.status_code, wrong.json()["field"]) == (401, "Authorization")
    assert stranger.get(studies, headers={"Authorization": "Basic ???"}).status_code == 401
    assert stranger.post(studies).status_code == 401
    stranger.cookies.set(COOKIE, site.sign_in(Role.VIEWER))
    assert stranger.get(studies).status_code == 200
    stranger.cookies.set(COOKIE, "of a session that has ended")
    assert "www-authenticate" not in stranger.get(studies).headers
    named = create_web(site.web_sources(settings=WebSettings(dicomweb_addresses=("10.1.0.0/16",))))
    assert TestClient(named, client=(ELSEWHERE, 50000)).get(studies).status_code == 200
    assert TestClient(named, client=("127.0.0.1", 50000)).get(studies).status_code == 401
