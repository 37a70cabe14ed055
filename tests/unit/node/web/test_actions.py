"""Acting on cases over HTTP: who may, what is needed, and what is answered."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from node.people.accounts import Role
from node.views import CaseState
from tests.builders import build_no_result
from tests.stored_cases import Site, store_case


@pytest.fixture
def held(site: Site) -> str:
    return store_case(site, CaseState.HELD, cause="no countable region: look at the slide", report=build_no_result())


def act(client: TestClient, case_id: str, **asked: Any):
    return client.post(f"/api/cases/{case_id}/actions", json=asked)


def test_a_held_case_offers_what_can_be_done_and_does_it(client: TestClient, held: str) -> None:
    before = client.get(f"/api/cases/{held}").json()
    accept, rerun, withdraw = before["actions"]
    assert (accept["name"], accept["label"], accept["needs"]) == ("accept", "Accept the result", ["reason"])
    assert (rerun["name"], rerun["needs"]) == ("rerun", ["reason"])
    assert (withdraw["name"], withdraw["needs"]) == ("withdraw", ["reason"])
    answer = act(client, held, name="accept", reason="  it is a clot ", seen=len(before["events"]))
    assert answer.status_code == 200
    after = answer.json()
    assert after["row"]["state"] == "reported"
    assert after["events"][-1] | {"at": ""} == {
        "at": "",
        "state": "reported",
        "cause": "it is a clot",
        "actor": "reviewer",
    }
    assert [action["name"] for action in after["actions"]] == ["rerun", "withdraw"]
    again = act(client, held, name="accept", reason="me too", seen=len(before["events"]))
    assert again.status_code == 409
    assert "look again" in again.json()["error"]


def test_a_viewer_looks_only(client_of: Callable[[Role], TestClient], held: str) -> None:
    viewer = client_of(Role.VIEWER)
    assert viewer.get(f"/api/cases/{held}").json()["actions"] == []
    assert act(viewer, held, name="accept", reason="x").status_code == 403
    assert viewer.get("/api/slides").status_code == 403


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"name": "accept"}, "reason"),
        ({"name": "accept", "reason": "   "}, "reason"),
        ({"name": "accept", "reason": "x" * 501}, "reason"),
        ({"name": "attach"}, "slide"),
        ({"name": "attach", "slide": "'; drop"}, "slide"),
        ({"name": "explode"}, "name"),
        ({"name": "accept", "reason": "x", "force": True}, "force"),
    ],
)
def test_what_lacks_is_named(client: TestClient, held: str, asked: dict[str, Any], field: str) -> None:
    answer = act(client, held, **asked)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert client.get(f"/api/cases/{held}").json()["row"]["state"] == "held"


def test_an_unknown_case_is_404(client: TestClient) -> None:
    assert act(client, "C0", name="requeue").status_code == 404
