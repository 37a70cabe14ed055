"""Who looked at which case is audited, once an hour for each session."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from fastapi.testclient import TestClient

from node.people.accounts import Role
from node.tables import audit
from node.web.app import create_web
from node.web.identity import COOKIE, UNATTENDED
from tests.stored_cases import Site, reported_case


def opened(site: Site) -> list[tuple[str, str]]:
    """(who, case) of each opening, oldest first."""
    with site.database.read() as connection:
        rows = connection.execute(sa.select(audit).where(audit.c.action == "case opened").order_by(audit.c.id)).all()
    return [(row.actor, row.subject) for row in rows]


def test_opening_a_case_is_audited_once(client: TestClient, site: Site) -> None:
    first, second = reported_case(site), reported_case(site)
    for case_id in (first, second, first):
        for part in ("", "/review", "/cells", "/files/result.json"):
            assert client.get(f"/api/cases/{case_id}{part}").status_code == 200
    assert opened(site) == [("reviewer", first), ("reviewer", second)]


def test_each_session_is_audited_by_itself(client_of: Callable[[Role], TestClient], site: Site) -> None:
    case_id = reported_case(site)
    for role in (Role.REVIEWER, Role.REVIEWER, Role.VIEWER):
        client_of(role).get(f"/api/cases/{case_id}")
    assert opened(site) == [("reviewer", case_id), ("reviewer", case_id), ("viewer", case_id)]
    with site.database.read() as connection:
        first, second, _ = connection.execute(sa.select(audit.c.detail).where(audit.c.subject == case_id)).scalars()
    assert first.startswith("session ")
    assert first != second


def test_once_an_hour_also_after_a_restart(client: TestClient, site: Site) -> None:
    case_id = reported_case(site)
    cookies = {COOKIE: client.cookies[COOKIE]}
    client.get(f"/api/cases/{case_id}")
    with TestClient(create_web(site.web_sources()), cookies=cookies) as again:
        again.get(f"/api/cases/{case_id}")
    assert len(opened(site)) == 1
    with site.database.write() as connection:
        connection.execute(audit.update().values(at=datetime.now(UTC) - timedelta(minutes=61)))
    with TestClient(create_web(site.web_sources()), cookies=cookies) as later:
        later.get(f"/api/cases/{case_id}")
    assert len(opened(site)) == 2


def test_what_nobody_looked_at_is_not_audited(client: TestClient, visit: Callable[..., TestClient], site: Site) -> None:
    case_id = reported_case(site)
    client.get(f"/api/cases/{case_id}/review", headers={UNATTENDED: "1"})
    client.get("/api/worklist")
    assert client.get("/api/cases/C0").status_code == 404
    assert visit().get(f"/api/cases/{case_id}").status_code == 401
    assert opened(site) == []
