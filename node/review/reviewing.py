"""What reviewers do to a counted case: look, change cells, sign.

Everything is said of one run. A case that is counted again begins a new review; the earlier one stays in the book.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from node import audit, cases, dispatch
from node.database import Database
from node.errors import NoAnalysis, ReviewConflict, ReviewRefused, WrongState
from node.people.accounts import Person
from node.queues import Work
from node.recent import Recent
from node.results import notifier, run_book
from node.results.alerts import Alert, alerts, for_worklist
from node.results.run_book import RunRecord
from node.review import marking, review_book
from node.review.agreement import Choices
from node.review.cell_book import CellBook
from node.review.marking import CellTable, Change, Marks, Progress, Wanted
from node.review.review_book import Signature
from node.settings import Settings
from node.tables import cases as case_table
from node.tables import objects
from node.views import CaseState, tells_classes
from pipeline.domain import Analysis, DifferentialCount, ResultStatus

_COUNTED = (CaseState.DELIVERING, CaseState.REPORTED, CaseState.HELD, CaseState.FAILED)
_COUNTED_AGAIN = (CaseState.QUEUED, CaseState.RUNNING)
_KEPT_TABLES = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Review:
    """The review of a case's current run as it stands. `may_sign` is about the case, not about who asks."""

    run: int
    revision: int
    status: ResultStatus | None
    record: RunRecord | None  # None when an earlier version of the node counted the case
    analysis: Analysis
    table: CellTable
    marks: Marks
    progress: Progress
    count: DifferentialCount  # of the final classes
    hidden: int  # cells whose class is not shown yet: blind review
    shown: tuple[DifferentialCount, DifferentialCount]  # the model's count and the experts', without hidden cells
    alerts: tuple[Alert, ...]
    signed: Signature | None
    may_sign: bool

    @property
    def changed_since_signed(self) -> bool:
        """Whether what is shown is not what was signed last."""
        return self.signed is not None and not _is_signed(self.signed, self.run, self.marks.version)


class _Latest:
    """The cells of a run, and what experts chose of them as read last."""

    def __init__(self, table: CellTable) -> None:
        self.table = table
        self.marks = marking.no_marks(table)


class Reviewing:
    """Reviews of the cases people look at; safe to use from several threads and beside other processes."""

    def __init__(self, settings: Settings, database: Database, work: Work, cells: CellBook) -> None:
        self._settings = settings
        self._database = database
        self._work = work
        self._cells = cells
        self._latest: Recent[tuple[str, int], _Latest] = Recent(_KEPT_TABLES, self._begin)

    def open(self, case_id: str) -> Review:
        """The review of the current run.

        Raises
        ------
        UnknownCase, NoAnalysis
            There is no such case, or it has no counted cells.
        """
        run = self._cells.run_of(case_id)
        latest = self._latest.get((case_id, run))
        with self._database.read() as connection:
            case = cases.current(connection, case_id)
            latest.marks = marks = _newest(connection, case_id, run, latest)
            signed = review_book.last_signature(connection, case_id)
            record = run_book.read_run(connection, case_id, run)
        progress = marking.progress(latest.table, marks)
        count = marking.recount(latest.table, marks, self._settings.analysis)
        return Review(
            run=run,
            revision=case.revision,
            status=ResultStatus(case.result_status) if case.result_status else None,
            record=record,
            analysis=self._cells.analysis(case_id, run),
            table=latest.table,
            marks=marks,
            progress=progress,
            count=count,
            hidden=int(marking.hidden(latest.table, marks).sum()),
            shown=marking.shown_counts(latest.table, marks, self._settings.analysis),
            alerts=alerts(count, self._settings, progress.open),
            signed=signed,
            may_sign=case.run == run and not _obstacle(case, record, marks, count, signed),
        )

    def hides(self, case_id: str) -> bool:
        """Whether cells of the current run still wait for their blind choice.

        Raises
        ------
        UnknownCase
            There is no such case.
        """
        if not self._settings.review.blind_share:
            return False
        try:
            return self.open(case_id).hidden > 0
        except NoAnalysis:
            return False

    def withholds(self, sop_instance_uid: str) -> bool:
        """Whether an object is a result that tells classes which blind review hides."""
        if not self._settings.review.blind_share:
            return False
        made = sa.select(objects.c.case_id, objects.c.kind).where(objects.c.sop_instance_uid == sop_instance_uid)
        with self._database.read() as connection:
            rows = connection.execute(made).all()
        return any(tells_classes(row.kind) and self.hides(row.case_id) for row in rows)

    def change(self, case_id: str, run: int, wanted: Sequence[Wanted], person: Person) -> tuple[Change, ...]:
        """Keep changes of cells, all or none, and what they do to the alerts of the case.

        Raises
        ------
        UnknownCase, NoAnalysis
            As above.
        ReviewRefused
            They make no sense: an unknown cell or class, a cell twice, nothing to take back.
        ReviewConflict
            Somebody else changed one of the cells since it was seen, or the case was counted again.
        WrongState
            The case is cancelled.
        """
        latest = self._counted(case_id, run)
        with self._database.write() as connection:
            _reviewable(connection, case_id, run)
            marks = _newest(connection, case_id, run, latest)
            if late := marking.stale(latest.table, marks, wanted):
                theirs = review_book.read_versions(connection, late)
                raise ReviewConflict("somebody else has changed cells meanwhile", theirs)
            now = datetime.now(UTC)
            drafted = marking.draft(latest.table, marks, wanted, person.name, now)
            kept = review_book.keep_changes(connection, case_id, run, drafted, after=marks.version)
            count = marking.recount(latest.table, marking.mark(latest.table, marks, kept), self._settings.analysis)
            texts, urgent = for_worklist(alerts(count, self._settings))
            connection.execute(
                case_table.update()
                .where(case_table.c.id == case_id)
                .values(review_alerts=texts, urgent=urgent, updated_at=now)
            )
            notifier.ask_if_urgent(connection, self._work, self._settings.notify, case_id)
            detail = f"run {run}: {len(kept)} cells, versions {kept[0].version} to {kept[-1].version}"
            audit.record(connection, person.name, "cells changed", subject=case_id, detail=detail)
        return kept

    def changes(self, case_id: str, after: int) -> tuple[Change, ...]:
        """The changes of the current run with versions above `after`, oldest first."""
        run = self._cells.run_of(case_id)
        with self._database.read() as connection:
            return review_book.read_changes(connection, case_id, run, after=after)

    def history(self, case_id: str, run: int, cell: int) -> tuple[Change, ...]:
        """The changes of one cell, oldest first."""
        with self._database.read() as connection:
            return review_book.read_history(connection, case_id, run, cell)

    def choices(self, *, blind: bool) -> tuple[Choices, ...]:
        """What experts chose in all cases, beside what the model did."""
        with self._database.read() as connection:
            return review_book.count_choices(connection, blind=blind)

    def sign(self, case_id: str, run: int, version: int, person: Person, reason: str) -> None:
        """Sign the review as it was seen; the worker makes and sends the new revision of the result.

        Raises
        ------
        UnknownCase, NoAnalysis
            As above.
        ReviewConflict
            The review or the run have moved on since.
        ReviewRefused
            Cells that must be reviewed are not, and no reason is given; or there is nothing left to sign.
        WrongState
            The case cannot be signed as it is.
        """
        latest = self._counted(case_id, run)
        with self._database.write() as connection:
            case = _reviewable(connection, case_id, run)
            marks = _newest(connection, case_id, run, latest)
            if marks.version != version:
                raise ReviewConflict("the review has moved on since it was read; look at the changes, then sign")
            earlier = review_book.last_signature(connection, case_id)
            sent = review_book.last_signed_result(connection, case_id)
            count = marking.recount(latest.table, marks, self._settings.analysis)
            record = run_book.read_run(connection, case_id, run)
            if obstacle := _obstacle(case, record, marks, count, earlier):
                raise WrongState(obstacle)
            assert record is not None  # that would be an obstacle
            left = marking.progress(latest.table, marks).open
            if left and not reason:
                raise ReviewRefused(f"{left} cells must be reviewed first; review them, or give a reason")
            signature = Signature(
                case_id=case_id,
                revision=case.revision + 1,
                run=run,
                version=version,
                status=ResultStatus.CORRECTED if sent else ResultStatus.FINAL,
                name=person.name,
                full_name=person.full_name,
                reason=reason if left else "",
                at=_signing_time(record, case.revision + 1, earlier),
            )
            dispatch.queue_signature(connection, self._work, signature)
            detail = f"revision {signature.revision}, {signature.status}, run {run}, version {version}, {left} open"
            audit.record(connection, person.name, "case signed", subject=case_id, detail=detail)

    def _begin(self, key: tuple[str, int]) -> _Latest:
        case_id, run = key
        analysis = self._cells.analysis(case_id, run)
        return _Latest(marking.table_of(analysis, self._settings.review.blind_share, f"{case_id}:{run}"))

    def _counted(self, case_id: str, run: int) -> _Latest:
        if self._cells.run_of(case_id) != run:
            raise ReviewConflict("the case was counted again since; load its new count")
        return self._latest.get((case_id, run))


def _newest(connection: Connection, case_id: str, run: int, latest: _Latest) -> Marks:
    known = latest.marks
    changes = review_book.read_changes(connection, case_id, run, after=known.version)
    signed = known.signed or review_book.is_signed(connection, case_id, run)
    return replace(marking.mark(latest.table, known, changes), signed=signed)


def _reviewable(connection: Connection, case_id: str, run: int) -> Row[Any]:
    """The case, if this run is what it stands at."""
    case = cases.current(connection, case_id)
    if case.run != run or case.state in _COUNTED_AGAIN:
        raise ReviewConflict("the case is counted again; wait for its new count")
    if case.state not in _COUNTED:
        msg = f"the case is {case.state}; only a counted case is reviewed"
        raise WrongState(msg)
    return case


def _obstacle(
    case: Row[Any], record: RunRecord | None, marks: Marks, count: DifferentialCount, signed: Signature | None
) -> str:
    """Why the review of a case's current run cannot be signed now; empty when it can."""
    if case.state not in _COUNTED:
        return f"the case is {case.state}; only a counted case is signed"
    if record is None:
        return "an earlier version of the node counted this case; requeue it, then review it"
    if case.state == CaseState.DELIVERING and case.stage == dispatch.SIGNING:
        return "a signature is being carried out; wait until its result is made"
    if signed is not None and _is_signed(signed, case.run, marks.version):
        return "the review is signed as it stands; change a cell to correct it"
    if not count.total:
        return "no counted cell is left, so there is no result to sign; count the slide again, or cancel the case"
    return ""


def _is_signed(signature: Signature, run: int, version: int) -> bool:
    return (signature.run, signature.version) == (run, version)


def _signing_time(record: RunRecord, revision: int, earlier: Signature | None) -> datetime:
    """Now, but in whole seconds later than every result sent before: receivers keep the one with the latest time."""
    sent = [record.analysed_at + timedelta(seconds=revision)]
    if earlier is not None:
        sent.append(earlier.at + timedelta(seconds=1))
    return max(datetime.now(UTC), *sent)
