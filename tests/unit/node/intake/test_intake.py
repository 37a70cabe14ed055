"""What arrives is kept before it is acknowledged, and arriving twice changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_io.store import FileStore, InstanceHeader
from hl7.messages import Message, read_message
from hl7.placer import encode_order
from hl7.results import encode_oru
from node.cases import list_cases, read_case
from node.database import Database
from node.intake.intake import Intake
from node.intake.linking import Linking
from node.queues import Work
from node.results.outputs import results_config
from node.settings import Hl7Settings, IntakeSettings, Settings
from node.tables import cases, instances, messages, objects, orders, signatures, slides
from node.views import CaseRow, CaseState
from pipeline.domain import EntityId, Order, Priority
from tests.builders import build_codes, build_order, build_patient, build_report
from tests.slides import SERIES, write_slide

AT = datetime(2026, 10, 5, 9, tzinfo=UTC)
Kept = Callable[[Path], InstanceHeader]


@pytest.fixture
def headers(tmp_path: Path) -> list[InstanceHeader]:
    """The instances of a slide, kept but not yet indexed."""
    store = FileStore(tmp_path / "store")
    return [store.keep(path) for path in write_slide(store.spool)]


def send(intake: Intake, order: Order, control: str = "NW", control_id: str = "M1", **options: str) -> Message:
    return answered(intake, encode_order(order, control=control, control_id=control_id, at=AT, **options))


def answered(intake: Intake, body: bytes) -> Message:
    """The only answer to a message."""
    (answer,) = intake.message(body, "10.0.0.1")
    return read_message(answer)


def values(answer: Message, segment: str, number: int) -> list[str]:
    return [each.value(number) for each in answer.segments if each.name == segment]


def only_case(database: Database) -> CaseRow:
    (row,) = list_cases(database).rows
    return row


def count(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def asked(database: Database) -> list[str]:
    """Ids of the workflows that were enqueued, in order."""
    with database.read() as connection:
        return list(connection.execute(sa.text("SELECT workflow_uuid FROM workflow_status ORDER BY rowid")).scalars())


def arrive(intake: Intake, headers: list[InstanceHeader]) -> None:
    for header in headers:
        intake.instance(header, "SCANNER")
    intake.released(frozenset({SERIES}))


def test_order_makes_a_case(intake: Intake, database: Database) -> None:
    answer = send(intake, build_order(priority=Priority.STAT))
    assert values(answer, "MSA", 1) == ["AA"]
    assert values(answer, "ORC", 1) == ["OK"]
    row = only_case(database)
    assert row.state is CaseState.ORDERED
    assert row.priority is Priority.STAT
    assert row.accession_number == build_order().accession_number
    view = read_case(database, row.case_id)
    assert view is not None
    assert view.order is not None
    assert view.order.patient.patient_id == build_patient().patient_id


def test_same_message_again_gets_the_same_answer(intake: Intake, database: Database) -> None:
    body = encode_order(build_order(), control="NW", control_id="M1", at=AT)
    assert intake.message(body, "a") == intake.message(body, "b")
    assert (count(database, messages), count(database, orders), count(database, cases)) == (1, 1, 1)


def enhanced(order: Order, control_id: str, control: str = "NW") -> bytes:
    """An order message with MSH-15 AL and MSH-16 AL."""
    body = encode_order(order, control=control, control_id=control_id, at=AT)
    return body.replace(b"|P|2.5.1||||||", b"|P|2.5.1|||AL|AL||", 1)


def test_both_answers_of_enhanced_mode_are_kept_and_sent_again(intake: Intake, database: Database) -> None:
    body = enhanced(build_order(), "M1")
    first = intake.message(body, "a")
    accepted, answer = map(read_message, first)
    assert (values(accepted, "MSA", 1), values(answer, "MSA", 1)) == (["CA"], ["AA"])
    assert accepted.header.control_id != answer.header.control_id
    assert (answer.header.message_type, values(answer, "ORC", 1)) == ("ORL", ["OK"])
    assert intake.message(body, "b") == first
    assert (count(database, messages), count(database, cases)) == (1, 1)


def test_a_site_may_have_the_accept_answer_alone(settings: Settings, database: Database, work: Work) -> None:
    hl7 = Hl7Settings(application_answer_follows=False)
    intake = Intake(settings.model_copy(update={"hl7": hl7}), database, work)
    assert values(answered(intake, enhanced(build_order(), "M1")), "MSA", 1) == ["CA"]


def test_what_was_refused_is_taken_anew_when_it_comes_again(intake: Intake, database: Database) -> None:
    cancel = encode_order(build_order(), control="CA", control_id="M1", at=AT)
    assert values(answered(intake, cancel), "MSA", 1) == ["AE"]
    send(intake, build_order(), control_id="M2")
    assert values(answered(intake, cancel), "MSA", 1) == ["AA"]
    assert only_case(database).state is CaseState.CANCELLED
    assert intake.message(cancel, "a") == intake.message(cancel, "b")
    assert count(database, messages) == 2


def test_a_rejection_does_not_outlive_its_cause(settings: Settings, database: Database, work: Work) -> None:
    body = encode_order(build_order(), control="NW", control_id="M1", at=AT, processing_id="T")
    assert values(answered(Intake(settings, database, work), body), "MSA", 1) == ["AR"]
    tests = settings.model_copy(update={"hl7": Hl7Settings(processing_id="T")})
    assert values(answered(Intake(tests, database, work), body), "MSA", 1) == ["AA"]
    assert count(database, messages) == 1


def test_a_message_that_failed_to_be_kept_may_come_again(intake: Intake, database: Database) -> None:
    body = encode_order(build_order(), control="NW", control_id="M1", at=AT)
    with database.write() as connection:
        connection.execute(sa.text("ALTER TABLE orders RENAME TO elsewhere"))
    with pytest.raises(sa.exc.OperationalError):
        intake.message(body, "a")
    assert count(database, messages) == 0
    with database.write() as connection:
        connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO orders"))
    assert values(answered(intake, body), "MSA", 1) == ["AA"]


def test_an_acknowledgement_is_not_acknowledged(intake: Intake, database: Database) -> None:
    ack = b"MSH|^~\\&|LIS|L|N|L|2026||ACK^O22^ACK|A9|P|2.5.1\rMSA|CA|M1\r"
    assert intake.message(ack, "a") == ()
    assert count(database, messages) == 1


@pytest.mark.parametrize("stated", [None, EntityId(value="F-17", namespace="LAB")])
def test_the_answer_names_the_number_of_the_result(
    settings: Settings, intake: Intake, database: Database, stated: EntityId | None
) -> None:
    order = build_order(filler_order_number=stated)
    answer = send(intake, order)
    row = only_case(database)
    report = build_report(case_id=row.case_id, order=order)
    result = read_message(encode_oru(report, build_codes(), results_config(settings)))
    (orc,) = [segment.raw(3) for segment in answer.segments if segment.name == "ORC"]
    (obr,) = [segment.raw(3) for segment in answer.segments if segment.name == "OBR"]
    assert orc == obr == next(segment.raw(3) for segment in result.segments if segment.name == "OBR")
    assert values(answer, "ORC", 2) == ["PL-1001"]
    again = send(intake, order, "SC", "M2")
    assert [segment.raw(3) for segment in again.segments if segment.name == "ORC"] == [orc]
    assert values(again, "ORC", 5) == ["SC"]


def test_an_order_is_known_by_the_number_that_was_given_to_it(intake: Intake, database: Database) -> None:
    send(intake, build_order(filler_order_number=None))
    given = EntityId(value=only_case(database).case_id, namespace="MARROWNODE")
    cancel = build_order(placer_order_number=None, filler_order_number=given)
    assert values(send(intake, cancel, "CA", "M2"), "ORC", 1) == ["CR"]
    assert only_case(database).state is CaseState.CANCELLED


def test_same_identity_with_another_body_is_refused(intake: Intake, database: Database) -> None:
    send(intake, build_order())
    answer = send(intake, build_order(accession_number="S26-2"))
    assert values(answer, "MSA", 1) == ["AE"]
    assert values(answer, "ERR", 3) == ["205"]
    assert count(database, cases) == 1


def test_repeated_order_is_not_a_second_job(intake: Intake, database: Database) -> None:
    send(intake, build_order())
    assert values(send(intake, build_order(), control_id="M2"), "ORC", 1) == ["OK"]
    differing = send(intake, build_order(accession_number="S26-2"), control_id="M3")
    assert values(differing, "ORC", 1) == ["UA"]
    assert count(database, orders) == 1


@pytest.mark.parametrize("body", [b"", b"nonsense", b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|7|P|2.5.1\r"])
def test_whatever_comes_is_answered_and_kept(intake: Intake, database: Database, body: bytes) -> None:
    answer = answered(intake, body)
    assert values(answer, "MSA", 1) == ["AR"]
    assert count(database, messages) == 1
    assert count(database, cases) == 0


def test_order_of_a_test_system_is_refused(intake: Intake) -> None:
    answer = send(intake, build_order(), processing_id="T")
    assert (values(answer, "MSA", 1), values(answer, "ERR", 3)) == (["AR"], ["202"])


def test_cancel(intake: Intake, database: Database) -> None:
    send(intake, build_order())
    assert values(send(intake, build_order(), "CA", "M2"), "ORC", 1) == ["CR"]
    assert only_case(database).state is CaseState.CANCELLED
    assert values(send(intake, build_order(), "CA", "M3"), "ORC", 1) == ["CR"]  # it is
    assert values(send(intake, build_order(), "NW", "M4"), "ORC", 1) == ["OK"], "the numbers may be used again"
    assert count(database, cases) == 2


@pytest.mark.parametrize(("control", "refused"), [("CA", "UC"), ("DC", "UD"), ("XO", "UX")])
def test_what_is_resulted_is_not_taken_back(intake: Intake, database: Database, control: str, refused: str) -> None:
    send(intake, build_order())
    with database.write() as connection:
        connection.execute(cases.update().values(state=CaseState.REPORTED))
    assert values(send(intake, build_order(), control, "M2"), "ORC", 1) == [refused]
    assert only_case(database).state is CaseState.REPORTED


def test_an_order_whose_result_is_signed_is_complete(intake: Intake, database: Database) -> None:
    """ORC-5 (table 0038), whatever the LIS asks."""
    send(intake, build_order())
    case_id = only_case(database).case_id
    with database.write() as connection:
        connection.execute(cases.update().values(state=CaseState.REPORTED, result_status="P"))
    assert values(send(intake, build_order(), control_id="M2"), "ORC", 5) == ["A"], "some results"
    signature = {"case_id": case_id, "revision": 1, "run": 1, "version": 0, "status": "F", "at": AT}
    made = {"case_id": case_id, "revision": 1, "kind": "ORU", "name": "oru.hl7", "media_type": "", "path": ""}
    with database.write() as connection:
        connection.execute(signatures.insert().values(name="anna", full_name="Dr. Anna Beispiel", **signature))
        connection.execute(cases.update().values(state=CaseState.DELIVERING))
    assert values(send(intake, build_order(), control_id="M3"), "ORC", 5) == ["IP"], "its result is not made yet"
    with database.write() as connection:
        connection.execute(objects.insert().values(sha256="", created_at=AT, **made))
    for number, (control, answer) in enumerate((("NW", "OK"), ("SC", "OK"), ("CA", "UC"), ("XO", "UX"))):
        for state in (CaseState.REPORTED, CaseState.HELD):
            with database.write() as connection:
                connection.execute(cases.update().values(state=state))
            told = send(intake, build_order(), control, f"{state}{number}")
            assert (values(told, "ORC", 1), values(told, "ORC", 5)) == ([answer], ["CM"])


def test_change(intake: Intake, database: Database) -> None:
    send(intake, build_order())
    answer = send(intake, build_order(accession_number="S26-99", priority=Priority.STAT), "XO", "M2")
    assert values(answer, "ORC", 1) == ["XR"]
    row = only_case(database)
    assert (row.accession_number, row.priority) == ("S26-99", Priority.STAT)


def test_unknown_order_is_not_cancelled(intake: Intake) -> None:
    assert values(send(intake, build_order(), "CA"), "ORC", 1) == ["UC"]


def test_instance_is_indexed_once(intake: Intake, database: Database, headers: list[InstanceHeader]) -> None:
    arrive(intake, headers)
    before = asked(database)
    for header in headers:
        intake.instance(header, "SCANNER")
    assert count(database, instances) == len(headers)
    assert asked(database) == before
    with database.read() as connection:
        slide = connection.execute(sa.select(slides)).one()
    assert (slide.state, slide.instance_count) == ("receiving", len(headers))


def test_other_modalities_make_no_slide(intake: Intake, database: Database, headers: list[InstanceHeader]) -> None:
    intake.instance(replace(headers[0], modality="SR"), "PACS")
    assert count(database, instances) == 1
    assert count(database, slides) == 0


def test_order_then_slide(intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader]) -> None:
    send(intake, build_order())
    arrive(intake, headers)
    linking.settle(SERIES)
    assert only_case(database).state is CaseState.QUEUED
    (queued,) = [key for key in asked(database) if key.startswith("count:")]
    linking.settle(SERIES)
    assert [key for key in asked(database) if key.startswith("count:")] == [queued]


def test_slide_then_order(intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader]) -> None:
    arrive(intake, headers)
    linking.settle(SERIES)
    waiting = only_case(database)
    assert waiting.state is CaseState.WAITING
    send(intake, build_order())
    with database.read() as connection:
        order_id = connection.execute(sa.select(orders.c.id)).scalar_one()
    linking.link(order_id)
    by_state = {row.state: row for row in list_cases(database).rows}
    assert by_state[CaseState.CANCELLED].case_id == waiting.case_id
    assert f"joined with case {by_state[CaseState.QUEUED].case_id}" in by_state[CaseState.CANCELLED].cause


def test_slide_of_a_cancelled_order_is_free_for_the_next_one(
    intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader]
) -> None:
    send(intake, build_order())
    arrive(intake, headers)
    linking.settle(SERIES)
    send(intake, build_order(), "CA", "M2")
    send(intake, build_order(), "NW", "M3")
    with database.read() as connection:
        order_id = connection.execute(sa.select(orders.c.id).where(orders.c.state == "open")).scalar_one()
    linking.link(order_id)
    assert sorted(row.state for row in list_cases(database).rows) == [CaseState.CANCELLED, CaseState.QUEUED]


def test_missing_base_level_is_held(
    intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader]
) -> None:
    arrive(intake, headers[1:])
    linking.settle(SERIES)
    row = only_case(database)
    assert row.state is CaseState.HELD
    assert "base level is missing" in row.cause


def test_incomplete_slide_gets_more_time(
    settings: Settings, database: Database, work: Work, headers: list[InstanceHeader]
) -> None:
    patient = IntakeSettings(quiet_s=0.001, incomplete_s=3600)
    intake = Intake(settings.model_copy(update={"intake": patient}), database, work)
    arrive(intake, headers[1:])
    Linking(patient, database, work).settle(SERIES)
    assert list_cases(database).total == 0
    assert any(key.endswith(":incomplete") for key in asked(database))


def test_slide_is_not_settled_before_it_is_quiet(
    settings: Settings, database: Database, work: Work, headers: list[InstanceHeader]
) -> None:
    busy = IntakeSettings(quiet_s=3600)
    intake = Intake(settings.model_copy(update={"intake": busy}), database, work)
    arrive(intake, headers)
    Linking(busy, database, work).settle(SERIES)
    assert list_cases(database).total == 0


def test_second_scan_of_one_slide_waits_for_a_person(
    intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader]
) -> None:
    send(intake, build_order())
    arrive(intake, headers)
    linking.settle(SERIES)
    rescan = [
        replace(header, series_instance_uid="2.25.9", sop_instance_uid=f"2.25.9.{number}")
        for number, header in enumerate(headers)
    ]
    for header in rescan:
        intake.instance(header, "SCANNER")
    intake.released(frozenset({"2.25.9"}))
    linking.settle("2.25.9")
    held = next(row for row in list_cases(database).rows if row.state is CaseState.HELD)
    assert "another scan" in held.cause


@pytest.mark.parametrize(("required", "state"), [(True, CaseState.HELD), (False, CaseState.QUEUED)])
def test_order_that_never_comes(
    settings: Settings, database: Database, work: Work, headers: list[InstanceHeader], required: bool, state: CaseState
) -> None:
    site = IntakeSettings(quiet_s=0.001, require_order=required)
    intake = Intake(settings.model_copy(update={"intake": site}), database, work)
    linking = Linking(site, database, work)
    arrive(intake, headers)
    linking.settle(SERIES)
    linking.give_up_order(only_case(database).case_id)
    assert only_case(database).state is state


def test_slide_that_never_comes(intake: Intake, linking: Linking, database: Database) -> None:
    send(intake, build_order(placer_order_number=EntityId(value="PL-9")))
    with database.read() as connection:
        order_id = connection.execute(sa.select(orders.c.id)).scalar_one()
    linking.give_up_slide(order_id)
    row = only_case(database)
    assert row.state is CaseState.HELD
    assert "no slide came" in row.cause
