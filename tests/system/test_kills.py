"""The worker, and the whole node, are killed (SIGKILL) at each step in turn: afterwards everything is there once."""

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from node.database import cases, deliveries, slides
from node.views import CaseState
from tests.system.lis import Lis, order_for, place
from tests.system.orthanc import Orthanc
from tests.system.processes import wait_until
from tests.system.running_node import RunningNode
from tests.system.scans import Scan, dcmsend

ENDED = (CaseState.REPORTED, CaseState.HELD, CaseState.FAILED, CaseState.CANCELLED)
OBJECTS = ["ANN", "SEG", "SEG", "SR", "SR"]
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


class Site:
    """One node with its peers for all the kills: what one case went through does not touch the next."""

    def __init__(self, node: RunningNode, orthanc: Orthanc, lis: Lis) -> None:
        self.node, self.orthanc, self.lis = node, orthanc, lis


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("kills")
    node = RunningNode(folder / "node")
    with Orthanc(folder / "orthanc") as orthanc, Lis() as lis:
        node.configure(orthanc=orthanc, lis=lis, sections={"retry": {"analysis_attempts": 5}})
        node.start()
        yield Site(node, orthanc, lis)
        node.stop()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("victim", ["worker", "node"])
def test_killed(site: Site, scan: Callable[[str], Scan], victim: str, moment: str) -> None:
    accession = f"K-{victim}-{list(MOMENTS).index(moment)}"
    slide = scan(accession)
    received_before = len(site.lis.received)
    place(site.node.ports["hl7"], order_for(slide))
    dcmsend(site.node.ports["dicom"], slide.paths)

    def reached() -> bool:
        with site.node.database.read() as connection:
            return MOMENTS[moment](connection, accession)

    wait_until(reached, f"{accession} is {moment}", 120, every_s=0.002)
    if victim == "worker":
        site.node.kill_worker()
    else:
        site.node.kill()
        site.node.start()

    view = site.node.wait_for_state(accession, *ENDED, timeout_s=180)
    assert view.row.state is CaseState.REPORTED, view.events
    assert [file.revision for file in view.files] == [0] * len(view.files)
    arrived = [tags for tags in site.orthanc.results() if tags["AccessionNumber"] == accession]
    assert sorted(tags["Modality"] for tags in arrived) == OBJECTS
    made = {file.sop_instance_uid for file in view.files if file.sop_instance_uid}
    assert {tags["SOPInstanceUID"] for tags in arrived} == made
    results = site.lis.received[received_before:]
    assert len(set(results)) == 1, "every repetition is the same message, so the same control id"
