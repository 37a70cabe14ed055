"""Who did what to which case: kept in the database, apart from the technical log."""

from datetime import UTC, datetime

from sqlalchemy.engine import Connection

from node.database import audit


def record(connection: Connection, actor: str, action: str, *, subject: str = "", detail: str = "") -> None:
    """Keep one action, in the transaction that carries it out.

    `actor` is a person, an AE title or a sending application; `subject` a case, an object or a message.
    """
    connection.execute(
        audit.insert().values(at=datetime.now(UTC), actor=actor, action=action, subject=subject, detail=detail)
    )
