"""The book of reviews: changes of cells and signatures, both append-only. The functions take the caller's transaction.

Writers take turns (`Database.write`), so the versions of changes ascend in the order in which they are seen.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from node.results import withdrawal_book
from node.review.agreement import Choices
from node.review.marking import Change
from node.tables import cell_changes, deliveries, objects, signatures
from pipeline.domain import ResultStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who signed which state of a review: the changes of `run` up to `version`, sent as `revision` of the result."""

    case_id: str
    revision: int
    run: int
    version: int
    status: ResultStatus  # final, or corrected when one was signed before
    name: str  # of the account
    full_name: str
    reason: str
    at: datetime


def read_changes(
    connection: Connection, case_id: str, run: int, *, after: int = 0, until: int | None = None
) -> tuple[Change, ...]:
    """The changes of a run, oldest first, with versions above `after` and up to `until`."""
    wanted = sa.select(cell_changes).where(
        cell_changes.c.case_id == case_id, cell_changes.c.run == run, cell_changes.c.id > after
    )
    if until is not None:
        wanted = wanted.where(cell_changes.c.id <= until)
    return tuple(_change(row) for row in connection.execute(wanted.order_by(cell_changes.c.id)))


def read_history(connection: Connection, case_id: str, run: int, cell: int) -> tuple[Change, ...]:
    """The changes of one cell, oldest first."""
    wanted = sa.select(cell_changes).where(
        cell_changes.c.case_id == case_id, cell_changes.c.run == run, cell_changes.c.cell_id == cell
    )
    return tuple(_change(row) for row in connection.execute(wanted.order_by(cell_changes.c.id)))


def read_versions(connection: Connection, versions: Sequence[int]) -> tuple[Change, ...]:
    """The changes with these versions, oldest first."""
    wanted = sa.select(cell_changes).where(cell_changes.c.id.in_(versions))
    return tuple(_change(row) for row in connection.execute(wanted.order_by(cell_changes.c.id)))


def keep_changes(
    connection: Connection, case_id: str, run: int, changes: Sequence[Change], *, after: int
) -> tuple[Change, ...]:
    """Add changes to the book of a run whose newest is `after`; returns them with their versions."""
    rows = [
        {
            "case_id": case_id,
            "run": run,
            "cell_id": change.cell,
            "class_name": change.class_name,
            "previous": change.previous,
            "model": change.model,
            "actor": change.actor,
            "at": change.at,
            "blind": change.blind,
        }
        for change in changes
    ]
    connection.execute(cell_changes.insert(), rows)
    return read_changes(connection, case_id, run, after=after)


def keep_signature(connection: Connection, signature: Signature) -> None:
    """Add a signature to the book."""
    connection.execute(signatures.insert().values(**asdict(signature)))


def last_signature(connection: Connection, case_id: str) -> Signature | None:
    """The newest signature of a case that was not taken back."""
    return _newest(connection, _valid(case_id))


def last_signed_result(connection: Connection, case_id: str, *, before: int | None = None) -> Signature | None:
    """The newest of these whose result was made, or the newest such below revision `before`."""
    made = sa.exists().where(objects.c.case_id == case_id, objects.c.revision == signatures.c.revision)
    wanted = _valid(case_id).where(made)
    return _newest(connection, wanted if before is None else wanted.where(signatures.c.revision < before))


def read_signature(connection: Connection, case_id: str, revision: int) -> Signature | None:
    """The signature of one revision; None when nobody signed it."""
    row = connection.execute(
        sa.select(signatures).where(signatures.c.case_id == case_id, signatures.c.revision == revision)
    ).one_or_none()
    return None if row is None else _signature(row)


def is_signed(connection: Connection, case_id: str, run: int) -> bool:
    """Whether a state of the run's review was ever signed."""
    signed = sa.exists().where(signatures.c.case_id == case_id, signatures.c.run == run)
    return bool(connection.execute(sa.select(signed)).scalar_one())


def lis_may_have(connection: Connection, case_id: str) -> bool:
    """Whether a signed result of the case may have reached a LIS."""
    signed = sa.exists().where(signatures.c.case_id == case_id, signatures.c.revision == deliveries.c.revision)
    reached = sa.exists().where(deliveries.c.case_id == case_id, deliveries.c.handed_over_at.is_not(None), signed)
    return bool(connection.execute(sa.select(reached)).scalar_one())


def has_begun(connection: Connection, case_id: str, run: int) -> bool:
    """Whether an expert has changed a cell of the run, or signed any."""
    changed = sa.exists().where(cell_changes.c.case_id == case_id, cell_changes.c.run == run)
    signed = sa.exists().where(signatures.c.case_id == case_id)
    return bool(connection.execute(sa.select(sa.or_(changed, signed))).scalar_one())


def count_choices(connection: Connection, *, blind: bool) -> tuple[Choices, ...]:
    """The classes that experts and model gave the same cells, by month: the newest of each cell, or the blind."""
    counted: sa.ColumnElement[bool] = cell_changes.c.blind
    if not blind:
        newest = sa.select(sa.func.max(cell_changes.c.id)).group_by(
            cell_changes.c.case_id, cell_changes.c.run, cell_changes.c.cell_id
        )
        counted = cell_changes.c.id.in_(newest)
    key = (
        sa.extract("year", cell_changes.c.at).label("year"),
        sa.extract("month", cell_changes.c.at).label("month"),
        cell_changes.c.model,
        cell_changes.c.class_name,
    )
    rows = connection.execute(
        sa.select(*key, sa.func.count().label("cells"))
        .where(counted, cell_changes.c.class_name.is_not(None))
        .group_by(*key)
    )
    return tuple(
        Choices(
            month=f"{int(row.year):04d}-{int(row.month):02d}", model=row.model, expert=row.class_name, cells=row.cells
        )
        for row in rows
    )


def _valid(case_id: str) -> sa.Select[Any]:
    return sa.select(signatures).where(
        signatures.c.case_id == case_id, signatures.c.revision > withdrawal_book.taken_back(case_id)
    )


def _newest(connection: Connection, wanted: sa.Select[Any]) -> Signature | None:
    row = connection.execute(wanted.order_by(signatures.c.revision.desc()).limit(1)).one_or_none()
    return None if row is None else _signature(row)


def _change(row: Row[Any]) -> Change:
    return Change(
        version=row.id,
        cell=row.cell_id,
        class_name=row.class_name,
        previous=row.previous,
        model=row.model,
        actor=row.actor,
        at=row.at,
        blind=row.blind,
    )


def _signature(row: Row[Any]) -> Signature:
    return Signature(**{**row._asdict(), "status": ResultStatus(row.status)})
