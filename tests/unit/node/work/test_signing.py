"""A signature becomes one result: what is in it, what it replaces, and a step that is done twice or fails."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest
import sqlalchemy as sa
from pydicom import dcmread

from hl7.messages import read_header, read_message
from hl7.mllp import frame
from node import cases, dispatch
from node.cases import read_case
from node.codes import load_codes
from node.errors import CaseCancelled, ReviewConflict
from node.files import sha256_of
from node.intake.linking import Linking
from node.people.accounts import DEMO_REVIEWER, Person, Role
from node.results import delivery_book
from node.results.delivery import Deliverer
from node.results.outputs import Output
from node.results.result_writer import ResultWriter
from node.review import review_book
from node.review.marking import Wanted
from node.review.reviewing import Reviewing
from node.settings import IntakeSettings, LisSettings, Settings
from node.tables import deliveries, objects, slides
from node.views import CaseState, CaseView
from node.work.signing_steps import SigningSteps
from pipeline.domain import CELL_CLASSES, ResultStatus
from tests.builders import build_analysis, build_cells, build_report
from tests.slides import SERIES
from tests.stored_cases import Site

PETRA = Person(name="petra", full_name="Dr. Petra Prüfer", role=Role.REVIEWER)
KINDS = {"SEG", "SEGROI", "ANN", "SR", "SR3D", "ORU", "RESULT", "GEOJSON", "OVERVIEW", "PDF"}


@pytest.fixture
def steps(site: Site, settings: Settings) -> SigningSteps:
    return SigningSteps(settings, site.database, site.work, ResultWriter(settings, load_codes()))


@pytest.fixture
def desk(site: Site, settings: Settings) -> Reviewing:
    return site.web_sources(site=settings).reviewing


def give(desk: Reviewing, case_id: str, cell: int, class_name: str) -> None:
    marks = desk.open(case_id).marks
    desk.change(case_id, 1, [Wanted(cell=cell, seen=int(marks.versions[cell - 1]), class_name=class_name)], PETRA)


def sign(desk: Reviewing, case_id: str, person: Person = PETRA, reason: str = "urgent") -> int:
    """Sign what stands; returns the revision it is to become."""
    desk.sign(case_id, 1, desk.open(case_id).marks.version, person, reason)
    return desk.open(case_id).revision


def made(site: Site, case_id: str) -> dict[str, Path]:
    view = read_case(site.database, case_id)
    assert view is not None
    return {file.kind: file.path for file in view.files}


def view_of(site: Site, case_id: str) -> CaseView:
    view = read_case(site.database, case_id)
    assert view is not None
    return view


def end(site: Site, case_id: str) -> None:
    """As if every delivery had been taken."""
    with site.database.write() as connection:
        connection.execute(deliveries.update().values(state="sent", handed_over_at=datetime.now(UTC)))
        cases.move(connection, case_id, CaseState.REPORTED, "delivered")


def observations(path: Path) -> dict[str, tuple[str, str]]:
    rows = [segment for segment in read_message(path.read_bytes()).segments if segment.name == "OBX"]
    return {obx.value(3): (obx.value(5), obx.value(11)) for obx in rows}


def test_the_signed_result_holds_the_experts_classes(
    site: Site, desk: Reviewing, steps: SigningSteps, case_id: str
) -> None:
    preliminary = dcmread(made(site, case_id)["SR"])
    was = desk.open(case_id).analysis.cells[0].class_name
    give(desk, case_id, 1, "basophil")
    revision = sign(desk, case_id)
    steps.encode(case_id, revision)
    files = made(site, case_id)
    assert set(files) == KINDS
    document = dcmread(files["SR"])
    assert (document.VerificationFlag, document.CompletionFlag, document.PreliminaryFlag) == (
        "VERIFIED", "COMPLETE", "FINAL",
    )  # fmt: skip
    (observer,) = document.VerifyingObserverSequence
    assert str(observer.VerifyingObserverName).startswith("Dr. Petra Prüfer")
    assert observer.VerifyingOrganization == "Laboratory"
    signature = desk.open(case_id).signed
    assert signature is not None
    assert str(observer.VerificationDateTime)[:14] == signature.at.strftime("%Y%m%d%H%M%S")
    (study,) = document.PredecessorDocumentsSequence
    (earlier,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert earlier.ReferencedSOPInstanceUID == preliminary.SOPInstanceUID
    annotations = dcmread(files["ANN"])
    numbers = {group.AnnotationGroupLabel: group.NumberOfAnnotations for group in annotations.AnnotationGroupSequence}
    counts = {name: sum(cell.class_name == name for cell in desk.open(case_id).analysis.cells) for name in CELL_CLASSES}
    assert (numbers["basophil"], numbers[was]) == (counts["basophil"] + 1, counts[was] - 1)
    assert {group.AnnotationGroupGenerationType for group in annotations.AnnotationGroupSequence} == {"SEMIAUTOMATIC"}
    assert {status for _, status in observations(files["ORU"]).values()} == {"F"}
    text = files["ORU"].read_text()
    assert "An expert reviewed 1 of 240 cells and gave 1 of them another class." in text
    assert "Signed with cells unreviewed that ask for it: urgent" in text
    assert "demonstration" not in text


def test_a_correction_marks_what_changed_since_the_signed_one(
    site: Site, desk: Reviewing, steps: SigningSteps, case_id: str
) -> None:
    give(desk, case_id, 1, "others")
    steps.encode(case_id, first := sign(desk, case_id))
    steps.deliver(case_id, first)
    final = observations(made(site, case_id)["ORU"])
    end(site, case_id)
    cells = desk.open(case_id).analysis.cells
    lymphocyte = next(cell for cell in cells if cell.class_name == "lymphocyte" and cell.id > 1)
    give(desk, case_id, lymphocyte.id, "plasma cell")
    steps.encode(case_id, sign(desk, case_id))
    corrected = observations(made(site, case_id)["ORU"])
    changed = {code for code, (_, status) in corrected.items() if status == "C"}
    assert changed == {"LYMPHOCYTE", "PLASMA-CELL"}
    assert {corrected[code][1] for code in set(corrected) - changed} == {"F"}
    assert all(corrected[code][0] != final[code][0] for code in changed)
    assert f"Formerly {final['LYMPHOCYTE'][0]}." in made(site, case_id)["ORU"].read_text()
    assert view_of(site, case_id).status is ResultStatus.CORRECTED


def test_a_step_done_twice_makes_the_same_objects_once(
    site: Site, desk: Reviewing, steps: SigningSteps, case_id: str
) -> None:
    revision = sign(desk, case_id)
    steps.encode(case_id, revision)
    before = {kind: sha256_of(path) for kind, path in made(site, case_id).items()}
    steps.encode(case_id, revision)
    assert {kind: sha256_of(path) for kind, path in made(site, case_id).items()} == before
    for _ in range(2):
        steps.deliver(case_id, revision)
    with site.database.read() as connection:
        sent = connection.execute(sa.select(deliveries.c.destination).where(deliveries.c.revision == 1)).scalars()
        assert sorted(sent) == ["lis", "pacs"]
        kinds = connection.execute(sa.select(objects.c.kind).where(objects.c.revision == 1)).scalars().all()
        assert sorted(kinds) == sorted(KINDS)


def test_a_change_after_the_signature_is_not_in_it(
    site: Site, desk: Reviewing, steps: SigningSteps, case_id: str
) -> None:
    revision = sign(desk, case_id)
    give(desk, case_id, 1, "basophil")
    steps.encode(case_id, revision)
    assert "An expert reviewed 0 of 240 cells" in made(site, case_id)["ORU"].read_text()
    assert desk.open(case_id).changed_since_signed


def test_a_signature_that_failed_is_carried_out_when_requeued(
    site: Site, desk: Reviewing, steps: SigningSteps, case_id: str
) -> None:
    revision = sign(desk, case_id)
    steps.fail(case_id, revision, "The disk is full.")
    view = view_of(site, case_id)
    assert (view.row.state, view.row.cause) == (
        CaseState.FAILED, "The disk is full. Requeue to make the signed result again.",
    )  # fmt: skip
    with site.database.write() as connection:
        assert dispatch.requeue(connection, site.work, case_id, "petra") == "its signed result is made again"
    steps.encode(case_id, revision)
    steps.deliver(case_id, revision)
    with site.database.read() as connection:
        asked = connection.execute(
            sa.text("SELECT count(*) FROM workflow_status WHERE workflow_uuid LIKE 'sign:%'")
        ).scalar_one()
    assert asked == 2
    assert view_of(site, case_id).revision == 1


def test_a_signature_whose_result_was_never_made_is_followed_by_a_final_one(
    site: Site, desk: Reviewing, steps: SigningSteps, case_id: str
) -> None:
    steps.fail(case_id, sign(desk, case_id), "The disk is full.")
    give(desk, case_id, 1, "basophil")
    steps.encode(case_id, sign(desk, case_id))
    view = view_of(site, case_id)
    assert (view.status, view.revision) == (ResultStatus.FINAL, 2)
    assert {status for _, status in observations(made(site, case_id)["ORU"]).values()} == {"F"}


def test_what_is_over_is_not_carried_out(site: Site, desk: Reviewing, steps: SigningSteps, case_id: str) -> None:
    revision = sign(desk, case_id)
    with site.database.write() as connection:
        dispatch.queue_case(connection, site.work, case_id, "counted again")
    for step in (steps.encode, steps.deliver):
        with pytest.raises(CaseCancelled):
            step(case_id, revision)
    steps.fail(case_id, revision, "too late")
    view = view_of(site, case_id)
    assert (view.row.state, view.revision) == (CaseState.QUEUED, 2)
    with pytest.raises(ReviewConflict):
        desk.change(case_id, 1, [Wanted(cell=1, seen=0, class_name="others")], PETRA)


def test_a_demonstration_says_so(site: Site, desk: Reviewing, steps: SigningSteps, case_id: str) -> None:
    steps.encode(case_id, sign(desk, case_id, DEMO_REVIEWER))
    assert "Signed in a demonstration" in made(site, case_id)["ORU"].read_text()


def test_an_older_result_no_longer_goes_to_the_lis(
    site: Site, desk: Reviewing, steps: SigningSteps, case_id: str
) -> None:
    with site.database.write() as connection:
        connection.execute(deliveries.delete())
        for destination, kind in (("lis", "hl7"), ("pacs", "dicom")):
            connection.execute(
                deliveries.insert().values(
                    id=f"{case_id}:0:{destination}", case_id=case_id, revision=0, destination=destination, kind=kind,
                    state="pending", updated_at=datetime.now(UTC),
                )
            )  # fmt: skip
    revision = sign(desk, case_id)
    steps.encode(case_id, revision)
    steps.deliver(case_id, revision)
    states = {(each.revision, each.destination): each.state for each in view_of(site, case_id).deliveries}
    assert states == {
        (0, "lis"): "superseded",
        (0, "pacs"): "pending",
        (1, "lis"): "pending",
        (1, "pacs"): "pending",
    }


@contextmanager
def laboratory(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A port at which one connection is taken: its message is read, and answered unless the answer is empty."""

    def take() -> None:
        connection, _ = server.accept()
        with connection:
            message = b""
            while not message.endswith(b"\x1c\r"):
                message += connection.recv(65536)
            connection.sendall(answer(message))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(30)


def lost(_message: bytes) -> bytes:
    return b""


def refused(message: bytes) -> bytes:
    control_id = read_header(message.strip(b"\x0b\x1c\r")).control_id
    return frame(f"MSH|^~\\&|LIS|||||| ACK|1|P|2.5.1\rMSA|AE|{control_id}\r".encode())


@pytest.mark.parametrize(("answer", "status"), [(None, "F"), (refused, "F"), (lost, "C")])
def test_a_correction_of_what_no_lis_has_is_its_first_final_result(
    site: Site,
    settings: Settings,
    desk: Reviewing,
    steps: SigningSteps,
    case_id: str,
    answer: Callable[[bytes], bytes] | None,
    status: str,
) -> None:
    """Nobody listens, the message is refused, or it is taken and the answer lost."""
    steps.encode(case_id, first := sign(desk, case_id))
    steps.deliver(case_id, first)
    with laboratory(answer) if answer else nullcontext(1) as port:
        reached = settings.model_copy(update={"lis": (LisSettings(name="lis", host="127.0.0.1", port=port),)})
        Deliverer(reached, site.database, site.work).attempt(f"{case_id}:{first}:lis", 0, 1)
    give(desk, case_id, 1, "others")
    second = sign(desk, case_id)
    states = {(each.revision, each.destination): each.state for each in view_of(site, case_id).deliveries}
    assert states[first, "lis"] == "superseded", "from the signature on"
    steps.encode(case_id, second)
    message = read_message(made(site, case_id)["ORU"].read_bytes())
    (obr,) = [segment for segment in message.segments if segment.name == "OBR"]
    assert obr.value(25) == status
    statuses = {segment.value(11) for segment in message.segments if segment.name == "OBX"}
    assert ("C" in statuses) is (status == "C")
    assert ("Formerly" in made(site, case_id)["ORU"].read_text()) is (status == "C")
    assert view_of(site, case_id).status is ResultStatus.CORRECTED, "the archive may have the first"


def test_an_attempt_that_a_signature_overtook_sends_nothing(
    site: Site, settings: Settings, desk: Reviewing, steps: SigningSteps, case_id: str
) -> None:
    steps.encode(case_id, first := sign(desk, case_id))
    steps.deliver(case_id, first)
    with site.database.read() as connection:
        due = delivery_book.pending(connection, f"{case_id}:{first}:lis", 0, 1)
    assert due is not None
    give(desk, case_id, 1, "others")
    sign(desk, case_id)
    with site.database.write() as connection:
        assert not delivery_book.hand_over(connection, due)
        assert not review_book.lis_may_have(connection, case_id)


def test_a_later_failure_does_not_take_back_what_an_earlier_attempt_gave(
    site: Site, settings: Settings, desk: Reviewing, steps: SigningSteps, case_id: str
) -> None:
    steps.encode(case_id, first := sign(desk, case_id))
    steps.deliver(case_id, first)
    deliverer = Deliverer(settings, site.database, site.work)
    with laboratory(lost) as port:
        reached = settings.model_copy(update={"lis": (LisSettings(name="lis", host="127.0.0.1", port=port),)})
        Deliverer(reached, site.database, site.work).attempt(f"{case_id}:{first}:lis", 0, 1)
    deliverer.attempt(f"{case_id}:{first}:lis", 0, 2)
    with site.database.read() as connection:
        assert review_book.lis_may_have(connection, case_id)


@pytest.mark.parametrize(("reviewed", "state"), [(False, CaseState.QUEUED), (True, CaseState.HELD)])
def test_a_late_instance_does_not_take_a_review_away(
    site: Site, desk: Reviewing, case_id: str, reviewed: bool, state: CaseState
) -> None:
    if reviewed:
        give(desk, case_id, 1, "basophil")
    with site.database.write() as connection:
        connection.execute(slides.update().values(state="receiving"))
        cases.note(connection, case_id, "", slide_digest="that of fewer instances")
    intake = IntakeSettings(quiet_s=0.001, incomplete_s=0.001, late_instance="rerun")
    Linking(intake, site.database, site.work).settle(SERIES)
    assert view_of(site, case_id).row.state is state


def test_blasts_in_a_first_count_put_the_case_on_top(site: Site, settings: Settings, case_id: str) -> None:
    cells = build_cells({"myeloblast": 60, "lymphocyte": 100})
    report = build_report(case_id=case_id, analysis=build_analysis(cells=cells))
    made = Output(kind="RESULT", name="result.json", media_type="application/json", path=Path("-"), sha256="")
    with site.database.write() as connection:
        ResultWriter(settings, load_codes()).keep(connection, report, [made])
    row = view_of(site, case_id).row
    assert row.urgent
    assert row.alerts[0].startswith("Blasts and equivalents (myeloblast + promonocyte) are 37.5 % of the 160 counted")
    assert row.alerts[1:] == ("Only 160 cells were counted; at least 200 are wanted.", "The focus of 2 tiles is soft.")


def test_versions_and_signatures_are_read_back(site: Site, desk: Reviewing, case_id: str) -> None:
    give(desk, case_id, 1, "basophil")
    sign(desk, case_id)
    with site.database.read() as connection:
        kept = review_book.read_signature(connection, case_id, 1)
        assert kept == review_book.last_signature(connection, case_id)
        assert review_book.last_signed_result(connection, case_id) is None
        assert kept is not None
        changes = review_book.read_changes(connection, case_id, 1, until=kept.version)
    assert [(change.cell, change.class_name) for change in changes] == [(1, "basophil")]
    assert replace(kept, status=ResultStatus.FINAL) == kept
