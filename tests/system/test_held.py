"""What cannot be counted, matched or completed is held with its cause, and the LIS is told when there is no result."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hl7.messages import read_message
from node.cases import list_cases
from node.views import CaseState, WorklistQuery
from tests.system.lis import Lis, order_for, place
from tests.system.orthanc import Orthanc
from tests.system.processes import wait_until
from tests.system.running_node import RunningNode
from tests.system.scans import Scan, dcmsend
from tests.system.site import ENDED, Site

NO_ORDER_NEEDED = {"intake": {"require_order": False, "order_timeout_s": 0.5}}


@pytest.mark.shared
def test_skin_slide_is_held_and_reported_as_no_result(
    node: RunningNode, orthanc: Orthanc, lis: Lis, shared: Path
) -> None:
    """CMU-1 is skin: no countable region. Silence is not a result: SR and ORU (X) go out, then a person must look."""
    sections = {**NO_ORDER_NEEDED, "analysis": {"roi": "auto", "tiles": "auto", "check_quality": True}}
    node.configure(orthanc=orthanc, lis=lis, sections=sections)
    node.start()
    dcmsend(node.ports["dicom"], tuple(sorted((shared / "slides" / "cmu-1-small-region").iterdir())))
    view = node.wait_for_state("", *ENDED)
    assert view.row.state is CaseState.HELD, view.events
    assert view.row.cause.startswith("not countable: ")
    assert [tags["Modality"] for tags in orthanc.results()] == ["SR"]
    (message,) = lis.received
    segments = read_message(message).segments
    results = [segment for segment in segments if segment.name == "OBX" and segment.value(2) != "RP"]
    assert {segment.value(11) for segment in results} == {"X"}
    assert {segment.value(25) for segment in segments if segment.name == "OBR"} == {"X"}
    accepted = node.command("cases", "accept", view.row.case_id, "--reason", "skin, sent by mistake")
    assert accepted.returncode == 0, accepted.stderr
    node.wait_for_state("", CaseState.REPORTED)


def test_too_few_cells_are_delivered_and_held(node: RunningNode, lis: Lis, scan: Callable[[str], Scan]) -> None:
    node.configure(lis=lis, sections={"analysis": {"minimum_cells": 100_000}})
    node.start()
    place(node.ports["hl7"], order_for(scan("H-1")))
    dcmsend(node.ports["dicom"], scan("H-1").paths)
    view = node.wait_for_state("H-1", *ENDED)
    assert view.row.state is CaseState.HELD
    assert "100000 are wanted" in view.row.cause
    assert any("100000 are wanted" in alert for alert in view.row.alerts)
    (message,) = lis.received
    assert b"100000 are wanted" in message
    with closing(node.client()) as client:
        done = client.post(f"/api/cases/{view.row.case_id}/actions", json={"name": "accept", "reason": "thin smear"})
    assert done.json()["row"]["state"] == "reported"
    assert (done.json()["events"][-1]["actor"], done.json()["events"][-1]["cause"]) == ("reviewer", "thin smear")


def test_what_never_comes_is_held(node: RunningNode, scan: Callable[[str], Scan]) -> None:
    node.configure(sections={"intake": {"order_timeout_s": 1.0, "slide_timeout_s": 1.0}})
    node.start()
    place(node.ports["hl7"], order_for(scan("H-5")))
    dcmsend(node.ports["dicom"], scan("H-6").paths)
    assert "no slide came" in node.wait_for_state("H-5", CaseState.HELD).row.cause
    assert "no order came" in node.wait_for_state("H-6", CaseState.HELD).row.cause
    dcmsend(node.ports["dicom"], scan("H-5").paths)
    place(node.ports["hl7"], order_for(scan("H-6")))
    for accession in ("H-5", "H-6"):
        node.wait_for_state(accession, CaseState.REPORTED)


def test_slide_is_attached_to_the_order_it_does_not_name(site: Site, scan: Callable[[str], Scan]) -> None:
    """The label was misread: the slide waits alone until a person gives it to its order, and is reported there."""
    slide, meant = scan("H-10"), scan("H-11")
    site.order(meant, patient=slide.patient)
    site.send(slide)
    waiting = site.node.wait_for_state("H-10", CaseState.WAITING)
    ordered = site.node.wait_for_state("H-11", CaseState.ORDERED)
    with closing(site.node.client()) as client:
        found = client.get("/api/slides", params={"free": True, "search": "H-10"}).json()
        assert [each["case_id"] for each in found] == [waiting.row.case_id]
        asked = {"name": "attach", "slide": found[0]["series_instance_uid"]}
        client.post(f"/api/cases/{ordered.row.case_id}/actions", json=asked).raise_for_status()
    reported = site.node.wait_for_state("H-11", CaseState.REPORTED)
    assert reported.row.case_id == ordered.row.case_id
    assert "reviewer" in {event.actor for event in reported.events}
    assert len(site.reported("H-11")) == 1
    assert site.reported("H-10") == []


def test_slide_counted_for_the_wrong_order_is_reported_for_the_right_one(
    site: Site, scan: Callable[[str], Scan]
) -> None:
    """The label named another order of the patient: its result is withdrawn, and the slide counted where it belongs."""
    slide, meant = scan("H-12"), scan("H-13")
    site.order(slide)
    site.send(slide)
    wrong = site.ended("H-12")
    assert wrong.row.state is CaseState.REPORTED, wrong.events
    site.order(meant, patient=slide.patient)
    ordered = site.node.wait_for_state("H-13", CaseState.ORDERED)
    with closing(site.node.client()) as client:
        asked = {"name": "withdraw", "reason": "the label of another glass"}
        client.post(f"/api/cases/{wrong.row.case_id}/actions", json=asked).raise_for_status()
        withdrawn = site.node.wait_for_state("H-12", CaseState.HELD)
        assert (withdrawn.row.case_id, withdrawn.status, withdrawn.has_slide) == (wrong.row.case_id, "X", False)
        (free,) = client.get("/api/slides", params={"search": "H-12"}).json()
        asked = {"name": "attach", "slide": free["series_instance_uid"]}
        client.post(f"/api/cases/{ordered.row.case_id}/actions", json=asked).raise_for_status()
    reported = site.node.wait_for_state("H-13", CaseState.REPORTED)
    assert reported.row.case_id == ordered.row.case_id
    assert [_status(message) for message in site.reported("H-12")] == ["P", "X"]
    assert b"the label of another glass" in site.reported("H-12")[-1]
    assert [_status(message) for message in site.reported("H-13")] == ["P"]
    documents = [tags for tags in site.archived("H-12") if tags["SeriesDescription"].startswith("Bone marrow")]
    assert len(documents) == 3, "the slide's: withdrawn, why, and the result of its order"
    assert len([tags for tags in documents if "PredecessorDocumentsSequence" in tags]) == 1
    assert [tags["Modality"] for tags in site.archived("H-12")].count("KO") == 1, "archives are told what to hide"


def _status(message: bytes) -> str:
    (obr,) = [segment for segment in read_message(message).segments if segment.name == "OBR"]
    return obr.value(25)


def test_other_patient_is_held_and_nothing_is_sent(site: Site, scan: Callable[[str], Scan]) -> None:
    slide = scan("H-2")
    site.order(slide, patient=scan("H-3").patient)
    site.send(slide)
    view = site.node.wait_for_state("H-2", CaseState.HELD)
    assert "PatientID (0010,0020)" in view.row.cause
    assert slide.patient.patient_id not in view.row.cause
    assert slide.patient.patient_id not in site.node.log()
    assert site.reported("H-2") == []


def test_incomplete_slide_is_held_until_the_rest_comes(site: Site, scan: Callable[[str], Scan]) -> None:
    slide = scan("H-4")
    site.order(slide)
    site.send(slide, slice(1, None))
    view = site.node.wait_for_state("H-4", CaseState.HELD)
    assert "not complete" in view.row.cause
    site.send(slide, slice(0, 1))
    site.node.wait_for_state("H-4", CaseState.REPORTED)
    assert len(site.reported("H-4")) == 1


def test_late_instance_is_not_mixed_in(site: Site, scan: Callable[[str], Scan]) -> None:
    """Another level after the count: the result stands for what was counted, and a person decides."""
    slide = scan("H-7")
    site.order(slide)
    site.send(slide, slice(0, -1))
    first = site.node.wait_for_state("H-7", CaseState.REPORTED)
    site.send(slide, slice(-1, None))
    held = site.node.wait_for_state("H-7", CaseState.HELD)
    assert "came after the count began" in held.row.cause
    assert len(site.reported("H-7")) == 1
    done = site.node.command("requeue", held.row.case_id)
    assert done.returncode == 0, done.stderr
    again = site.node.wait_for_state("H-7", CaseState.REPORTED)
    assert (first.revision, again.revision) == (0, 1)
    assert len(set(site.reported("H-7"))) == 2


def test_cancelled_order(site: Site, scan: Callable[[str], Scan]) -> None:
    slide = scan("H-8")
    site.order(slide)
    assert b"ORC|CR|" in place(site.node.ports["hl7"], order_for(slide), control="CA")
    (cancelled,) = list_cases(site.node.database, WorklistQuery(search="H-8")).rows
    assert cancelled.state is CaseState.CANCELLED
    site.send(slide)
    site.node.wait_for_state("H-8", CaseState.WAITING)
    assert site.reported("H-8") == []


def test_order_cancelled_while_its_slide_is_counted(site: Site, scan: Callable[[str], Scan]) -> None:
    slide = scan("H-9")
    site.order(slide)
    site.send(slide)
    running = site.node.wait_for_state("H-9", CaseState.RUNNING)
    assert b"ORC|CR|" in place(site.node.ports["hl7"], order_for(slide), control="CA")
    wait_until(lambda: site.node.workflow_ended(running.row.case_id), "the run ends")
    (cancelled,) = list_cases(site.node.database, WorklistQuery(search="H-9")).rows
    assert cancelled.state is CaseState.CANCELLED
    assert site.archived("H-9") == []
    assert site.reported("H-9") == []
