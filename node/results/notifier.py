"""The web hook of an urgent case: one POST with who and why in the site's own numbers, and nothing of the patient.

It is asked for in the transaction that makes the case urgent, once for each case and reason, and tried again as a
delivery is; unlike one it neither holds the case up nor fails it. A receiver that was heard, but whose answer was lost
with the node, is told twice.
"""

from collections.abc import Mapping
from enum import StrEnum

import httpx
from sqlalchemy.engine import Connection

from node import cases
from node.database import Database
from node.queues import DELIVERIES, NOTIFY, Work
from node.settings import NotifySettings, Settings
from node.views import CaseState
from pipeline.domain import ResultStatus

_PARTITION = ":notify"  # no destination has such a name
_AFTER_ALL = frozenset({httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS})
_SEEN = frozenset({ResultStatus.FINAL.value, ResultStatus.CORRECTED.value})


class Reason(StrEnum):
    """Why a case is urgent."""

    BLASTS = "blasts"


def ask_if_urgent(connection: Connection, work: Work, settings: NotifySettings, case_id: str) -> None:
    """Have the site told of a case that has become urgent, unless it was before or wants no notice."""
    if settings.url and cases.current(connection, case_id).urgent:
        _ask(connection, work, case_id, Reason.BLASTS, 1)


class Notifier:
    """Carries out the attempts to tell the site."""

    def __init__(self, settings: Settings, database: Database, work: Work) -> None:
        self._settings = settings
        self._database = database
        self._work = work

    def attempt(self, case_id: str, reason: str, number: int) -> None:
        """Try once; what came of the first attempt and of the last is an event of the case."""
        with self._database.read() as connection:
            case = cases.current(connection, case_id)
        if not self._settings.notify.url or case.state == CaseState.CANCELLED or case.result_status in _SEEN:
            return  # a person has looked
        page = f"{self._settings.web.public_url}/cases/{case_id}"
        problem, passes = self._post(
            {"case_id": case_id, "accession_number": case.accession_number, "reason": reason, "page": page}
        )
        retry = self._settings.retry
        again = passes and number < retry.delivery_attempts
        with self._database.write() as connection:
            if not problem:
                cases.note(connection, case_id, f"the site was notified: {reason}")
            elif not again:
                cases.note(connection, case_id, f"the site was not notified of {reason}: {problem}. Tell it by hand")
            elif number == 1:
                cases.note(
                    connection, case_id, f"the site is not notified of {reason} yet: {problem}. It is tried again"
                )
            if again:
                wait_s = min(retry.delivery_first_s * retry.backoff ** (number - 1), retry.delivery_longest_s)
                _ask(connection, self._work, case_id, reason, number + 1, delay_s=wait_s)

    def _post(self, notice: Mapping[str, str]) -> tuple[str, bool]:
        """What went wrong, without the address, which may hold a secret; and whether that may pass."""
        try:
            answer = httpx.post(self._settings.notify.url, json=notice, timeout=self._settings.retry.delivery_timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            return f"notify.url cannot be reached ({type(exc).__name__})", True
        if answer.is_success:
            return "", False
        passes = answer.is_server_error or answer.status_code in _AFTER_ALL
        return f"notify.url answered HTTP {answer.status_code}", passes


def _ask(connection: Connection, work: Work, case_id: str, reason: str, attempt: int, *, delay_s: float = 0.0) -> None:
    key = f"{case_id}:{reason}:{attempt}"
    work.ask(connection, NOTIFY, key, case_id, reason, attempt, queue=DELIVERIES, partition=_PARTITION, delay_s=delay_s)
