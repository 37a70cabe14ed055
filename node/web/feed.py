"""Cases as they change, for any number of open pages: one reader of the database, a queue for each page."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import structlog

from node.views import CaseRow

_OVERLAP = timedelta(seconds=5)  # clocks of several machines and commits in flight
_PENDING_PER_PAGE = 1000
_log = structlog.get_logger(__name__)


class CaseFeed:
    """Reads changed rows every `interval_s` while a page listens, and hands each change to every page once."""

    def __init__(self, changed_since: Callable[[datetime], tuple[CaseRow, ...]], interval_s: float) -> None:
        self._changed_since = changed_since
        self._interval_s = interval_s
        self._pages: set[asyncio.Queue[CaseRow]] = set()
        self._known: dict[str, CaseRow] = {}
        self._reader: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[asyncio.Queue[CaseRow]]:
        """A queue that receives every row that changes from now on."""
        page: asyncio.Queue[CaseRow] = asyncio.Queue(_PENDING_PER_PAGE)
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
                if page.full():
                    page.get_nowait()  # the page reads too slowly: it loses the oldest change, never the newest
                page.put_nowait(row)
