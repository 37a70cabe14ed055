"""The book of results that were taken back, append-only. The functions take the caller's transaction."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from node.tables import cases, withdrawals


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Who took back what a case had sent of `run` and before; `revision` says so, and why, to everyone it went to."""

    case_id: str
    revision: int
    run: int
    series_instance_uid: str  # of the slide that the case had
    name: str  # of the account
    reason: str
    at: datetime


def keep(connection: Connection, withdrawal: Withdrawal) -> None:
    """Add a withdrawal to the book."""
    connection.execute(withdrawals.insert().values(**asdict(withdrawal)))


def read(connection: Connection, case_id: str, revision: int) -> Withdrawal | None:
    """The withdrawal that a revision of a result is; None when it is none."""
    row = connection.execute(
        sa.select(withdrawals).where(withdrawals.c.case_id == case_id, withdrawals.c.revision == revision)
    ).one_or_none()
    return None if row is None else Withdrawal(**row._asdict())


def taken_back(case_id: str, before: int | None = None) -> sa.ScalarSelect[int]:
    """The newest revision, or newest `before` one, that took back those below it, or -1: what they signed is void."""
    newest = sa.select(sa.func.coalesce(sa.func.max(withdrawals.c.revision), -1))
    wanted = newest.where(withdrawals.c.case_id == case_id)
    return (wanted if before is None else wanted.where(withdrawals.c.revision < before)).scalar_subquery()


def orders_without(connection: Connection, series: str, order_ids: Collection[str]) -> frozenset[str]:
    """Those of the orders that a person took this slide from: it does not find them by itself again."""
    taken = (
        sa.select(cases.c.order_id)
        .join(withdrawals, withdrawals.c.case_id == cases.c.id)
        .where(withdrawals.c.series_instance_uid == series, cases.c.order_id.in_(order_ids))
    )
    return frozenset(connection.execute(taken).scalars())
