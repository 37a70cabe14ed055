"""A slide and an order go in; SEG, ANN, SR and an ORU come out."""

from collections.abc import Callable

from hl7.messages import read_header
from node.cases import list_cases
from node.views import CaseState, WorklistQuery
from pipeline.domain import Priority
from tests.system.lis import order_for, place
from tests.system.processes import wait_until
from tests.system.scans import Scan
from tests.system.site import OBJECTS, Site


def test_order_before_slide_and_slide_before_order(site: Site, scan: Callable[[str], Scan]) -> None:
    first, second = scan("W-1"), scan("W-2")
    assert read_header(site.order(first)).message_type == "ORL"
    ordered = site.node.case("W-1")
    assert ordered is not None
    assert ordered.row.state is CaseState.ORDERED
    site.send(second)
    site.node.wait_for_state("W-2", CaseState.WAITING)
    site.send(first)
    site.order(second)
    for accession in ("W-1", "W-2"):
        view = site.ended(accession)
        assert view.row.state is CaseState.REPORTED, view.events
        assert {delivery.state for delivery in view.deliveries} == {"sent"}
        assert view.row.progress == 1.0
        assert sorted(tags["Modality"] for tags in site.archived(accession)) == OBJECTS
        assert len(site.reported(accession)) == 1


def test_nothing_is_counted_twice(site: Site, scan: Callable[[str], Scan]) -> None:
    """The slide, the order and the message sent again change nothing."""
    slide = scan("W-3")
    port = site.node.ports["hl7"]
    first = place(port, order_for(slide))
    site.send(slide)
    before = site.node.wait_for_state("W-3", CaseState.REPORTED)
    assert place(port, order_for(slide)) == first
    assert b"MSA|AA" in place(port, order_for(slide), control_id="ANOTHER")
    settled = site.node.steps_done().count("settle")
    site.send(slide)
    wait_until(lambda: site.node.steps_done().count("settle") > settled, "the slide was looked at again")
    after = site.node.case("W-3")
    assert after is not None
    assert after.events == before.events
    assert list_cases(site.node.database, WorklistQuery(search="W-3")).total == 1
    assert sorted(tags["Modality"] for tags in site.archived("W-3")) == OBJECTS
    assert len(site.reported("W-3")) == 1


def test_stat_overtakes(site: Site, scan: Callable[[str], Scan]) -> None:
    """While one slide is counted, a STAT case goes before the routine ones that came earlier."""
    routine = ["W-4", "W-5", "W-6"]
    for accession in [*routine, "W-7"]:
        site.order(scan(accession), priority=Priority.STAT if accession == "W-7" else Priority.ROUTINE)
    for accession in [*routine, "W-7"]:
        site.send(scan(accession))
    counted = sorted((*routine, "W-7"), key=lambda each: _began(site, each))
    assert counted.index("W-7") < 3, counted


def _began(site: Site, accession: str) -> float:
    view = site.ended(accession)
    assert view.row.state is CaseState.REPORTED
    return next(event.at.timestamp() for event in view.events if event.state is CaseState.RUNNING)
