"""A result that is taken back: what everyone is told, and what becomes of its signature, its pages and its slide."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from pydicom import dcmread

from hl7.messages import Segment, read_message
from node import audit, cases, dispatch
from node.actions import ActionName, Deed
from node.cases import read_case
from node.codes import load_codes
from node.errors import CaseCancelled, NoAnalysis, WrongState
from node.intake.free_slides import free_slides
from node.intake.withdrawing import withdraw
from node.people.accounts import Person, Role
from node.results import delivery_book, withdrawal_book
from node.results.result_writer import ResultWriter
from node.review import review_book
from node.review.marking import Wanted
from node.review.training_data import training_files
from node.settings import Settings
from node.tables import deliveries, objects
from node.views import CaseState, CaseView
from node.web.app import create_web
from node.web.identity import COOKIE
from node.web.sources import WebSources
from node.work.revision_steps import made_until
from node.work.signing_steps import SigningSteps
from node.work.withdrawing_steps import WithdrawingSteps
from pipeline.domain import ResultStatus
from tests.slides import SERIES, STUDY
from tests.stored_cases import Site

PETRA = Person(name="petra", full_name="Dr. Petra Prüfer", role=Role.REVIEWER)
WITHDRAW = Deed(name=ActionName.WITHDRAW, reason="the glass of another patient")


@pytest.fixture
def sources(site: Site, settings: Settings) -> Iterator[WebSources]:
    sources = site.web_sources(site=settings)
    yield sources
    sources.cells.close()


@pytest.fixture
def steps(site: Site, settings: Settings) -> WithdrawingSteps:
    return WithdrawingSteps(settings, site.database, site.work, ResultWriter(settings, load_codes()))


def seen(site: Site, case_id: str) -> CaseView:
    view = read_case(site.database, case_id)
    assert view is not None
    return view


def segments(site: Site, case_id: str, name: str) -> list[Segment]:
    (oru,) = [file.path for file in seen(site, case_id).files if file.kind == "ORU"]
    return [segment for segment in read_message(oru.read_bytes()).segments if segment.name == name]


def end(site: Site, case_id: str) -> None:
    """As if every delivery had been taken."""
    with site.database.write() as connection:
        connection.execute(deliveries.update().where(deliveries.c.state == "pending").values(state="sent"))
        delivery_book.close_case(connection, case_id, cases.current(connection, case_id).revision)


def sign(site: Site, settings: Settings, sources: WebSources, case_id: str) -> None:
    """Sign a result with one changed cell, and have everyone take it."""
    sources.reviewing.change(case_id, 1, [Wanted(cell=1, seen=0, class_name="basophil")], PETRA)
    sources.reviewing.sign(case_id, 1, sources.reviewing.open(case_id).marks.version, PETRA, "urgent")
    signing = SigningSteps(settings, site.database, site.work, ResultWriter(settings, load_codes()))
    signing.encode(case_id, 1)
    signing.deliver(case_id, 1)
    end(site, case_id)


@pytest.mark.parametrize("signed", [False, True])
def test_everyone_is_told_why_there_is_no_result_any_more(
    site: Site, settings: Settings, sources: WebSources, steps: WithdrawingSteps, case_id: str, signed: bool
) -> None:
    if signed:
        sign(site, settings, sources, case_id)
    before = segments(site, case_id, "OBR")[0]
    (former,) = [file.path for file in seen(site, case_id).files if file.kind == "SR"]
    with site.database.read() as connection:
        sent = set(connection.execute(sa.select(objects.c.sop_instance_uid)).scalars()) - {""}
    sources.actions.do(case_id, WITHDRAW, PETRA)
    revision = seen(site, case_id).revision
    steps.encode(case_id, revision)
    steps.deliver(case_id, revision)
    view = seen(site, case_id)
    assert {file.kind for file in view.files} == {"SR", "KO", "ORU", "PDF", "RESULT"}
    (obr,) = segments(site, case_id, "OBR")
    assert (before.value(25), obr.value(25)) == ("F" if signed else "P", "X")
    assert (obr.raw(2), obr.raw(3)) == (before.raw(2), before.raw(3))
    assert obr.value(22) > before.value(22)
    assert {obx.value(11) for obx in segments(site, case_id, "OBX") if obx.value(2) != "RP"} == {"X"}
    assert "the glass of another patient" in segments(site, case_id, "OBX")[0].value(5)
    (sr,) = [dcmread(file.path) for file in view.files if file.kind == "SR"]
    assert "the glass of another patient" in str(sr)
    (study,) = sr.PredecessorDocumentsSequence
    (earlier,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert earlier.ReferencedSOPInstanceUID == dcmread(former).SOPInstanceUID
    (note,) = [dcmread(file.path) for file in view.files if file.kind == "KO"]
    assert note.ConceptNameCodeSequence[0].CodeValue == "113038"
    assert f"The result was withdrawn: {WITHDRAW.reason}" in [item.get("TextValue") for item in note.ContentSequence]
    assert (note.StudyInstanceUID, note.PatientID) == (sr.StudyInstanceUID, sr.PatientID)
    (evidence,) = note.CurrentRequestedProcedureEvidenceSequence
    hidden = [item for series in evidence.ReferencedSeriesSequence for item in series.ReferencedSOPSequence]
    assert {item.ReferencedSOPInstanceUID for item in hidden} == sent, "all that was made, signed or not"
    on_their_way = {(each.revision, each.destination): each.state for each in view.deliveries}
    assert (on_their_way[revision, "lis"], on_their_way[revision, "pacs"]) == ("pending", "pending")
    end(site, case_id)
    view = seen(site, case_id)
    assert (view.row.state, view.status, view.has_slide) == (CaseState.HELD, ResultStatus.NO_RESULT, False)
    assert view.row.cause == "the result was withdrawn: the glass of another patient"
    with site.database.read() as connection:
        assert review_book.last_signature(connection, case_id) is None
        assert review_book.last_signed_result(connection, case_id) is None, "the next result is a first one"


def test_what_was_taken_back_before_is_not_taken_back_again(
    site: Site, sources: WebSources, steps: WithdrawingSteps, case_id: str
) -> None:
    sources.actions.do(case_id, WITHDRAW, PETRA)
    steps.encode(case_id, 1)
    with site.database.read() as connection:
        first, second = (made_until(connection, case_id, revision, STUDY) for revision in (1, 3))
    assert [item.kind for item in first] == ["ANN", "SEG", "SEGROI", "SR", "SR3D"]
    assert second == ()


def test_viewers_are_shown_no_withdrawn_object(
    site: Site, sources: WebSources, steps: WithdrawingSteps, case_id: str
) -> None:
    with TestClient(create_web(sources), cookies={COOKIE: site.sign_in()}) as client:

        def shown() -> dict[str, str]:
            records = client.get(f"/dicomweb/studies/{STUDY}/instances").json()
            return {record["00080018"]["Value"][0]: record["00080060"]["Value"][0] for record in records}

        before = shown()
        (withdrawn,) = [uid for uid, modality in before.items() if modality == "ANN"]
        sources.actions.do(case_id, WITHDRAW, PETRA)
        assert set(shown().values()) == {"SM"}
        steps.encode(case_id, 1)
        after = shown()
        assert sorted(after.values()) == sorted(["KO", "SR", *["SM"] * list(before.values()).count("SM")])
        assert not (set(after) & set(before)) - {uid for uid, modality in before.items() if modality == "SM"}
        assert client.get("/dicomweb/studies?ModalitiesInStudy=ANN").json() == []
        (study,) = client.get("/dicomweb/studies").json()
        assert sorted(study["00080061"]["Value"]) == ["KO", "SM", "SR"]
        metadata = client.get(f"/dicomweb/studies/{STUDY}/metadata").json()
        assert withdrawn not in {record["00080018"]["Value"][0] for record in metadata}


def test_what_is_still_on_its_way_is_not_sent(site: Site, sources: WebSources, case_id: str) -> None:
    (refused,) = seen(site, case_id).deliveries
    assert (refused.destination, refused.kind, refused.state) == ("pacs", "dicom", "refused")
    sources.actions.do(case_id, WITHDRAW, PETRA)
    (overtaken,) = seen(site, case_id).deliveries
    assert overtaken.state == "superseded"


def test_its_slide_waits_for_the_right_order_and_its_cells_are_reviewed_no_more(
    site: Site, sources: WebSources, case_id: str
) -> None:
    sources.reviewing.change(case_id, 1, [Wanted(cell=1, seen=0, class_name="basophil")], PETRA)
    sources.actions.do(case_id, WITHDRAW, PETRA)
    (free,) = free_slides(site.database)
    assert free.series_instance_uid == SERIES
    assert free.case_id is not None
    holder = seen(site, free.case_id)
    assert (holder.row.state, holder.has_slide, holder.order) == (CaseState.HELD, True, None)
    assert f"its result in case {case_id} was withdrawn" in holder.row.cause
    with pytest.raises(NoAnalysis):
        sources.reviewing.open(case_id)
    names = [name for name, _ in training_files(site.database, sources.cells, case_id=case_id)]
    assert names == [f"basophil/{case_id}#1-1.png", "cells.json"], "what an expert saw there stays true"
    with site.database.write() as connection, pytest.raises(WrongState, match="no result to withdraw"):
        withdraw(connection, site.work, case_id, PETRA.name, "once more")


def test_a_withdrawal_that_failed_is_sent_when_requeued(
    site: Site, sources: WebSources, steps: WithdrawingSteps, case_id: str
) -> None:
    sources.actions.do(case_id, WITHDRAW, PETRA)
    steps.fail(case_id, 1, "The disk is full.")
    view = seen(site, case_id)
    assert view.row.cause == "The disk is full. Requeue to send the withdrawal again."
    with site.database.write() as connection:
        assert dispatch.requeue(connection, site.work, case_id, "petra") == "its result is withdrawn"
    for _ in range(2):
        steps.encode(case_id, 1)
    for _ in range(2):
        steps.deliver(case_id, 1)
    assert len([each for each in seen(site, case_id).deliveries if each.revision == 1]) == 2
    end(site, case_id)
    with pytest.raises(CaseCancelled):
        steps.encode(case_id, 1)
    steps.fail(case_id, 1, "too late")
    assert seen(site, case_id).row.state is CaseState.HELD


def test_who_withdrew_is_kept(site: Site, sources: WebSources, case_id: str) -> None:
    sources.actions.do(case_id, WITHDRAW, PETRA)
    with site.database.read() as connection:
        withdrawal = withdrawal_book.read(connection, case_id, 1)
        (kept,) = audit.read(connection, case_id)
    assert withdrawal is not None
    assert (withdrawal.name, withdrawal.reason, withdrawal.run) == ("petra", WITHDRAW.reason, 1)
    assert (kept.actor, kept.action, kept.detail) == ("petra", "case: withdraw", WITHDRAW.reason)
