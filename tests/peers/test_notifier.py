"""The notice of an urgent case at a web server of the site, one that takes it and one that does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from node import cases
from node.cases import read_case
from node.results.notifier import Notifier, Reason, ask_if_urgent
from node.settings import NotifySettings, RetrySettings, Settings, WebSettings
from node.tables import cases as case_table
from node.views import CaseState
from tests.stored_cases import Site
from tests.system.processes import free_port
from tests.web_hook import WebHook


@pytest.fixture
def hook() -> Iterator[WebHook]:
    with WebHook() as hook:
        yield hook


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.at(tmp_path) as site:
        yield site


@pytest.fixture
def case_id(site: Site) -> str:
    with site.database.write() as connection:
        about = {"accession_number": "S26-1", "patient_id": "4711", "patient_name": "Muster^Maria"}
        return cases.create(connection, CaseState.REPORTED, "made", result_status="P", urgent=True, **about)


def settings_of(url: str) -> Settings:
    return Settings(
        notify=NotifySettings(url=url),
        web=WebSettings(public_url="https://marrow.example.org"),
        retry=RetrySettings(delivery_attempts=3, delivery_timeout_s=5),
    )


def asked(site: Site) -> list[str]:
    with site.database.read() as connection:
        rows = connection.execute(sa.text("SELECT workflow_uuid FROM workflow_status ORDER BY rowid")).scalars()
        return [row for row in rows if row.startswith("notify:")]


def attempt(site: Site, url: str, case_id: str, number: int = 1) -> list[str]:
    """The events of the case after an attempt, without the first."""
    Notifier(settings_of(url), site.database, site.work).attempt(case_id, Reason.BLASTS, number)
    view = read_case(site.database, case_id)
    assert view is not None
    return [event.cause for event in view.events[1:]]


def test_a_notice_says_which_case_and_why_and_nothing_of_the_patient(site: Site, hook: WebHook, case_id: str) -> None:
    assert attempt(site, hook.url, case_id) == ["the site was notified: blasts"]
    (notice,) = hook.received
    page = f"https://marrow.example.org/cases/{case_id}"
    assert notice == {"case_id": case_id, "accession_number": "S26-1", "reason": "blasts", "page": page}
    assert asked(site) == []


@pytest.mark.parametrize("status", [500, 503, 408, 429])
def test_a_server_in_trouble_is_asked_again(site: Site, hook: WebHook, case_id: str, status: int) -> None:
    hook.answers = [status, status]
    url = hook.url
    first = attempt(site, url, case_id)
    assert first == [f"the site is not notified of blasts yet: notify.url answered HTTP {status}. It is tried again"]
    assert attempt(site, url, case_id, 2) == first, "only the first failure and the last are told"
    assert asked(site) == [f"notify:{case_id}:blasts:2", f"notify:{case_id}:blasts:3"]


@pytest.mark.parametrize("status", [301, 400, 404])
def test_a_refusal_is_told_and_not_repeated(site: Site, hook: WebHook, case_id: str, status: int) -> None:
    hook.answers = [status]
    (told,) = attempt(site, hook.url, case_id)
    assert told == f"the site was not notified of blasts: notify.url answered HTTP {status}. Tell it by hand"
    assert asked(site) == []


def test_who_never_answers_is_given_up_after_the_last_attempt(site: Site, case_id: str) -> None:
    url = f"http://127.0.0.1:{free_port()}/hook?key=secret"
    (told,) = attempt(site, url, case_id, 3)
    assert told == "the site was not notified of blasts: notify.url cannot be reached (ConnectError). Tell it by hand"
    assert asked(site) == []


def test_nobody_is_told_of_a_signed_case(site: Site, hook: WebHook, case_id: str) -> None:
    with site.database.write() as connection:
        connection.execute(case_table.update().values(result_status="F"))
    assert attempt(site, hook.url, case_id) == []
    assert hook.received == []


def test_once_for_a_case_and_reason(site: Site, case_id: str) -> None:
    notify = NotifySettings(url="https://example.org/hook")
    for _ in range(2):
        with site.database.write() as connection:
            ask_if_urgent(connection, site.work, notify, case_id)
    assert asked(site) == [f"notify:{case_id}:blasts:1"]


def test_no_notice_without_address_or_urgency(site: Site, case_id: str) -> None:
    with site.database.write() as connection:
        ask_if_urgent(connection, site.work, NotifySettings(), case_id)
        connection.execute(case_table.update().values(urgent=False))
        ask_if_urgent(connection, site.work, NotifySettings(url="https://example.org/hook"), case_id)
    assert asked(site) == []
