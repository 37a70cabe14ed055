"""Sessions: who has signed in in which browser. The token is 256 random bits, and only its hash is kept here."""

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from node import audit
from node.database import Database
from node.people.accounts import Person, person_of
from node.tables import accounts, sessions

_WRITTEN_EVERY = timedelta(minutes=1)  # a page asks many times a second; when it was last used need not be exact


def token_hash(token: str) -> str:
    """What the database knows a session by."""
    return hashlib.sha256(token.encode()).hexdigest()


class Sessions:
    """The open sessions.

    Parameters
    ----------
    database : Database
    idle_s, longest_s : float
        A session ends so long after it was last used, and so long after it was opened.

    """

    def __init__(self, database: Database, idle_s: float, longest_s: float) -> None:
        self._database = database
        self._idle = timedelta(seconds=idle_s)
        self._longest = timedelta(seconds=longest_s)

    def open(self, person: Person, address: str) -> str:
        """A new session; returns its token."""
        token = secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        over = sa.or_(sessions.c.opened_at <= now - self._longest, sessions.c.used_at <= now - self._idle)
        row = {"token_hash": token_hash(token), "account": person.name, "opened_at": now, "used_at": now}
        with self._database.write() as connection:
            connection.execute(sessions.delete().where(over))
            connection.execute(sessions.insert().values(**row))
            audit.record(connection, person.name, "signed in", detail=address)
        return token

    def person(self, token: str, *, used: bool = True) -> Person | None:
        """Whose session this is, None when it has ended; `used` is false for what a page does by itself."""
        now = datetime.now(UTC)
        this = sessions.c.token_hash == token_hash(token)
        wanted = (
            sa.select(accounts, sessions.c.used_at)
            .join(sessions)
            .where(
                this,
                sessions.c.opened_at > now - self._longest,
                sessions.c.used_at > now - self._idle,
                accounts.c.disabled.is_(False),
            )
        )
        with self._database.read() as connection:
            row = connection.execute(wanted).one_or_none()
        if row is None:
            return None
        if used and now - row.used_at > min(_WRITTEN_EVERY, self._idle / 10):
            with self._database.write() as connection:
                connection.execute(sessions.update().where(this).values(used_at=now))
        return person_of(row)

    def close(self, token: str) -> None:
        """End a session."""
        this = sessions.c.token_hash == token_hash(token)
        with self._database.write() as connection:
            name = connection.execute(sa.select(sessions.c.account).where(this)).scalar_one_or_none()
            if name is not None:
                connection.execute(sessions.delete().where(this))
                audit.record(connection, name, "signed out")
