"""What is said of slides beside orders (IHE DPOW): it starts no case, joins barcodes with orders, settles slides."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread

from dicom_io.store import FileStore, InstanceHeader
from hl7.messages import Message, read_message
from hl7.placer import encode_order
from node.cases import list_cases
from node.database import Database
from node.intake.intake import Intake
from node.intake.linking import Linking
from node.settings import IntakeSettings, Settings
from node.tables import orders, slides
from node.views import CaseRow, CaseState
from tests.builders import build_order
from tests.rejections import write_rejection_note
from tests.slides import SERIES, STUDY, write_slide

AT = datetime(2026, 10, 5, 9, tzinfo=UTC)
BARCODE = "S26-00017-A-1"
PID = "PID|1||TEST-4711^^^HOSP^MR||Muster^Maria||19610402|F"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A site where a slide is settled after an hour, unless something says earlier that it is whole."""
    return Settings(home=tmp_path, intake=IntakeSettings(quiet_s=3600, incomplete_s=7200))


@pytest.fixture
def headers(tmp_path: Path) -> list[InstanceHeader]:
    """A slide whose scanner knew the barcode alone: neither accession number nor patient."""
    store = FileStore(tmp_path / "store")
    for path in write_slide(store.spool):
        ds = dcmread(path)
        ds.AccessionNumber = ds.PatientID = ds.PatientName = ds.PatientBirthDate = ds.PatientSex = ""
        ds.save_as(path)
    return [store.keep(path) for path in sorted(store.spool.glob("*.dcm"))]


def say(
    intake: Intake, profile: str, *segments: str, control: str = "NW", pid: str = PID, number: str = "R1"
) -> Message:
    lines = [
        f"MSH|^~\\&|LIS|LAB|MARROWNODE|LAB|20261005||OML^O21^OML_O21|{number}|P|2.5.1|||||||||{profile}^IHE",
        pid,
        f"ORC|{control}",
        "OBR|1|||687891.024^Digital AP Study^L",
        *segments,
    ]
    (answer,) = intake.message("".join(f"{line}\r" for line in lines).encode(), "10.0.0.1")
    return read_message(answer)


def register(intake: Intake, *, control: str = "NW", pid: str = PID, number: str = "R1") -> Message:
    """LAB-100 of the slide: barcode, accession number, patient."""
    spm = f"SPM|1|^{BARCODE}||TISS^Tissue^HL70487" + "|" * 26 + "S26-00017"
    return say(intake, "DPOW-SLIDE", spm, f"SAC|||{BARCODE}", control=control, pid=pid, number=number)


def notify(intake: Intake, *observations: str, state: str = "Y", number: str = "N1") -> Message:
    """LAB-104 of the slide."""
    spm = f"SPM|1|^{BARCODE}||TISS^Tissue^HL70487" + "|" * 14 + f"20261005083000||{state}"
    return say(intake, "DPOW-IMAGE-NOTIF", spm, *observations, control="SC", number=number)


SERIES_OBX = f"OBX|1|RP|SeriesInstanceUID^^DCM||{SERIES}||||||F"
STUDY_OBX = f"OBX|1|RP|StudyInstanceUID^^DCM||{STUDY}||||||F"


def place(intake: Intake) -> None:
    """An order that names its accession number and patient, and no container."""
    order = build_order(container_ids=(), specimen_ids=())
    intake.message(encode_order(order, control="NW", control_id="M1", at=AT), "10.0.0.1")


def arrive(intake: Intake, headers: list[InstanceHeader]) -> None:
    for header in headers:
        intake.instance(header, "SCANNER")
    intake.released(frozenset({SERIES}))


def code(answer: Message) -> str:
    return next(segment.value(1) for segment in answer.segments if segment.name == "MSA")


def rows(database: Database) -> list[CaseRow]:
    return [row for row in list_cases(database).rows if row.state is not CaseState.CANCELLED]


def ids(database: Database, state: str) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(sa.select(orders.c.id).where(orders.c.state == state)).scalars())


def due_at_once(database: Database) -> list[str]:
    """Slides whose completeness is to be decided without delay."""
    asked = sa.text("SELECT workflow_uuid FROM workflow_status WHERE status = 'ENQUEUED' ORDER BY rowid")
    with database.read() as connection:
        return [key for key in connection.execute(asked).scalars() if key.startswith("settle:")]


@pytest.mark.parametrize("profile", ["DPOW-SPECIMEN", "DPOW-BLOCK", "DPOW-SLIDE"])
def test_a_registration_is_no_order(intake: Intake, database: Database, profile: str) -> None:
    answer = say(intake, profile, f"SPM|1|^{BARCODE}||TISS")
    assert code(answer) == "AA"
    assert "ORC|OK" in [segment.line for segment in answer.segments]
    assert list_cases(database).total == 0
    assert len(ids(database, "registered")) == 1


def test_the_same_registration_is_kept_once_and_can_be_withdrawn(intake: Intake, database: Database) -> None:
    register(intake)
    register(intake, control="XO", number="R2")
    assert len(ids(database, "registered")) == 1
    assert code(register(intake, control="CA", number="R3")) == "AA"
    assert ids(database, "registered") == []
    assert code(register(intake, control="CA", number="R4")) == "AE"


@pytest.mark.parametrize("sequence", ["RSO", "ROS", "SRO", "SOR", "OSR", "ORS"])
def test_a_barcode_finds_its_order_in_any_sequence(
    intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader], sequence: str
) -> None:
    """R registration, S slide (settled by its archive's notice), O order."""
    for what in sequence:
        if what == "R":
            register(intake)
            linking.link(ids(database, "registered")[0])
        elif what == "S":
            arrive(intake, headers)
            notify(intake, SERIES_OBX)
            linking.settle(SERIES)
        else:
            place(intake)
            linking.link(ids(database, "open")[0])
    (row,) = rows(database)
    assert row.state is CaseState.QUEUED
    assert (row.accession_number, row.patient_id) == ("S26-00017", "TEST-4711")


def test_a_slide_without_order_shows_what_was_registered(
    intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader]
) -> None:
    arrive(intake, headers)
    notify(intake, SERIES_OBX)
    linking.settle(SERIES)
    (row,) = rows(database)
    assert (row.state, row.accession_number) == (CaseState.WAITING, "")
    register(intake)
    linking.link(ids(database, "registered")[0])
    (row,) = rows(database)
    assert (row.state, row.accession_number, row.patient_name) == (CaseState.WAITING, "S26-00017", "Muster^Maria")


def test_a_registration_that_contradicts_the_slide_holds_it(
    intake: Intake, linking: Linking, database: Database, tmp_path: Path
) -> None:
    store = FileStore(tmp_path / "other")
    register(intake, pid="PID|1||OTHER^^^HOSP^MR||Other^Otto")
    place(intake)
    arrive(intake, [store.keep(path) for path in write_slide(store.spool)])
    notify(intake, SERIES_OBX)
    linking.settle(SERIES)
    (row,) = rows(database)
    assert row.state is CaseState.HELD
    assert "the patient of the registration and of the slide differ" in row.cause


@pytest.mark.parametrize("observation", [SERIES_OBX, STUDY_OBX, SERIES_OBX.replace("SeriesInstanceUID", "112002")])
def test_an_archives_notice_settles_the_slide_at_once(
    intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader], observation: str
) -> None:
    arrive(intake, headers)
    linking.settle(SERIES)
    assert rows(database) == []  # it is quiet for an hour first
    assert due_at_once(database) == []
    assert code(notify(intake, observation)) == "AA"
    assert len(due_at_once(database)) == 1
    linking.settle(SERIES)
    assert [row.state for row in rows(database)] == [CaseState.WAITING]


def test_a_notice_before_the_slide_settles_it_when_it_is_released(
    intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader]
) -> None:
    notify(intake, SERIES_OBX)
    for header in headers:
        intake.instance(header, "SCANNER")
    linking.settle(SERIES)
    assert rows(database) == []  # more may follow on the association
    intake.released(frozenset({SERIES}))
    assert len(due_at_once(database)) == 1
    linking.settle(SERIES)
    assert [row.state for row in rows(database)] == [CaseState.WAITING]


@pytest.mark.parametrize("first", [True, False])
def test_a_notification_of_availability_settles_the_slide(
    intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader], first: bool
) -> None:
    """By DICOM (PS3.4 Annex R) it says what LAB-104 says."""
    if first:
        intake.available(STUDY, frozenset({SERIES}))
    arrive(intake, headers)
    assert len(due_at_once(database)) == first
    if not first:
        intake.available(STUDY, frozenset({SERIES, "2.25.77"}))
        intake.available(STUDY, frozenset({SERIES, "2.25.77"}))
    linking.settle(SERIES)
    assert [row.state for row in rows(database)] == [CaseState.WAITING]
    assert len(ids(database, "registered")) == 1


def test_a_notice_does_not_make_a_slide_whole(
    intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader]
) -> None:
    arrive(intake, headers[1:])
    notify(intake, SERIES_OBX)
    linking.settle(SERIES)
    with database.read() as connection:
        assert connection.execute(sa.select(slides.c.state)).scalar_one() == "receiving"


def test_a_withdrawn_image_waits_for_a_person(
    intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader]
) -> None:
    register(intake)
    arrive(intake, headers)
    notify(intake, SERIES_OBX)
    linking.settle(SERIES)
    assert code(notify(intake, state="N", number="N2")) == "AA"
    (row,) = rows(database)
    assert row.state is CaseState.HELD
    assert "withdrawn" in row.cause
    place(intake)
    linking.link(ids(database, "open")[0])
    assert [row.state for row in rows(database)] == [CaseState.HELD]
    notify(intake, SERIES_OBX, number="N3")
    linking.link(ids(database, "registered")[0])
    assert [row.state for row in rows(database)] == [CaseState.QUEUED]


@pytest.mark.parametrize("first", [True, False])
def test_a_rejected_image_waits_for_a_person(
    tmp_path: Path,
    intake: Intake,
    linking: Linking,
    database: Database,
    headers: list[InstanceHeader],
    first: bool,
) -> None:
    """By a rejection note (IHE IOCM), whether it comes before the slide or after it."""
    note = FileStore(tmp_path / "store").keep(write_rejection_note(tmp_path))
    if first:
        intake.instance(note, "PACS")
    arrive(intake, headers)
    notify(intake, SERIES_OBX)
    linking.settle(SERIES)
    if not first:
        assert [row.state for row in rows(database)] == [CaseState.WAITING]
        intake.instance(note, "PACS")
    (row,) = rows(database)
    assert row.state is CaseState.HELD
    assert "rejection note" in row.cause
    known = ids(database, "registered")
    intake.instance(note, "PACS")
    assert ids(database, "registered") == known
    assert [row.state for row in rows(database)] == [CaseState.HELD]


@pytest.mark.parametrize(
    ("segments", "place_of_error"),
    [(["SPM|1|||TISS" + "|" * 16 + "Y"], "SPM^1^2"), ([f"SPM|1|^{BARCODE}||TISS"], "SPM^1^20")],
)
def test_a_notice_must_say_which_slide_and_how_it_is(intake: Intake, segments: list[str], place_of_error: str) -> None:
    answer = say(intake, "DPOW-IMAGE-NOTIF", *segments, control="SC")
    assert code(answer) == "AE"
    assert next(segment.raw(2) for segment in answer.segments if segment.name == "ERR") == place_of_error


def test_order_numbers_are_no_accession_number_of_a_slide(intake: Intake, database: Database) -> None:
    say(intake, "DPOW-SLIDE", f"SPM|1|^{BARCODE}||TISS", control="NW|PL-1^LIS")
    with database.read() as connection:
        body = connection.execute(sa.select(orders.c.body)).scalar_one()
    assert (body["accession_number"], body["container_ids"]) == ("", [BARCODE])
