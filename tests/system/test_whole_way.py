"""A slide and an order go in; SEG, ANN, SR and an ORU come out."""

from collections.abc import Callable

from hl7.messages import read_header
from node.views import CaseState
from tests.system.lis import Lis, order_for, place
from tests.system.orthanc import Orthanc
from tests.system.processes import wait_until
from tests.system.running_node import RunningNode
from tests.system.scans import Scan, dcmsend

ENDED = (CaseState.REPORTED, CaseState.HELD, CaseState.FAILED)
OBJECTS = ["ANN", "SEG", "SEG", "SR", "SR"]


def test_order_before_slide_and_slide_before_order(
    node: RunningNode, orthanc: Orthanc, lis: Lis, scan: Callable[[str], Scan]
) -> None:
    node.configure(orthanc=orthanc, lis=lis)
    node.start()
    first, second = scan("S26-1"), scan("S26-2")

    answer = place(node.ports["hl7"], order_for(first))
    assert read_header(answer).message_type == "ORL"
    waiting = node.case("S26-1")
    assert waiting is not None
    assert waiting.row.state is CaseState.ORDERED
    dcmsend(node.ports["dicom"], second.paths)
    node.wait_for_state("S26-2", CaseState.WAITING)
    dcmsend(node.ports["dicom"], first.paths)
    place(node.ports["hl7"], order_for(second))

    for accession in ("S26-1", "S26-2"):
        view = node.wait_for_state(accession, *ENDED)
        assert view.row.state is CaseState.REPORTED, view.events
        assert {delivery.state for delivery in view.deliveries} == {"sent"}
        assert view.row.progress == 1.0
    results = orthanc.results()
    for accession in ("S26-1", "S26-2"):
        own = [tags for tags in results if tags["AccessionNumber"] == accession]
        assert sorted(tags["Modality"] for tags in own) == OBJECTS
    assert len(lis.control_ids) == len(lis.received) == 2


def test_nothing_is_counted_twice(node: RunningNode, orthanc: Orthanc, lis: Lis, scan: Callable[[str], Scan]) -> None:
    """The slide, the order and the message sent again change nothing."""
    node.configure(orthanc=orthanc, lis=lis)
    node.start()
    slide = scan("S26-3")
    order = order_for(slide)
    first = place(node.ports["hl7"], order)
    dcmsend(node.ports["dicom"], slide.paths)
    before = node.wait_for_state("S26-3", CaseState.REPORTED)
    assert place(node.ports["hl7"], order) == first
    again = place(node.ports["hl7"], order, control_id="ANOTHER")
    assert b"MSA|AA" in again
    dcmsend(node.ports["dicom"], slide.paths)
    wait_until(lambda: node.steps_done().count("settle") >= 2, "the slide was looked at again")
    after = node.case("S26-3")
    assert after is not None
    assert [event.cause for event in after.events] == [event.cause for event in before.events]
    assert len(node.rows()) == 1
    assert sorted(tags["Modality"] for tags in orthanc.results()) == OBJECTS
    assert len(lis.received) == 1
