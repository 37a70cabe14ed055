"""Deliveries: one row per result and destination, its attempts, and what their outcome does to the case."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from node import cases
from node.queues import DELIVER, DELIVERIES, Work
from node.settings import RetrySettings
from node.tables import deliveries
from node.views import CaseState


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one attempt: delivered when `problem` is empty."""

    problem: str = ""
    retryable: bool = False


def open_deliveries(
    connection: Connection, work: Work, case_id: str, revision: int, destinations: Sequence[tuple[str, str]]
) -> None:
    """Start one delivery per (destination, kind); an older result still on its way to the LIS is superseded."""
    now = datetime.now(UTC)
    supersede(connection, case_id, revision)
    for destination, kind in destinations:
        delivery_id = f"{case_id}:{revision}:{destination}"
        known = connection.execute(sa.select(deliveries.c.id).where(deliveries.c.id == delivery_id)).one_or_none()
        if known is not None:
            continue
        connection.execute(
            deliveries.insert().values(
                id=delivery_id,
                case_id=case_id,
                revision=revision,
                destination=destination,
                kind=kind,
                state="pending",
                updated_at=now,
            )
        )
        _ask(connection, work, delivery_id, destination, 0, 1)


def supersede(connection: Connection, case_id: str, revision: int, kinds: Sequence[str] = ("hl7",)) -> None:
    """Send the LIS, or destinations of the `kinds`, no result below `revision` any more."""
    connection.execute(
        deliveries.update()
        .where(
            deliveries.c.case_id == case_id,
            deliveries.c.revision < revision,
            deliveries.c.kind.in_(kinds),
            deliveries.c.state != "sent",
        )
        .values(state="superseded", updated_at=datetime.now(UTC), next_attempt_at=None)
    )


def hand_over(connection: Connection, row: Row[Any]) -> bool:
    """Keep that a LIS is given the result now; False when the attempt was overtaken, and nothing may be sent."""
    if pending(connection, row.id, row.generation, row.attempts + 1) is None:
        return False
    handed = deliveries.update().where(deliveries.c.id == row.id)
    connection.execute(handed.values(handed_over_at=row.handed_over_at or datetime.now(UTC)))
    return True


def take_back(connection: Connection, row: Row[Any]) -> None:
    """The LIS surely did not take what this attempt gave it; an earlier attempt is another matter."""
    taken_back = deliveries.update().where(deliveries.c.id == row.id)
    connection.execute(taken_back.values(handed_over_at=row.handed_over_at))


def restart_deliveries(connection: Connection, work: Work, case_id: str, revision: int) -> int:
    """Try again what was refused or given up; returns how many deliveries that is."""
    stopped = connection.execute(
        sa.select(deliveries).where(
            deliveries.c.case_id == case_id,
            deliveries.c.revision == revision,
            deliveries.c.state.in_(("refused", "dead")),
        )
    ).all()
    for row in stopped:
        connection.execute(
            deliveries.update()
            .where(deliveries.c.id == row.id)
            .values(state="pending", generation=row.generation + 1, attempts=0, updated_at=datetime.now(UTC))
        )
        _ask(connection, work, row.id, row.destination, row.generation + 1, 1)
    return len(stopped)


def pending(connection: Connection, delivery_id: str, generation: int, attempt: int) -> Row[Any] | None:
    """The delivery, when this attempt is the one that is due; None when it is over or was overtaken."""
    return connection.execute(
        sa.select(deliveries).where(
            deliveries.c.id == delivery_id,
            deliveries.c.state == "pending",
            deliveries.c.generation == generation,
            deliveries.c.attempts == attempt - 1,
        )
    ).one_or_none()


def settle(connection: Connection, work: Work, row: Row[Any], attempt: Attempt, retry: RetrySettings) -> None:
    """Record an attempt, ask for the next one when there is to be one, and close the case when all is delivered."""
    now = datetime.now(UTC)
    number = row.attempts + 1
    again = bool(attempt.problem) and attempt.retryable and number < retry.delivery_attempts
    wait_s = min(retry.delivery_first_s * retry.backoff ** (number - 1), retry.delivery_longest_s)
    connection.execute(
        deliveries.update()
        .where(deliveries.c.id == row.id)
        .values(
            state=_state_after(attempt, again=again),
            attempts=number,
            problem=attempt.problem,
            next_attempt_at=now + timedelta(seconds=wait_s) if again else None,
            updated_at=now,
        )
    )
    if again:
        _ask(connection, work, row.id, row.destination, row.generation, number + 1, delay_s=wait_s)
    else:
        close_case(connection, row.case_id, row.revision)


def close_case(connection: Connection, case_id: str, revision: int) -> None:
    """End a case whose deliveries of `revision` have all ended: reported, held with its cause, or failed."""
    case = cases.current(connection, case_id)
    if case.state != CaseState.DELIVERING or case.revision != revision:
        return
    rows = connection.execute(
        sa.select(deliveries).where(deliveries.c.case_id == case_id, deliveries.c.revision == revision)
    ).all()
    if any(row.state == "pending" for row in rows):
        return
    failed = [row for row in rows if row.state in {"refused", "dead"}]
    if failed:
        causes = "; ".join(f"{row.destination}: {row.problem}" for row in failed)
        cause = f"not delivered to {causes}. Requeue when the destination takes results again"
        cases.move(connection, case_id, CaseState.FAILED, cause)
    elif case.hold_cause:
        cases.move(connection, case_id, CaseState.HELD, case.hold_cause)
    else:
        names = ", ".join(row.destination for row in rows)
        cases.move(
            connection,
            case_id,
            CaseState.REPORTED,
            f"delivered to {names}" if names else "no destination is configured",
        )


def _state_after(attempt: Attempt, *, again: bool) -> str:
    if not attempt.problem:
        return "sent"
    if again:
        return "pending"
    return "dead" if attempt.retryable else "refused"


def _ask(
    connection: Connection,
    work: Work,
    delivery_id: str,
    destination: str,
    generation: int,
    attempt: int,
    *,
    delay_s: float = 0.0,
) -> None:
    work.ask(
        connection,
        DELIVER,
        f"{delivery_id}:{generation}:{attempt}",
        delivery_id,
        generation,
        attempt,
        queue=DELIVERIES,
        partition=destination,
        delay_s=delay_s,
    )
