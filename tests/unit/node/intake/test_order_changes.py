"""What a LIS says of an order it has placed, and of one it has to place again."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_io.store import FileStore
from hl7.messages import read_message
from hl7.placer import encode_order
from node import cases
from node.cases import list_cases, read_case
from node.database import Database
from node.intake.intake import Intake
from node.intake.linking import Linking
from node.queues import Work
from node.settings import IntakeSettings, Settings
from node.tables import messages, orders
from node.views import CaseState
from pipeline.domain import EntityId, Order
from tests.builders import build_order, build_patient
from tests.slides import SERIES, write_slide
from tests.stored_cases import only_case

AT = datetime(2026, 10, 5, 9, tzinfo=UTC)
PLACED = "ORC|NW|PL-1001^LIS\rOBR|1|PL-1001^LIS||47286-0\r"
PID = "PID|1||TEST-4711^^^HOSP^MR||Muster^Maria||19610402|F\r"
Say = Callable[..., tuple[str, list[str]]]


@pytest.fixture
def say(intake: Intake) -> Say:
    """Send an order message; MSA-1 and each ORC-1 of the answer."""

    def send(body: bytes | Order, control: str = "NW", control_id: str = "M1") -> tuple[str, list[str]]:
        if isinstance(body, Order):
            body = encode_order(body, control=control, control_id=control_id, at=AT)
        (answer,) = intake.message(body, "lis")
        segments = read_message(answer).segments
        return segments[1].value(1), [segment.value(1) for segment in segments if segment.name == "ORC"]

    return send


def message(*lines: str, control_id: str, trigger: str = "O21") -> bytes:
    head = f"MSH|^~\\&|LIS|HOSP|NODE|LAB|20261005||OML^{trigger}|{control_id}|P|2.5.1\r"
    return (head + "".join(lines)).encode()


def only_order(database: Database) -> Order:
    with database.read() as connection:
        return cases.ORDER.validate_python(connection.execute(sa.select(orders.c.body)).scalar_one())


def order_id(database: Database) -> str:
    with database.read() as connection:
        return connection.execute(sa.select(orders.c.id)).scalar_one()


def work_on_links(linking: Linking, database: Database) -> None:
    """What the worker was asked to do about orders, as it does it: once."""
    asked = "FROM workflow_status WHERE workflow_uuid LIKE 'link:%'"
    with database.write() as connection:
        names = connection.execute(sa.text(f"SELECT workflow_uuid {asked} ORDER BY rowid")).scalars().all()
        connection.execute(sa.text(f"DELETE {asked}"))
    for name in names:
        linking.link(name.split(":")[1])


@pytest.fixture
def queued(intake: Intake, linking: Linking, say: Say, database: Database, tmp_path: Path) -> str:
    """A case whose order and slide are here."""
    say(build_order())
    store = FileStore(tmp_path / "store")
    for header in [store.keep(path) for path in write_slide(store.spool)]:
        intake.instance(header, "SCANNER")
    intake.released(frozenset({SERIES}))
    linking.settle(SERIES)
    assert only_case(database).row.state is CaseState.QUEUED
    return only_case(database).row.case_id


def test_a_corrected_message_may_keep_the_control_id_of_the_refused_one(say: Say, database: Database) -> None:
    assert say(message(PLACED, control_id="M1"))[0] == "AE"  # no PID
    assert say(message(PID, PLACED, control_id="M1")) == ("AA", ["OK"])
    assert say(message(PID, PLACED, control_id="M1")) == ("AA", ["OK"])
    assert say(message(PLACED, control_id="M1"))[0] == "AE"
    with database.read() as connection:
        bodies = connection.execute(sa.select(messages.c.body).order_by(messages.c.id)).scalars().all()
    assert bodies == [message(PLACED, control_id="M1"), message(PID, PLACED, control_id="M1")], "both are kept"
    assert list_cases(database).total == 1


def test_an_order_of_several_specimens_waits_for_each(say: Say, database: Database) -> None:
    lines = [f"SPM|{number}|S{number}\rSAC|||S{number}-1\r{PLACED}" for number in (1, 2)]
    assert say(message(PID, *lines, control_id="M1", trigger="O33")) == ("AA", ["OK", "OK"])
    assert only_order(database).container_ids == ("S1-1", "S2-1")


@pytest.mark.parametrize(("codes", "answer"), [((), "OK"), (("47286-0", "BMDCC"), "OK"), (("BMDCC",), "UA")])
def test_a_site_says_which_tests_are_done_here(
    settings: Settings, database: Database, work: Work, codes: Sequence[str], answer: str
) -> None:
    site = settings.model_copy(update={"intake": IntakeSettings(test_codes=tuple(codes))})
    order = encode_order(build_order(), control="NW", control_id="M1", at=AT)
    segments = read_message(Intake(site, database, work).message(order, "lis")[0]).segments
    assert [segment.value(1) for segment in segments if segment.name == "ORC"] == [answer]
    said = [(segment.value(3), segment.value(8)) for segment in segments if segment.name == "ERR"]
    assert said == ([] if answer == "OK" else [("103", "OBR-4 asks for a test that is not done here: order BMDCC")])
    assert list_cases(database).total == (1 if answer == "OK" else 0)


def test_what_of_an_order_was_not_understood_is_kept_with_its_case(say: Say, database: Database) -> None:
    placed = "ORC|NW|PL-1^LIS\rTQ1|1||||||||VERY\rOBR|1|PL-2^LIS||47286-0|||yesterday|||||||||||S26-00017-AND-MORE\r"
    assert say(message(PID, placed, control_id="M1")) == ("AA", ["OK"])
    said = [event.cause for event in only_case(database).events]
    assert said == [
        "waiting for the slide",
        "order: the priority stated is not in table 0485: taken as routine",
        "order: the collection time is no HL7 time: left out",
        "order: ORC-2 and OBR-2 (placer order number) differ: ORC-2 is used",
        "order: the accession number is longer than DICOM's 16 characters: no image can carry it",
    ]
    say(message(PID, placed.replace("NW", "XO"), control_id="M2"))
    assert [event.cause for event in only_case(database).events][5:] == ["the order was changed", *said[1:]]


def test_a_change_that_says_little_of_the_patient_deletes_nothing(say: Say, database: Database) -> None:
    say(build_order())
    pid = "PID|1||TEST-4711^^^HOSP^MR||Muster-Meier^Maria\r"
    assert say(message(pid, PLACED.replace("NW", "XO"), control_id="M2")) == ("AA", ["XR"])
    assert only_order(database).patient == build_patient(name="Muster-Meier^Maria", birth_date=date(1961, 4, 2))


@pytest.mark.parametrize("state", [CaseState.QUEUED, CaseState.RUNNING])
def test_a_slide_is_not_counted_for_another_patient(
    say: Say, linking: Linking, database: Database, queued: str, state: CaseState
) -> None:
    if state is CaseState.RUNNING:
        with database.write() as connection:
            cases.move(connection, queued, state, "counting began")
    other = build_order(patient=build_patient(patient_id="TEST-9", name="Andere^Anna"))
    assert say(other, "XO", "M2") == ("AA", ["XR"])
    assert only_case(database).row.state is CaseState.HELD, "at once, not when the worker gets to it"
    linking.link(order_id(database))
    held = only_case(database).row
    assert held.state is CaseState.HELD
    assert "PatientID (0010,0020)" in held.cause
    assert say(build_order(), "XO", "M3") == ("AA", ["XR"])
    linking.link(order_id(database))
    assert only_case(database).row.state is CaseState.QUEUED, "it was a mistake"


@pytest.mark.parametrize("state", [CaseState.QUEUED, CaseState.RUNNING])
@pytest.mark.parametrize("accession", [{}, {"accession_number": "S26-00099"}], ids=["container", "accession too"])
def test_a_slide_is_not_counted_for_an_order_that_now_names_another(
    say: Say, linking: Linking, database: Database, queued: str, state: CaseState, accession: dict[str, str]
) -> None:
    if state is CaseState.RUNNING:
        with database.write() as connection:
            cases.move(connection, queued, state, "counting began")
    other = build_order(container_ids=("S26-00099-A",), specimen_ids=("S26-00099",), **accession)
    assert say(other, "XO", "M2") == ("AA", ["XR"])
    assert only_case(database).row.state is CaseState.HELD, "at once, not when the worker gets to it"
    work_on_links(linking, database)
    assert only_case(database).row.state is CaseState.HELD
    assert say(build_order(), "XO", "M3") == ("AA", ["XR"])
    work_on_links(linking, database)
    assert only_case(database).row.state is CaseState.QUEUED, "it was a mistake"


def test_of_two_orders_for_one_slide_the_wrong_one_is_cancelled(
    intake: Intake, linking: Linking, say: Say, database: Database, tmp_path: Path
) -> None:
    """The accession number was used twice, and both orders name the same container."""
    say(build_order())
    say(build_order(placer_order_number=EntityId(value="PL-2", namespace="LIS")), control_id="M2")
    store = FileStore(tmp_path / "store")
    for header in [store.keep(path) for path in write_slide(store.spool)]:
        intake.instance(header, "SCANNER")
    intake.released(frozenset({SERIES}))
    linking.settle(SERIES)
    work_on_links(linking, database)
    held = next(row for row in list_cases(database).rows if row.state is CaseState.HELD)
    assert held.cause.startswith("2 open orders name this slide")
    assert say(build_order(), "CA", "M3") == ("AA", ["CR"])
    work_on_links(linking, database)
    queued = next(row for row in list_cases(database).rows if row.state is CaseState.QUEUED)
    view = read_case(database, queued.case_id)
    assert view is not None
    assert view.order is not None
    assert view.order.placer_order_number == EntityId(value="PL-2", namespace="LIS")


def test_the_slide_of_a_cancelled_order_makes_no_case(
    linking: Linking, say: Say, database: Database, queued: str
) -> None:
    say(build_order(), "CA", "M2")
    work_on_links(linking, database)
    assert [(row.case_id, row.state) for row in list_cases(database).rows] == [(queued, CaseState.CANCELLED)]


def test_a_change_of_the_same_patient_does_not_stop_the_count(say: Say, database: Database, queued: str) -> None:
    say(build_order(comments=("blasts?",)), "XO", "M2")
    assert only_case(database).row.state is CaseState.QUEUED
