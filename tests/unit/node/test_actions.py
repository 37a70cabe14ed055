"""What a person can do with a case in each state, and what doing it does: on a real database, without a worker."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_io.store import FileStore, InstanceHeader
from hl7.placer import encode_order
from node import cases
from node.actions import ActionName, CaseActions, Deed, offered
from node.cases import list_cases, read_case
from node.database import Database
from node.errors import UnknownCase, WrongState
from node.intake.free_slides import free_slides
from node.intake.intake import Intake
from node.intake.linking import Linking
from node.people.accounts import Person, Role
from node.queues import Work
from node.results.run_book import RunRecord, keep_run
from node.tables import audit, orders
from node.tables import cases as case_table
from node.views import CaseRow, CaseState, CaseView
from pipeline.domain import EntityId, Order, ResultStatus
from tests.builders import build_order, build_patient, build_report
from tests.slides import SERIES, write_slide

ANNA = Person(name="anna", full_name="Dr. Anna Beispiel", role=Role.REVIEWER)
ELSE = {"accession_number": "S26-99", "container_ids": (), "specimen_ids": ()}  # nothing of it names the slide
PRELIMINARY = ResultStatus.PRELIMINARY


@pytest.fixture
def actions(database: Database, work: Work, linking: Linking) -> CaseActions:
    return CaseActions(database, work, linking)


@pytest.fixture
def headers(tmp_path: Path) -> list[InstanceHeader]:
    store = FileStore(tmp_path / "store")
    return [store.keep(path) for path in write_slide(store.spool)]


@pytest.fixture
def slide(intake: Intake, linking: Linking, headers: list[InstanceHeader]) -> str:
    """A slide has come, alone."""
    return arrive(intake, linking, headers)


def arrive(intake: Intake, linking: Linking, headers: list[InstanceHeader]) -> str:
    for header in headers:
        intake.instance(header, "SCANNER")
    intake.released(frozenset({SERIES}))
    linking.settle(SERIES)
    return SERIES


def place(intake: Intake, order: Order, control: str = "NW", control_id: str = "M1") -> None:
    at = datetime(2026, 10, 5, 9, tzinfo=UTC)
    intake.message(encode_order(order, control=control, control_id=control_id, at=at), "10.0.0.1")


def case_in(database: Database, state: CaseState) -> CaseRow:
    (row,) = [row for row in list_cases(database).rows if row.state is state]
    return row


def stored(database: Database, state: CaseState, **values: object) -> str:
    with database.write() as connection:
        return cases.create(connection, state, "look at it", **values)


def seen(database: Database, case_id: str) -> CaseView:
    view = read_case(database, case_id)
    assert view is not None
    return view


@pytest.mark.parametrize(
    ("state", "has_slide", "has_order", "status", "labels"),
    [
        (CaseState.ORDERED, False, True, None, ["Attach a slide", "Cancel the case"]),
        (CaseState.WAITING, True, False, None, ["Count without an order", "Cancel the case"]),
        (CaseState.QUEUED, True, True, None, ["Cancel the case"]),
        (CaseState.RUNNING, True, True, None, ["Cancel the case"]),
        (CaseState.RUNNING, True, True, PRELIMINARY, []),
        (CaseState.DELIVERING, True, True, PRELIMINARY, []),
        (CaseState.REPORTED, True, True, PRELIMINARY, ["Count again", "Withdraw the result"]),
        (CaseState.REPORTED, False, True, ResultStatus.NO_RESULT, ["Attach a slide"]),
        (CaseState.HELD, False, True, None, ["Attach a slide", "Cancel the case"]),
        (CaseState.HELD, True, True, None, ["Count all the same", "Cancel the case"]),
        (CaseState.HELD, True, False, None, ["Count without an order", "Cancel the case"]),
        (
            CaseState.HELD,
            True,
            True,
            ResultStatus.NO_RESULT,
            ["Accept the result", "Count again", "Withdraw the result"],
        ),
        (CaseState.HELD, False, True, ResultStatus.NO_RESULT, ["Attach a slide", "Leave it withdrawn"]),
        (CaseState.FAILED, True, True, None, ["Try again", "Cancel the case"]),
        (CaseState.FAILED, True, True, PRELIMINARY, ["Try again", "Count again", "Withdraw the result"]),
        (CaseState.FAILED, False, True, PRELIMINARY, ["Try again"]),
        (CaseState.CANCELLED, True, True, None, []),
    ],
)
def test_each_state_offers_what_helps(
    database: Database,
    state: CaseState,
    has_slide: bool,
    has_order: bool,
    status: ResultStatus | None,
    labels: list[str],
) -> None:
    view = seen(database, stored(database, state))
    view = replace(view, has_slide=has_slide, order=build_order() if has_order else None, status=status)
    assert [action.label for action in offered(view, ANNA)] == labels
    assert offered(view, replace(ANNA, role=Role.VIEWER)) == ()


def test_counting_a_signed_case_again_says_what_becomes_of_the_signature(database: Database) -> None:
    view = seen(database, stored(database, CaseState.REPORTED, result_status="F"))
    rerun, _withdraw = offered(replace(view, has_slide=True), ANNA)
    assert "signed again" in rerun.effect


def test_accepting_a_held_result_closes_the_case_under_the_persons_name(
    actions: CaseActions, database: Database
) -> None:
    case_id = stored(database, CaseState.HELD, result_status="X")
    actions.do(case_id, Deed(name=ActionName.ACCEPT, reason="a clot, no marrow"), ANNA)
    view = seen(database, case_id)
    assert view.row.state is CaseState.REPORTED
    assert (view.events[-1].actor, view.events[-1].cause) == ("anna", "a clot, no marrow")
    with database.read() as connection:
        row = connection.execute(sa.select(audit)).one()
    assert (row.actor, row.action, row.subject, row.detail) == ("anna", "case: accept", case_id, "a clot, no marrow")


@pytest.mark.parametrize("name", list(ActionName))
def test_what_is_not_offered_is_refused_and_leaves_no_trace(
    actions: CaseActions, database: Database, name: ActionName
) -> None:
    case_id = stored(database, CaseState.DELIVERING, result_status="P")
    with pytest.raises(WrongState, match="it is delivering now"):
        actions.do(case_id, Deed(name=name, reason="x", slide=SERIES), ANNA)
    with database.read() as connection:
        assert connection.execute(sa.select(audit)).all() == []
    assert len(seen(database, case_id).events) == 1


def test_who_saw_an_older_state_must_look_again(actions: CaseActions, database: Database) -> None:
    case_id = stored(database, CaseState.HELD, result_status="P")
    with database.write() as connection:
        cases.move(connection, case_id, CaseState.HELD, "another doubt")
    with pytest.raises(WrongState, match="look again"):
        actions.do(case_id, Deed(name=ActionName.ACCEPT, reason="ok", seen=1), ANNA)
    actions.do(case_id, Deed(name=ActionName.ACCEPT, reason="ok", seen=2), ANNA)
    with pytest.raises(WrongState):
        actions.do(case_id, Deed(name=ActionName.ACCEPT, reason="ok"), ANNA)


def test_an_unknown_case(actions: CaseActions) -> None:
    with pytest.raises(UnknownCase):
        actions.do("C0", Deed(name=ActionName.CANCEL, reason="x"), ANNA)


def test_a_slide_is_attached_to_the_order_it_does_not_name(
    actions: CaseActions, intake: Intake, database: Database, slide: str
) -> None:
    place(intake, build_order(**ELSE))
    (free,) = free_slides(database, "00017-a")
    assert (free.series_instance_uid, free.case_id) == (slide, case_in(database, CaseState.WAITING).case_id)
    ordered = case_in(database, CaseState.ORDERED)
    actions.do(ordered.case_id, Deed(name=ActionName.ATTACH, slide=slide), ANNA)
    queued = case_in(database, CaseState.QUEUED)
    assert queued.case_id == ordered.case_id
    assert "anna" in {event.actor for event in seen(database, queued.case_id).events}
    assert f"went to case {ordered.case_id}" in case_in(database, CaseState.CANCELLED).cause
    assert free_slides(database) == ()


def test_an_attached_slide_of_another_patient_is_held_until_that_is_settled(
    actions: CaseActions, intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader]
) -> None:
    """Neither another instance of the slide lets it through, nor an order that it names; a corrected order does."""
    arrive(intake, linking, headers[:-1])
    other = build_patient(patient_id="TEST-1")
    order = build_order(**ELSE, patient=other, placer_order_number=EntityId(value="PL-2"))
    place(intake, order)
    ordered = case_in(database, CaseState.ORDERED)
    actions.do(ordered.case_id, Deed(name=ActionName.ATTACH, slide=SERIES), ANNA)
    assert "PatientID (0010,0020)" in case_in(database, CaseState.HELD).cause
    place(intake, build_order(placer_order_number=EntityId(value="PL-3")), control_id="M2")
    arrive(intake, linking, headers)
    held = case_in(database, CaseState.HELD)
    assert held.case_id == ordered.case_id
    assert "PatientID (0010,0020)" in held.cause
    place(intake, replace(order, patient=build_patient()), "XO", "M3")
    with database.read() as connection:
        attached = sa.select(case_table.c.order_id).where(case_table.c.id == ordered.case_id)
        order_id = connection.execute(attached).scalar_one()
    linking.link(order_id)
    assert case_in(database, CaseState.QUEUED).case_id == ordered.case_id


def test_a_slide_held_at_the_wrong_order_goes_to_the_right_one(
    actions: CaseActions, intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader]
) -> None:
    wrong = build_order(patient=build_patient(patient_id="TEST-1"), placer_order_number=EntityId(value="PL-1"))
    place(intake, wrong)
    arrive(intake, linking, headers)
    held = case_in(database, CaseState.HELD)
    place(intake, build_order(**ELSE, placer_order_number=EntityId(value="PL-2")), control_id="M2")
    right = case_in(database, CaseState.ORDERED)
    actions.do(right.case_id, Deed(name=ActionName.ATTACH, slide=SERIES), ANNA)
    assert case_in(database, CaseState.QUEUED).case_id == right.case_id
    assert case_in(database, CaseState.ORDERED).case_id == held.case_id
    with database.read() as connection:
        wrong_id = connection.execute(
            sa.select(orders.c.id).where(orders.c.placer_order_number == "PL-1^")
        ).scalar_one()
    linking.link(wrong_id)
    assert case_in(database, CaseState.QUEUED).case_id == right.case_id
    linking.give_up_slide(wrong_id)
    assert case_in(database, CaseState.HELD).case_id == held.case_id


def test_a_doubtful_slide_is_counted_once_a_person_says_so(
    actions: CaseActions, intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader]
) -> None:
    place(intake, build_order(patient=build_patient(patient_id="TEST-1")))
    arrive(intake, linking, headers)
    held = case_in(database, CaseState.HELD)
    actions.do(held.case_id, Deed(name=ActionName.ACCEPT, reason="two numbers of one patient, asked"), ANNA)
    queued = case_in(database, CaseState.QUEUED)
    assert queued.cause == "two numbers of one patient, asked"


def test_a_counted_or_arriving_slide_is_not_given_away(
    actions: CaseActions, intake: Intake, database: Database, slide: str
) -> None:
    waiting = case_in(database, CaseState.WAITING)
    actions.do(waiting.case_id, Deed(name=ActionName.ACCEPT, reason="no order will come"), ANNA)
    place(intake, build_order(**ELSE))
    ordered = case_in(database, CaseState.ORDERED)
    assert free_slides(database) == ()
    for uid in (slide, "2.25.404"):
        with pytest.raises(WrongState, match="cannot be attached"):
            actions.do(ordered.case_id, Deed(name=ActionName.ATTACH, slide=uid), ANNA)


def test_a_slide_counted_for_the_wrong_order_goes_to_the_right_one(
    actions: CaseActions, intake: Intake, linking: Linking, database: Database, headers: list[InstanceHeader]
) -> None:
    """Its result is withdrawn first; the wrong order, which it names, does not find it again."""
    place(intake, build_order(placer_order_number=EntityId(value="PL-1")))
    slide = arrive(intake, linking, headers)
    wrong = counted(database)
    actions.do(wrong, Deed(name=ActionName.WITHDRAW, reason="labels were mixed up"), ANNA)
    with database.write() as connection:
        cases.move(connection, wrong, CaseState.HELD, "withdrawn", result_status="X")
        wrong_order = cases.current(connection, wrong).order_id
    linking.link(wrong_order)
    linking.settle(slide)
    waiting = case_in(database, CaseState.WAITING)
    assert waiting.case_id != wrong
    place(intake, build_order(**ELSE, placer_order_number=EntityId(value="PL-2")), control_id="M2")
    right = case_in(database, CaseState.ORDERED)
    actions.do(right.case_id, Deed(name=ActionName.ATTACH, slide=slide), ANNA)
    assert case_in(database, CaseState.QUEUED).case_id == right.case_id
    linking.link(wrong_order)
    assert case_in(database, CaseState.QUEUED).case_id == right.case_id
    assert case_in(database, CaseState.HELD).case_id == wrong
    actions.do(wrong, Deed(name=ActionName.ACCEPT, reason="that order has no glass"), ANNA)
    assert case_in(database, CaseState.REPORTED).case_id == wrong


def counted(database: Database) -> str:
    """The queued case, as if its count were reported."""
    case_id = case_in(database, CaseState.QUEUED).case_id
    report = build_report(case_id=case_id)
    with database.write() as connection:
        case = cases.current(connection, case_id)
        record = RunRecord(
            case_id=case_id, run=case.run, revision=0, files=(), slide=report.slide, bundle=report.bundle,
            field_um=21.6, warnings=(), analysed_at=report.analysed_at,
        )  # fmt: skip
        keep_run(connection, record)
        connection.execute(case_table.update().values(state=CaseState.REPORTED, result_status="P"))
    return case_id


def test_a_reported_case_is_counted_again_for_a_reason(actions: CaseActions, database: Database, slide: str) -> None:
    waiting = case_in(database, CaseState.WAITING)
    with database.write() as connection:
        values = {"state": CaseState.REPORTED, "result_status": "P", "run": 1}
        connection.execute(case_table.update().values(**values))
    actions.do(waiting.case_id, Deed(name=ActionName.RERUN, reason="new bundle"), ANNA)
    assert case_in(database, CaseState.QUEUED).cause == "new bundle"
    with database.write() as connection:
        connection.execute(case_table.update().values(state=CaseState.FAILED))
    actions.do(waiting.case_id, Deed(name=ActionName.REQUEUE), ANNA)
    assert case_in(database, CaseState.QUEUED).cause == "requeued"
