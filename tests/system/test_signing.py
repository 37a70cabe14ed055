"""An expert reviews and signs: PACS and LIS get the verified result, and a correction when it is signed again."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

from hl7.messages import Segment, read_message
from node.views import CaseState, CaseView
from tests.system.lis import Lis, order_for, place
from tests.system.processes import wait_until
from tests.system.reviewer import Reviewer
from tests.system.running_node import RunningNode
from tests.system.scans import Scan, dcmsend
from tests.system.site import OBJECTS, Site


def segments(message: bytes, name: str) -> list[Segment]:
    return [segment for segment in read_message(message).segments if segment.name == name]


def reported(site: Site, scan: Scan, levels: slice = slice(None)) -> CaseView:
    """The case of a scan, or of some of its levels, counted and delivered."""
    site.order(scan)
    site.send(scan, levels)
    view = site.ended(scan.accession)
    assert view.row.state is CaseState.REPORTED, view.events
    return view


def signed(site: Site, accession: str, revision: int) -> CaseView:
    """The case, once this signed revision is delivered."""

    def delivered() -> CaseView | None:
        view = site.node.case(accession)
        done = view is not None and view.revision == revision and view.row.state is CaseState.REPORTED
        return view if done else None

    return wait_until(delivered, f"{accession} is signed as revision {revision}", 120)


def documents(site: Site, accession: str) -> list[dict[str, Any]]:
    """The count documents of the PACS, oldest first."""
    found = [tags for tags in site.archived(accession) if tags["SeriesDescription"].startswith("Bone marrow")]
    return sorted(found, key=lambda tags: int(tags["InstanceNumber"]))


def test_signed_then_corrected(site: Site, scan: Callable[[str], Scan]) -> None:
    view = reported(site, scan("S-1"))
    reviewer = Reviewer(site.node, view.row.case_id)
    first_cell = reviewer.read("cells")["id"][0]
    was = reviewer.read(f"cells/{first_cell}")["class_name"]
    assert reviewer.give(first_cell, "basophil")["status"] == "P"
    left = reviewer.confirm()
    assert left["open"] == 0
    assert reviewer.sign().status_code == 202
    final = signed(site, "S-1", 1)
    assert (final.status, {delivery.state for delivery in final.deliveries}) == ("F", {"sent"})
    assert {file.revision for file in final.files} == {1}
    result = reviewer.read("files/result.json")
    assert (result["status"], result["reviewer"]) == ("F", "Test Reviewer")
    assert result["differential"]["components"] == left["expert"]["components"]
    assert next(cell["class"] for cell in result["cells"] if cell["id"] == first_cell) == "basophil"

    reviewer.give(first_cell, was)
    assert reviewer.read()["changed_since_signed"] is True
    assert reviewer.sign().status_code == 202
    signed(site, "S-1", 2)

    assert sorted(tags["Modality"] for tags in site.archived("S-1")) == sorted(OBJECTS * 3)
    first, second, third = documents(site, "S-1")
    assert [tags["VerificationFlag"] for tags in (first, second, third)] == ["UNVERIFIED", "VERIFIED", "VERIFIED"]
    for before, after in ((first, second), (second, third)):
        assert before["SOPInstanceUID"] in str(after["PredecessorDocumentsSequence"])
        (observer,) = after["VerifyingObserverSequence"]
        assert observer["VerifyingObserverName"].rstrip("^") == "Test Reviewer"

    preliminary, final_message, corrected = site.reported("S-1")
    obrs = [segments(message, "OBR")[0] for message in (preliminary, final_message, corrected)]
    assert [obr.value(25) for obr in obrs] == ["P", "F", "C"]
    assert len({(obr.raw(2), obr.raw(3)) for obr in obrs}) == 1
    times = [obr.value(22) for obr in obrs]
    assert times == sorted(set(times))
    assert {obx.value(11) for obx in segments(final_message, "OBX")} <= {"F", "X"}
    assert {obx.text(16, 2) for obx in segments(final_message, "OBX")} == {"Test Reviewer"}
    assert len(segments(corrected, "OBX")) == len(segments(final_message, "OBX")), "the whole panel again"
    changed = {obx.value(3): obx for obx in segments(corrected, "OBX") if obx.value(11) == "C"}
    assert "BASOPHIL" in changed
    assert changed["BASOPHIL"].value(5) != next(
        obx.value(5) for obx in segments(final_message, "OBX") if obx.value(3) == "BASOPHIL"
    )
    assert any(note.text(3).startswith("Formerly ") for note in segments(corrected, "NTE"))
    assert "F" in {obx.value(11) for obx in segments(corrected, "OBX")}


def test_only_the_newest_result_goes_to_a_lis_that_was_away(
    node: RunningNode, lis: Lis, scan: Callable[[str], Scan]
) -> None:
    """Held for too few cells; the expert signs nevertheless, which ends the hold."""
    node.configure(lis=lis, sections={"analysis": {"minimum_cells": 100_000, "review_below": 1.0}})
    node.start()
    place(node.ports["hl7"], order_for(scan("S-2")))
    lis.stop()
    dcmsend(node.ports["dicom"], scan("S-2").paths)
    view = node.wait_for_state("S-2", CaseState.DELIVERING)
    reviewer = Reviewer(node, view.row.case_id)
    assert reviewer.sign().status_code == 422
    assert reviewer.sign("urgent, and clear enough").status_code == 202
    wait_until(lambda: node.case("S-2").status == "F", "the signed result is made")
    lis.start()
    done = node.wait_for_state("S-2", CaseState.REPORTED)
    assert [(delivery.revision, delivery.state) for delivery in done.deliveries] == [(0, "superseded"), (1, "sent")]
    (message,) = lis.received
    assert segments(message, "OBR")[0].value(25) == "F"
    notes = [note.text(3) for note in segments(message, "NTE")]
    assert "Signed with cells unreviewed that ask for it: urgent, and clear enough" in notes


def test_a_case_counted_again_waits_for_its_second_signature(site: Site, scan: Callable[[str], Scan]) -> None:
    """What was signed stays what the LIS has; the new count is reviewed by itself, and corrects it."""
    slide = scan("S-3")
    view = reported(site, slide, slice(0, -1))
    reviewer = Reviewer(site.node, view.row.case_id)
    reviewer.confirm()
    reviewer.give(reviewer.read("cells")["id"][0], "basophil")
    assert reviewer.sign().status_code == 202
    signed(site, "S-3", 1)
    seen = reviewer.read()

    site.send(slide, slice(-1, None))
    assert "came after the count began" in site.node.wait_for_state("S-3", CaseState.HELD).row.cause
    assert site.node.command("requeue", view.row.case_id).returncode == 0
    with closing(site.node.client()) as client:
        body = {"run": seen["run"], "version": seen["version"], "reason": "as seen before"}
        refused = client.post(f"/api/cases/{view.row.case_id}/sign", json=body)
    assert (refused.status_code, "counted again" in refused.json()["error"]) == (409, True)

    def counted_again() -> bool:
        now = site.node.case("S-3")
        return now is not None and now.revision == 2 and now.row.state is CaseState.HELD

    wait_until(counted_again, "S-3 is counted again", 120)
    assert "after Test Reviewer signed it" in site.node.case("S-3").row.cause
    review = reviewer.read()
    assert (review["run"], review["reviewed"], review["changed_since_signed"]) == (2, 0, True)
    assert review["signed"]["run"] == 1
    assert len(site.reported("S-3")) == 2, "P and F; the new count is not sent before it is signed"
    reviewer.confirm()
    assert reviewer.sign().status_code == 202
    signed(site, "S-3", 3)
    assert [segments(message, "OBR")[0].value(25) for message in site.reported("S-3")] == ["P", "F", "C"]
