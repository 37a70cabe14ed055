"""Changes reach every listening page once, also after the database was away."""

import asyncio
from datetime import datetime

from node.views import CaseRow, CaseState
from node.web.feed import CaseFeed
from pipeline.domain import Priority

NOON = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


def row(case_id: str, progress: float) -> CaseRow:
    return CaseRow(
        case_id=case_id,
        state=CaseState.RUNNING,
        priority=Priority.ROUTINE,
        accession_number="",
        patient_id="",
        patient_name="",
        container_id="",
        created_at=NOON,
        changed_at=NOON,
        cause="",
        stage="cells",
        progress=progress,
        synthetic=False,
    )


def test_each_change_reaches_every_page_once() -> None:
    answers = iter([(row("A", 0.1),), (row("A", 0.1), row("B", 0.2)), (row("A", 0.3), row("B", 0.2))])

    def changed_since(_moment: datetime) -> tuple[CaseRow, ...]:
        return next(answers, ())

    async def listen() -> list[list[tuple[str, float]]]:
        feed = CaseFeed(changed_since, 0.001)
        async with feed.listen() as first, feed.listen() as second:
            return [
                [(seen.case_id, seen.progress) for seen in [await page.get() for _ in range(3)]]
                for page in (first, second)
            ]

    assert asyncio.run(listen()) == [[("A", 0.1), ("B", 0.2), ("A", 0.3)]] * 2


def test_reading_goes_on_after_the_database_was_away() -> None:
    failures = [OSError("database is away")]

    def changed_since(_moment: datetime) -> tuple[CaseRow, ...]:
        if failures:
            raise failures.pop()
        return (row("A", 0.5),)

    async def listen() -> CaseRow:
        async with CaseFeed(changed_since, 0.001).listen() as page:
            return await asyncio.wait_for(page.get(), 10)

    assert asyncio.run(listen()).progress == 0.5
