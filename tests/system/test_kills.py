"""The worker, and the whole node, are killed (SIGKILL) at each step in turn: afterwards everything is there once."""

from collections.abc import Callable
from contextlib import closing
from functools import partial

import pytest
import sqlalchemy as sa

from node.tables import cases, deliveries, objects, slides
from node.views import CaseState
from tests.system.processes import wait_until
from tests.system.reviewer import Reviewer
from tests.system.scans import Scan
from tests.system.site import OBJECTS, Site

Moment = Callable[[sa.Connection, str], bool]


def _recorded(connection: sa.Connection, accession: str) -> list[str]:
    """Steps of the case's counting workflow that are done."""
    case_id = connection.execute(sa.select(cases.c.id).where(cases.c.accession_number == accession)).scalar()
    names = connection.execute(
        sa.text("SELECT function_name FROM operation_outputs WHERE workflow_uuid LIKE :key ORDER BY function_id"),
        {"key": f"count:{case_id}:%"},
    ).scalars()
    return list(names)


def _case(connection: sa.Connection, accession: str) -> sa.Row | None:
    return connection.execute(sa.select(cases).where(cases.c.accession_number == accession)).one_or_none()


def _received(connection: sa.Connection, accession: str) -> bool:
    return (
        connection.execute(sa.select(sa.func.count()).select_from(slides).where(slides.c.state == "receiving")).scalar()
        > 0
    )


def _queued(connection: sa.Connection, accession: str) -> bool:
    case = _case(connection, accession)
    return case is not None and case.run > 0


def _reading(connection: sa.Connection, accession: str) -> bool:
    case = _case(connection, accession)
    return case is not None and case.state == CaseState.RUNNING


def _counting(connection: sa.Connection, accession: str) -> bool:
    case = _case(connection, accession)
    return case is not None and case.stage in {"tiles", "cells", "classes"}


def _encoding(connection: sa.Connection, accession: str) -> bool:
    return "analyse" in _recorded(connection, accession)


def _encoded(connection: sa.Connection, accession: str) -> bool:
    return "encode" in _recorded(connection, accession)


def _delivering(connection: sa.Connection, accession: str) -> bool:
    case = _case(connection, accession)
    return case is not None and case.state == CaseState.DELIVERING


def _half_delivered(connection: sa.Connection, accession: str) -> bool:
    case = _case(connection, accession)
    sent = sa.select(deliveries.c.id).where(
        deliveries.c.case_id == (case.id if case else ""), deliveries.c.state == "sent"
    )
    return case is not None and connection.execute(sent).first() is not None


MOMENTS: dict[str, Moment] = {
    "received": _received,
    "queued": _queued,
    "reading": _reading,
    "counting": _counting,
    "encoding": _encoding,
    "encoded": _encoded,
    "delivering": _delivering,
    "half delivered": _half_delivered,
}


RevisionMoment = Callable[[sa.Connection, str, int], bool]


def _revised(connection: sa.Connection, case_id: str, revision: int) -> bool:
    return connection.execute(sa.select(cases.c.revision).where(cases.c.id == case_id)).scalar() == revision


def _made(connection: sa.Connection, case_id: str, revision: int) -> bool:
    made = sa.select(objects.c.kind).where(objects.c.case_id == case_id, objects.c.revision == revision)
    return connection.execute(made).first() is not None


def _step_done(connection: sa.Connection, case_id: str, revision: int, step: str) -> bool:
    """Of a signature or a withdrawal; a count may have the same number."""
    done = sa.text(
        "SELECT 1 FROM operation_outputs WHERE function_name = :step AND workflow_uuid LIKE :key "
        "AND workflow_uuid NOT LIKE 'count:%'"
    )
    return connection.execute(done, {"key": f"%:{case_id}:{revision}:%", "step": step}).first() is not None


def _sent(connection: sa.Connection, case_id: str, revision: int) -> bool:
    sent = sa.select(deliveries.c.id).where(
        deliveries.c.case_id == case_id, deliveries.c.revision == revision, deliveries.c.state == "sent"
    )
    return connection.execute(sent).first() is not None


REVISION_MOMENTS: dict[str, RevisionMoment] = {
    "asked for": _revised,
    "made": _made,
    "encoded": partial(_step_done, step="encode"),
    "delivering": partial(_step_done, step="deliver"),
    "half delivered": _sent,
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("victim", ["worker", "node"])
def test_killed(site: Site, scan: Callable[[str], Scan], victim: str, moment: str) -> None:
    accession = f"K-{victim}-{list(MOMENTS).index(moment)}"
    slide = scan(accession)
    site.order(slide)
    site.send(slide)

    def reached() -> bool:
        with site.node.database.read() as connection:
            return MOMENTS[moment](connection, accession)

    wait_until(reached, f"{accession} is {moment}", 120, every_s=0.002)
    _kill(site, victim)

    view = site.ended(accession)
    assert view.row.state is CaseState.REPORTED, view.events
    assert [file.revision for file in view.files] == [0] * len(view.files)
    archived = site.archived(accession)
    assert sorted(tags["Modality"] for tags in archived) == OBJECTS
    made = {file.sop_instance_uid for file in view.files if file.sop_instance_uid}
    assert {tags["SOPInstanceUID"] for tags in archived} == made
    assert len(set(site.reported(accession))) == 1, "every repetition is the same message with the same control id"


@pytest.fixture(scope="module")
def counted(site: Site, scan: Callable[[str], Scan]) -> str:
    """A reported case, which is signed anew for each moment."""
    site.order(scan("K-signed"))
    site.send(scan("K-signed"))
    view = site.ended("K-signed")
    assert view.row.state is CaseState.REPORTED, view.events
    return view.row.case_id


@pytest.mark.parametrize("moment", REVISION_MOMENTS)
@pytest.mark.parametrize("victim", ["worker", "node"])
def test_killed_while_a_signature_is_carried_out(site: Site, counted: str, victim: str, moment: str) -> None:
    reviewer = Reviewer(site.node, counted)
    before = reviewer.read()
    revision = before["revision"] + 1
    reviewer.give(reviewer.read("cells")["id"][0], ["basophil", "eosinophil"][revision % 2])
    assert reviewer.sign("all cells are clear").status_code == 202

    def reached() -> bool:
        with site.node.database.read() as connection:
            return REVISION_MOMENTS[moment](connection, counted, revision)

    wait_until(reached, f"revision {revision} is {moment}", 120, every_s=0.002)
    _kill(site, victim)

    view = site.node.wait_for_state("K-signed", CaseState.REPORTED, timeout_s=180)
    assert (view.revision, view.status) == (revision, "F" if revision == 1 else "C")
    archived = site.archived("K-signed")
    assert sorted(tags["Modality"] for tags in archived) == sorted(OBJECTS * (revision + 1))
    made = {file.sop_instance_uid for file in view.files if file.sop_instance_uid}
    assert {file.revision for file in view.files} == {revision}
    assert made < {tags["SOPInstanceUID"] for tags in archived}
    assert len(set(site.reported("K-signed"))) == revision + 1, "one message each, however often it was sent"


@pytest.mark.parametrize(("victim", "moment"), [("worker", "encoded"), ("node", "half delivered")])
def test_killed_while_a_result_is_withdrawn(site: Site, scan: Callable[[str], Scan], victim: str, moment: str) -> None:
    accession = f"K-withdrawn-{list(REVISION_MOMENTS).index(moment)}"
    site.order(scan(accession))
    site.send(scan(accession))
    view = site.ended(accession)
    assert view.row.state is CaseState.REPORTED, view.events
    case_id = view.row.case_id
    with closing(site.node.client()) as client:
        asked = {"name": "withdraw", "reason": "the glass of another patient"}
        client.post(f"/api/cases/{case_id}/actions", json=asked).raise_for_status()

    def reached() -> bool:
        with site.node.database.read() as connection:
            return REVISION_MOMENTS[moment](connection, case_id, 1)

    wait_until(reached, f"the withdrawal of {accession} is {moment}", 120, every_s=0.002)
    _kill(site, victim)

    withdrawn = site.node.wait_for_state(accession, CaseState.HELD, timeout_s=180)
    assert (withdrawn.row.case_id, withdrawn.status, withdrawn.has_slide) == (case_id, "X", False)
    told = [message for message in set(site.reported(accession)) if b"the glass of another patient" in message]
    assert len(told) == 1, "one message, however often it was sent"
    archived = site.archived(accession)
    documents = [tags for tags in archived if "PredecessorDocumentsSequence" in tags]
    assert len(documents) == 1, "one document says that there is no result any more"
    assert [tags["Modality"] for tags in archived].count("KO") == 1, "and one note what to hide"


def _kill(site: Site, victim: str) -> None:
    if victim == "worker":
        site.node.kill_worker()
    else:
        site.node.kill()
        site.node.start()


def test_slide_that_kills_the_worker_again_and_again_is_failed(site: Site, scan: Callable[[str], Scan]) -> None:
    """The fourth time the case is a dead letter, and the next slide is counted."""
    site.order(scan("K-poison"))
    site.send(scan("K-poison"))
    for attempt in range(1, 5):

        def counting(number: int = attempt) -> bool:
            with site.node.database.read() as connection:
                case = _case(connection, "K-poison")
                return case is not None and case.attempts == number and case.state == CaseState.RUNNING

        wait_until(counting, f"attempt {attempt}", 120, every_s=0.002)
        site.node.kill_worker()
    view = site.ended("K-poison")
    assert view.row.state is CaseState.FAILED
    assert "the worker ended 4 times" in view.row.cause
    assert site.archived("K-poison") == []
    site.order(scan("K-next"))
    site.send(scan("K-next"))
    assert site.ended("K-next").row.state is CaseState.REPORTED
