"""The state machine, and what the worklist reads."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

import node
from node import cases
from node.cases import changed_since, list_cases, read_case
from node.database import Database
from node.errors import UnknownCase, WrongState
from node.opening import migrate
from node.tables import cases as case_table
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


def test_each_word_is_searched_without_case_and_accents(database: Database) -> None:
    with database.write() as connection:
        found = cases.create(
            connection,
            CaseState.ORDERED,
            "order received",
            accession_number="S26-00017",
            patient_name="Müller-Groß^Zoë",
            patient_id="PID_1%",
        )
        cases.create(connection, CaseState.ORDERED, "order received", patient_name="Muster^Zoe")

    def hits(search: str) -> list[str]:
        page = list_cases(database, WorklistQuery(search=search))
        assert page.total == len(page.rows)
        return [row.case_id for row in page.rows]

    for search in ("MULLER", "zoë müller", "gross 00017", "s26-00017", "pid_1%", found.lower()):
        assert hits(search) == [found], search
    assert len(hits(" zoe ")) == 2
    assert hits("%") == [found]
    assert hits("muller muster") == []
    with database.write() as connection:
        cases.note(connection, found, "the slide is here", container_identifier="GLASS-7")
    assert hits("glass-7 zoe") == [found]


@pytest.mark.alone
def test_ten_thousand_cases_are_searched_and_paged_in_a_blink(database: Database) -> None:
    began = datetime.now(UTC)
    rows = [
        {
            "id": f"C{number:010d}",
            "state": CaseState.REPORTED if number % 5 else CaseState.HELD,
            "priority": Priority.ROUTINE if number % 7 else Priority.STAT,
            "accession_number": f"S26-{number:05d}",
            "search_text": f"s26-{number:05d} muster maria test-{number}",
            "created_at": began + timedelta(seconds=number),
            "updated_at": began,
        }
        for number in range(10_000)
    ]
    with database.write() as connection:
        connection.execute(case_table.insert(), rows)
    asked = {
        "the front page": (WorklistQuery(), 10_000, "S26-00000"),
        "the last page": (WorklistQuery(sort="accession", offset=9_950), 10_000, "S26-09950"),
        "one state": (WorklistQuery(states=(CaseState.HELD,), sort="age", descending=True), 2_000, "S26-09995"),
        "a search": (WorklistQuery(search="s26-09"), 1_000, "S26-09002"),  # the first of them that is STAT
    }
    for what, (query, total, first) in asked.items():
        times = []
        for _ in range(3):
            start = time.perf_counter()
            page = list_cases(database, query)
            times.append(time.perf_counter() - start)
        assert (page.total, page.rows[0].accession_number, len(page.rows)) == (total, first, 50), what
        assert min(times) < 0.3, f"{what} took {min(times):.2f} s"


def test_cases_of_an_older_version_are_found_too(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'node.sqlite'}")
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(node.__file__).parent / "migrations"))
    with database.write() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0002")
        connection.exec_driver_sql(
            "INSERT INTO cases (id, state, priority, patient_name, created_at, updated_at, run, attempts, progress,"
            " revision, alerts, synthetic) VALUES ('C1', 'held', 'R', 'Müller^Zoë', '2026-10-05 09:00:00',"
            " '2026-10-05 09:00:00', 0, 0, 0, 0, '[]', 0)"
        )
    migrate(database)
    (row,) = list_cases(database, WorklistQuery(search="muller")).rows
    assert (row.case_id, row.urgent) == ("C1", False)
    database.close()
