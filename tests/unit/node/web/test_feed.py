"""Changes reach every listening page once, also after the database was away."""

import asyncio
from datetime import datetime

from node.views import CaseRow, CaseState
from node.web.feed import CaseFeed, Changes
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

    async def seen_by(page: Changes) -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []
        while ("A", 0.3) not in seen:
            changed = await page.get()
            seen.append((changed.case_id, changed.progress))
        return seen

    async def listen() -> list[list[tuple[str, float]]]:
        feed = CaseFeed(changed_since, 0.001)
        async with feed.listen() as first, feed.listen() as second:
            return await asyncio.gather(seen_by(first), seen_by(second))

    for seen in asyncio.run(asyncio.wait_for(listen(), 30)):
        assert dict(seen) == {"A": 0.3, "B": 0.2}
        assert len(set(seen)) == len(seen)


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


def test_a_slow_page_is_told_the_newest_of_each_case_only() -> None:
    answers = iter([(row("A", step / 1000), row("B", 0.2)) for step in range(1000)])

    def changed_since(_moment: datetime) -> tuple[CaseRow, ...]:
        return next(answers, (row("A", 1.0), row("B", 0.2)))

    async def listen() -> list[tuple[str, float]]:
        feed = CaseFeed(changed_since, 0)
        async with feed.listen() as quick, feed.listen() as slow:
            while (await quick.get()).progress < 1.0:
                pass
            return [(seen.case_id, seen.progress) for seen in (await slow.get(), await slow.get())]

    assert asyncio.run(listen()) == [("A", 1.0), ("B", 0.2)]


def test_what_changed_while_a_page_read_its_first_rows_is_told_to_it() -> None:
    async def listen() -> float:
        feed = CaseFeed(lambda _moment: (row("A", 0.7),), 0.001)
        async with feed.listen() as first:
            await first.get()
            async with feed.listen() as late:
                return (await asyncio.wait_for(late.get(), 10)).progress

    assert asyncio.run(listen()) == 0.7
