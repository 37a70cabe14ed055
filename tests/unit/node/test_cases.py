"""The state machine, and what the worklist reads."""

from datetime import UTC, datetime

import pytest

from node import cases
from node.cases import changed_since, list_cases, read_case
from node.database import Database
from node.errors import UnknownCase, WrongState
from node.views import CaseState, WorklistQuery
from pipeline.domain import Priority


def new(database: Database, state: CaseState = CaseState.ORDERED, **values: object) -> str:
    with database.write() as connection:
        return cases.create(connection, state, "it begins", **values)


def test_every_change_is_kept_with_its_cause(database: Database) -> None:
    case_id = new(database)
    with database.write() as connection:
        cases.move(connection, case_id, CaseState.QUEUED, "both are here", actor="lis")
        cases.note(connection, case_id, "by the way")
    view = read_case(database, case_id)
    assert view is not None
    assert [(event.state, event.cause, event.actor) for event in view.events] == [
        (CaseState.ORDERED, "it begins", "node"),
        (CaseState.QUEUED, "both are here", "lis"),
        (CaseState.QUEUED, "by the way", "node"),
    ]
    assert view.events[0].at.tzinfo is UTC
    assert view.row.cause == "both are here"


@pytest.mark.parametrize(
    ("state", "to"),
    [
        (CaseState.ORDERED, CaseState.REPORTED),
        (CaseState.CANCELLED, CaseState.QUEUED),
        (CaseState.DELIVERING, CaseState.CANCELLED),
        (CaseState.REPORTED, CaseState.CANCELLED),
    ],
)
def test_forbidden_changes(database: Database, state: CaseState, to: CaseState) -> None:
    case_id = new(database, state)
    with pytest.raises(WrongState, match=f"{case_id} is {state}"), database.write() as connection:
        cases.move(connection, case_id, to, "no")
    view = read_case(database, case_id)
    assert view is not None
    assert view.row.state is state


def test_unknown_case(database: Database) -> None:
    assert read_case(database, "C0") is None
    with pytest.raises(UnknownCase, match="C0"), database.write() as connection:
        cases.move(connection, "C0", CaseState.HELD, "no")


def test_stat_comes_first_then_the_oldest(database: Database) -> None:
    routine, stat, asap = (
        new(database, priority=level.value) for level in (Priority.ROUTINE, Priority.STAT, Priority.ASAP)
    )
    later = new(database, priority=Priority.STAT.value)
    assert [row.case_id for row in list_cases(database).rows] == [stat, later, asap, routine]


def test_pages_and_totals(database: Database) -> None:
    made = [new(database, accession_number=f"S26-{number:03}") for number in range(7)]
    page = list_cases(database, WorklistQuery(sort="accession", offset=2, limit=3))
    assert [row.case_id for row in page.rows] == made[2:5]
    assert page.total == 7
    assert dict(page.counts)[CaseState.ORDERED] == 7
    assert dict(page.counts)[CaseState.FAILED] == 0


def test_search_and_states(database: Database) -> None:
    wanted = new(database, accession_number="S26-1", patient_name="Muster^Maria")
    new(database, accession_number="S26-2", patient_name="Other^One")
    held = new(database, CaseState.HELD, accession_number="X_1")
    assert [row.case_id for row in list_cases(database, WorklistQuery(search="muster")).rows] == [wanted]
    assert [row.case_id for row in list_cases(database, WorklistQuery(search="_")).rows] == [held]
    assert [row.case_id for row in list_cases(database, WorklistQuery(states=(CaseState.HELD,))).rows] == [held]


def test_changed_since(database: Database) -> None:
    new(database)
    moment = datetime.now(UTC)
    later = new(database)
    assert [row.case_id for row in changed_since(database, moment)] == [later]


def test_progress_of_the_whole_case_only_grows() -> None:
    stages = ("read", "quality", "regions", "tiles", "cells", "classes", "count", "encode", "deliver")
    values = [cases.whole_progress(stage, fraction) for stage in stages for fraction in (0.0, 0.5, 1.0)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0.0, 1.0)
