"""Who looked at which case: audited once an hour for each session, however often its pages ask."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import groupby
from threading import Lock

import sqlalchemy as sa
from fastapi import Request

from node import audit
from node.catalogue import Held
from node.database import Database
from node.people.accounts import Person
from node.people.sessions import token_hash
from node.tables import cases, objects
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

    def note(self, case_id: str, actor: str, detail: str) -> None:
        """Somebody has read of a case, `detail` says how; a case that does not exist leaves no trace."""
        key = (actor, detail, case_id)
        if self._is_kept(key):
            return
        with self._database.read() as connection:
            if not connection.execute(sa.select(sa.exists().where(cases.c.id == case_id))).scalar_one():
                return
        with self._database.write() as connection:
            audit.record_once(connection, actor, "case opened", subject=case_id, detail=detail, within=EVERY)
        self._keep(key)

    def note_instances(self, held: Iterable[Held], actor: str, detail: str) -> None:
        """Somebody has read these instances, ordered by series: slides of cases, and results that cases made."""
        for series, instances in groupby(held, key=lambda each: each.series_instance_uid):
            key = (actor, detail, series)
            if self._is_kept(key):  # a viewer asks for thousands of frames
                continue
            found = self._cases_of(series, [each.sop_instance_uid for each in instances])
            for case_id in found:
                self.note(case_id, actor, detail)
            if found:
                self._keep(key)

    def _cases_of(self, series: str, instances: list[str]) -> list[str]:
        of_slide = sa.select(cases.c.id).where(cases.c.series_instance_uid == series)
        of_results = sa.select(objects.c.case_id).where(objects.c.sop_instance_uid.in_(instances))
        with self._database.read() as connection:
            return list(connection.execute(of_slide.union(of_results)).scalars())

    def _is_kept(self, key: tuple[str, str, str]) -> bool:
        now = datetime.now(UTC)
        with self._lock:
            return now - self._kept.get(key, now - EVERY) < EVERY

    def _keep(self, key: tuple[str, str, str]) -> None:
        now = datetime.now(UTC)
        with self._lock:
            self._kept = {other: at for other, at in self._kept.items() if now - at < EVERY}
            self._kept[key] = now


def audit_opening(request: Request, sources: Sources, person: Viewer) -> None:
    """For every address of a case: what a person reads, not what an open page asks by itself."""
    case_id = request.path_params.get("case_id")
    if case_id is None or is_unattended(request):
        return
    opened: OpenedCases = request.app.state.opened_cases
    opened.note(case_id, person.name, session_of(request, person))


def session_of(request: Request, person: Person) -> str:
    """The session that a person reads in, as the audit names it; empty without one."""
    token = "" if person.demo else request.cookies.get(COOKIE, "")
    return f"session {token_hash(token)[:_SESSION_LETTERS]}" if token else ""
