"""The worker, and the whole node, are killed (SIGKILL) at each step in turn: afterwards everything is there once."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from node.database import cases, deliveries, slides
from node.views import CaseState
from tests.system.processes import wait_until
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
    if victim == "worker":
        site.node.kill_worker()
    else:
        site.node.kill()
        site.node.start()

    view = site.ended(accession)
    assert view.row.state is CaseState.REPORTED, view.events
    assert [file.revision for file in view.files] == [0] * len(view.files)
    archived = site.archived(accession)
    assert sorted(tags["Modality"] for tags in archived) == OBJECTS
    made = {file.sop_instance_uid for file in view.files if file.sop_instance_uid}
    assert {tags["SOPInstanceUID"] for tags in archived} == made
    assert len(set(site.reported(accession))) == 1, "every repetition is the same message with the same control id"


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
