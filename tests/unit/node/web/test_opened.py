"""Who looked at which case is audited, once an hour for each session."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from fastapi.testclient import TestClient

from node.cases import read_case
from node.people.accounts import Role, add_account
from node.tables import audit
from node.web.app import create_web
from node.web.identity import COOKIE, UNATTENDED
from node.web.sources import WebSources
from tests.slides import SERIES, STUDY
from tests.stored_cases import Site, reported_case, small_case


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


def test_reading_over_dicomweb_is_audited_with_who_or_where_from(
    visit: Callable[..., TestClient], client: TestClient, sources: WebSources, site: Site, tmp_path: Path
) -> None:
    case_id = small_case(site, tmp_path)
    who = {"name": "anna", "password": "a quiet sentence"}
    add_account(site.database, sources.passwords, full_name="Dr. Anna Beispiel", role=Role.VIEWER, actor="root", **who)
    view = read_case(site.database, case_id)
    assert view is not None
    (result,) = [file for file in view.files if file.kind == "SR"]
    slide = f"/dicomweb/studies/{STUDY}/series/{SERIES}"
    frame = f"{slide}/instances/{SERIES}.1/frames/1"
    sr = f"/dicomweb/studies/{STUDY}/series/{result.series_instance_uid}"
    client.get(f"/api/cases/{case_id}")
    for path in (f"{slide}/metadata", frame, sr):  # of the page that was opened
        assert client.get(path).status_code == 200
    visit("10.1.0.7").get(sr, auth=("anna", "a quiet sentence")).raise_for_status()
    archive = visit()
    assert archive.get("/dicomweb/studies").json()[0]["0020000D"]["Value"] == [STUDY]
    assert archive.get(frame, headers={UNATTENDED: "1"}).status_code == 200
    assert opened(site) == [("reviewer", case_id), ("anna", case_id)], "a search opens nothing"
    for path in (frame, f"{slide}/thumbnail", f"{sr}/metadata", frame):
        assert archive.get(path).status_code == 200
    assert opened(site)[2:] == [("127.0.0.1", case_id)]
    with site.database.read() as connection:
        details = connection.execute(sa.select(audit.c.detail).where(audit.c.subject == case_id)).scalars().all()
    assert details[1:] == ["DICOMweb", "DICOMweb"]
