"""Who looked at which case: audited once an hour for each session, however often its pages ask."""

from datetime import UTC, datetime, timedelta
from threading import Lock

import sqlalchemy as sa
from fastapi import Request

from node import audit
from node.database import Database
from node.people.accounts import Person
from node.people.sessions import token_hash
from node.tables import cases
from node.web.identity import COOKIE, Viewer, is_unattended
from node.web.sources import Sources

EVERY = timedelta(hours=1)
_SESSION_LETTERS = 12  # of its hash: enough to tell sessions apart, nothing to sign in with


class OpenedCases:
    """Keeps that cases were opened; what it remembers spares the database, which has the last word."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[tuple[str, str, str], datetime] = {}
        self._lock = Lock()

    def note(self, case_id: str, person: Person, session: str) -> None:
        """A person has read of a case in a session; a case that does not exist leaves no trace."""
        key, now = (person.name, session, case_id), datetime.now(UTC)
        with self._lock:
            if now - self._kept.get(key, now - EVERY) < EVERY:
                return
            self._kept = {other: at for other, at in self._kept.items() if now - at < EVERY}
        with self._database.read() as connection:
            if not connection.execute(sa.select(sa.exists().where(cases.c.id == case_id))).scalar_one():
                return
        detail = f"session {session}" if session else ""
        with self._database.write() as connection:
            audit.record_once(connection, person.name, "case opened", subject=case_id, detail=detail, within=EVERY)
        with self._lock:
            self._kept[key] = now


def audit_opening(request: Request, sources: Sources, person: Viewer) -> None:
    """For every address of a case: what a person reads, not what an open page asks by itself."""
    case_id = request.path_params.get("case_id")
    if case_id is None or is_unattended(request):
        return
    token = "" if person.demo else request.cookies.get(COOKIE, "")
    opened: OpenedCases = request.app.state.opened_cases
    opened.note(case_id, person, token_hash(token)[:_SESSION_LETTERS] if token else "")
