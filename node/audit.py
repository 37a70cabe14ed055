"""Who did what to which case: kept in the database, apart from the technical log."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from node.tables import audit


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What somebody did, as it is kept."""

    at: datetime
    actor: str
    action: str
    subject: str
    detail: str


def record(connection: Connection, actor: str, action: str, *, subject: str = "", detail: str = "") -> None:
    """Keep one action, in the transaction that carries it out.

    `actor` is a person, an AE title or a sending application; `subject` a case, an object or a message.
    """
    connection.execute(
        audit.insert().values(at=datetime.now(UTC), actor=actor, action=action, subject=subject, detail=detail)
    )


def record_once(
    connection: Connection, actor: str, action: str, *, subject: str, detail: str, within: timedelta
) -> None:
    """Keep an action, unless the very same was kept so short a time ago."""
    same = sa.exists().where(
        audit.c.at > datetime.now(UTC) - within,
        audit.c.actor == actor,
        audit.c.action == action,
        audit.c.subject == subject,
        audit.c.detail == detail,
    )
    if not connection.execute(sa.select(same)).scalar_one():
        record(connection, actor, action, subject=subject, detail=detail)


def read(connection: Connection, subject: str) -> tuple[Entry, ...]:
    """What was done to a case, an object or an account, oldest first."""
    rows = connection.execute(sa.select(audit).where(audit.c.subject == subject).order_by(audit.c.id))
    return tuple(
        Entry(at=row.at, actor=row.actor, action=row.action, subject=row.subject, detail=row.detail) for row in rows
    )
