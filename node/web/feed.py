"""Cases as they change, for any number of open pages, by one reader of the database."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import structlog

from node.views import CaseRow

_OVERLAP = timedelta(seconds=5)  # clocks of several machines and commits in flight
_log = structlog.get_logger(__name__)


class Changes:
    """What one page has yet to be told: of each case the newest row, so that a slow page skips and never lags."""

    def __init__(self, rows: Iterable[CaseRow]) -> None:
        self._rows = {row.case_id: row for row in rows}
        self._any = asyncio.Event()
        if self._rows:
            self._any.set()

    def put(self, row: CaseRow) -> None:
        self._rows[row.case_id] = row
        self._any.set()

    async def get(self) -> CaseRow:
        """The next one, once there is one."""
        await self._any.wait()
        row = self._rows.pop(next(iter(self._rows)))
        if not self._rows:
            self._any.clear()
        return row


class CaseFeed:
    """Reads changed rows every `interval_s` while a page listens, and hands each change to every page."""

    def __init__(self, changed_since: Callable[[datetime], tuple[CaseRow, ...]], interval_s: float) -> None:
        self._changed_since = changed_since
        self._interval_s = interval_s
        self._pages: set[Changes] = set()
        self._known: dict[str, CaseRow] = {}  # what changed of late
        self._reader: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[Changes]:
        """What changes from now on, and what changed in the last seconds, while the page read its first rows."""
        page = Changes(self._known.values())
        self._pages.add(page)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        try:
            yield page
        finally:
            self._pages.discard(page)
            if not self._pages and self._reader is not None:
                self._reader.cancel()
                self._reader = None
                self._known = {}

    async def _read(self) -> None:
        since = datetime.now(UTC)
        while True:
            started = datetime.now(UTC)
            try:
                rows = await asyncio.to_thread(self._changed_since, since - _OVERLAP)
            except Exception as error:  # a listener outlives a database that is away for a moment
                _log.warning("worklist feed cannot read the cases", kind=type(error).__name__)
            else:
                since = started
                self._publish(rows)
            await asyncio.sleep(self._interval_s)

    def _publish(self, rows: tuple[CaseRow, ...]) -> None:
        fresh = [row for row in rows if self._known.get(row.case_id) != row]
        self._known = {row.case_id: row for row in rows}
        for page in self._pages:
            for row in fresh:
                page.put(row)
