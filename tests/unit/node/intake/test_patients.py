"""Changed and merged patients: what waits learns of it, what is out stays, what is nobody's is not kept."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from hl7.messages import read_message
from hl7.placer import encode_order
from node import cases
from node.database import Database
from node.intake.intake import Intake
from node.queues import Work
from node.settings import Settings
from node.tables import cases as case_table
from node.tables import messages
from node.views import CaseState
from tests.builders import build_order, build_patient
from tests.stored_cases import only_case

AT = datetime(2026, 10, 5, 9, tzinfo=UTC)
PID = "PID|1||{}^^^{}^MR||Meier^Maria||19610402|\r"
Say = Callable[..., str]


@pytest.fixture
def intake(settings: Settings, database: Database, work: Work) -> Intake:
    intake = Intake(settings, database, work)
    intake.message(encode_order(build_order(), control="NW", control_id="M1", at=AT), "a")
    return intake


@pytest.fixture
def say(intake: Intake) -> Say:
    def adt(trigger: str, patient_id: str, issuer: str = "HOSP", *, former: str = "", number: str = "A1") -> str:
        head = f"MSH|^~\\&|HIS|H|N|L|20261005||ADT^{trigger}|{number}|P|2.5.1\r"
        merge = f"MRG|{former}^^^{issuer}^MR\r" if former else ""
        (answer,) = intake.message((head + PID.format(patient_id, issuer) + merge).encode(), "a")
        return next(segment.value(1) for segment in read_message(answer).segments if segment.name == "MSA")

    return adt


def kept(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(messages)).scalar_one())


@pytest.mark.parametrize("trigger", ["A08^ADT_A01", "A31^ADT_A05"])
def test_a_waiting_order_has_the_new_data(say: Say, database: Database, trigger: str) -> None:
    assert say(trigger, "TEST-4711") == "AA"
    view = only_case(database)
    assert view.order is not None
    assert view.order.patient == build_patient(name="Meier^Maria")  # the sex was empty: as it was
    assert view.row.patient_name == "Meier^Maria"
    assert view.events[-1].cause == "the patient's data were changed (ADT)"
    assert kept(database) == 2


def test_a_merged_patient_has_the_surviving_identifier(say: Say, database: Database) -> None:
    assert say("A40^ADT_A39", "SURVIVOR", former="TEST-4711") == "AA"
    view = only_case(database)
    assert view.order is not None
    assert (view.order.patient.patient_id, view.row.patient_id) == ("SURVIVOR", "SURVIVOR")


@pytest.mark.parametrize(("patient_id", "issuer"), [("OTHER", "HOSP"), ("TEST-4711", "ELSEWHERE")])
def test_of_others_nothing_is_kept(say: Say, database: Database, patient_id: str, issuer: str) -> None:
    assert say("A08^ADT_A01", patient_id, issuer) == "AA"
    assert only_case(database).row.patient_name == "Muster^Maria"
    assert kept(database) == 1


def test_what_was_reported_is_not_changed(say: Say, database: Database) -> None:
    with database.write() as connection:
        connection.execute(case_table.update().values(state=CaseState.REPORTED, result_status="P"))
    assert say("A08^ADT_A01", "TEST-4711") == "AA"
    assert only_case(database).row.patient_name == "Muster^Maria"


def test_a_held_case_is_matched_again(say: Say, database: Database) -> None:
    with database.write() as connection:
        case_id = connection.execute(sa.select(case_table.c.id)).scalar_one()
        cases.move(connection, case_id, CaseState.HELD, "the patient differs")
        before = len(_asked(connection))
    say("A08^ADT_A01", "TEST-4711")
    with database.read() as connection:
        assert len(_asked(connection)) == before + 1


def _asked(connection: sa.Connection) -> list[str]:
    keys = connection.execute(sa.text("SELECT workflow_uuid FROM workflow_status")).scalars()
    return [key for key in keys if key.startswith("link:")]
