"""Deliveries: each destination by itself, and what their outcome does to the case."""

import pytest
import sqlalchemy as sa

from node import cases, dispatch
from node.cases import read_case
from node.database import Database
from node.errors import WrongState
from node.queues import Work
from node.results import delivery_book
from node.results.delivery_book import Attempt
from node.settings import RetrySettings
from node.tables import deliveries, slides
from node.views import CaseState, CaseView

RETRY = RetrySettings(delivery_attempts=3, delivery_first_s=10, delivery_longest_s=15)
SENT, DOWN, REFUSED = Attempt(), Attempt(problem="no answer", retryable=True), Attempt(problem="not this kind")
BOTH = (("pacs", "dicom"), ("lis", "hl7"))


@pytest.fixture
def case_id(database: Database, work: Work) -> str:
    """A case whose result is on its way to a PACS and a LIS."""
    with database.write() as connection:
        case_id = cases.create(connection, CaseState.DELIVERING, "made", result_status="P")
        delivery_book.open_deliveries(connection, work, case_id, 0, BOTH)
    return case_id


def attempt(database: Database, work: Work, delivery_id: str, outcome: Attempt) -> None:
    with database.write() as connection:
        row = connection.execute(sa.select(deliveries).where(deliveries.c.id == delivery_id)).one()
        due = delivery_book.pending(connection, delivery_id, row.generation, row.attempts + 1)
        assert due is not None
        delivery_book.settle(connection, work, due, outcome, RETRY)


def view(database: Database, case_id: str) -> CaseView:
    found = read_case(database, case_id)
    assert found is not None
    return found


def waits(database: Database) -> list[float]:
    """How long each enqueued attempt waits, in seconds, whole 5 s: the row is made a moment before its delay begins."""
    with database.read() as connection:
        rows = connection.execute(
            sa.text(
                "SELECT coalesce(delay_until_epoch_ms - created_at, 0) FROM workflow_status"
                " WHERE workflow_uuid LIKE 'deliver:%' ORDER BY rowid"
            )
        ).scalars()
        return [(wait + 500) // 5000 * 5 for wait in rows]


def test_all_delivered_is_reported(database: Database, work: Work, case_id: str) -> None:
    attempt(database, work, f"{case_id}:0:pacs", SENT)
    assert view(database, case_id).row.state is CaseState.DELIVERING
    attempt(database, work, f"{case_id}:0:lis", SENT)
    assert view(database, case_id).row.state is CaseState.REPORTED


def test_what_a_person_must_see_is_held_after_delivery(database: Database, work: Work, case_id: str) -> None:
    with database.write() as connection:
        cases.note(connection, case_id, "noted", hold_cause="too few cells", result_status="P")
    for name in ("pacs", "lis"):
        attempt(database, work, f"{case_id}:0:{name}", SENT)
    row = view(database, case_id).row
    assert (row.state, row.cause) == (CaseState.HELD, "too few cells")
    with database.write() as connection:
        dispatch.accept(connection, work, case_id, "anna", "seen")
    assert view(database, case_id).row.state is CaseState.REPORTED


def test_absent_peer_is_tried_again_ever_later(database: Database, work: Work, case_id: str) -> None:
    for _ in range(2):
        attempt(database, work, f"{case_id}:0:pacs", DOWN)
    assert waits(database) == [0, 0, 10, 15]
    pacs = next(each for each in view(database, case_id).deliveries if each.destination == "pacs")
    assert (pacs.state, pacs.attempts, pacs.last_error) == ("pending", 2, "no answer")
    attempt(database, work, f"{case_id}:0:pacs", DOWN)
    attempt(database, work, f"{case_id}:0:lis", SENT)
    found = view(database, case_id)
    assert {each.destination: each.state for each in found.deliveries} == {"pacs": "dead", "lis": "sent"}
    assert found.row.state is CaseState.FAILED
    assert "pacs: no answer" in found.row.cause


def test_refusal_is_not_tried_again(database: Database, work: Work, case_id: str) -> None:
    attempt(database, work, f"{case_id}:0:pacs", REFUSED)
    assert waits(database) == [0, 0]
    pacs = next(each for each in view(database, case_id).deliveries if each.destination == "pacs")
    assert (pacs.state, pacs.attempts) == ("refused", 1)


def test_requeue_repeats_only_what_failed(database: Database, work: Work, case_id: str) -> None:
    attempt(database, work, f"{case_id}:0:lis", SENT)
    attempt(database, work, f"{case_id}:0:pacs", REFUSED)
    with database.write() as connection:
        assert "delivered again" in dispatch.requeue(connection, work, case_id, "anna")
    found = view(database, case_id)
    assert found.row.state is CaseState.DELIVERING
    assert {each.destination: each.state for each in found.deliveries} == {"pacs": "pending", "lis": "sent"}
    attempt(database, work, f"{case_id}:0:pacs", SENT)
    assert view(database, case_id).row.state is CaseState.REPORTED


def test_attempt_that_was_overtaken_is_not_due(database: Database, case_id: str) -> None:
    with database.read() as connection:
        assert delivery_book.pending(connection, f"{case_id}:0:pacs", 0, 1) is not None
        assert delivery_book.pending(connection, f"{case_id}:0:pacs", 0, 2) is None
        assert delivery_book.pending(connection, f"{case_id}:0:pacs", 1, 1) is None


def test_opening_twice_is_opening_once(database: Database, work: Work, case_id: str) -> None:
    with database.write() as connection:
        delivery_book.open_deliveries(connection, work, case_id, 0, BOTH)
    assert len(view(database, case_id).deliveries) == 2
    assert waits(database) == [0, 0]


def test_older_result_never_follows_a_newer_one_to_the_lis(database: Database, work: Work, case_id: str) -> None:
    with database.write() as connection:
        delivery_book.open_deliveries(connection, work, case_id, 1, BOTH)
    states = {(each.destination, each.revision): each.state for each in view(database, case_id).deliveries}
    assert states[("lis", 0)] == "superseded"
    assert states[("pacs", 0)] == "pending"


def test_result_that_is_out_is_followed_by_a_new_revision(database: Database, work: Work, case_id: str) -> None:
    for name in ("pacs", "lis"):
        attempt(database, work, f"{case_id}:0:{name}", SENT)
    with database.write() as connection:
        connection.execute(
            slides.insert().values(
                series_instance_uid="2.25.1",
                study_instance_uid="2.25.2",
                state="complete",
                digest="ab" * 32,
                first_instance_at=view(database, case_id).row.created_at,
                last_instance_at=view(database, case_id).row.created_at,
            )
        )
        cases.note(connection, case_id, "a slide", series_instance_uid="2.25.1")
        dispatch.queue_case(connection, work, case_id, "again")
        case = cases.current(connection, case_id)
    assert (case.state, case.revision, case.run) == (CaseState.QUEUED, 1, 1)


def test_case_without_slide_is_not_queued(database: Database, work: Work) -> None:
    with pytest.raises(WrongState, match="no slide"), database.write() as connection:
        dispatch.queue_case(connection, work, cases.create(connection, CaseState.ORDERED, "x"), "y")
