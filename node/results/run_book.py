"""What each run of a case counted: with its analysis, all that a result is made from but the order."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.engine import Connection

from node.tables import runs
from pipeline.domain import BundleInfo, SlideInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run: the files of the slide, and `field_um`, the side of the square that the classifier saw of each cell."""

    case_id: str
    run: int
    revision: int  # of its first result
    files: tuple[Path, ...]
    slide: SlideInfo
    bundle: BundleInfo
    field_um: float
    warnings: tuple[str, ...]
    analysed_at: datetime


_RECORD = TypeAdapter(RunRecord)


def keep_run(connection: Connection, record: RunRecord) -> None:
    """Store the record of a run, in place of an earlier one."""
    connection.execute(runs.delete().where(runs.c.case_id == record.case_id, runs.c.run == record.run))
    values = _RECORD.dump_python(record, mode="json") | {"analysed_at": record.analysed_at}
    connection.execute(runs.insert().values(values))


def newest_run(connection: Connection, case_id: str) -> RunRecord | None:
    """The record of the last run of a case that has one."""
    newest = sa.select(runs).where(runs.c.case_id == case_id).order_by(runs.c.run.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return None if row is None else _RECORD.validate_python(row._asdict())


def read_run(connection: Connection, case_id: str, run: int) -> RunRecord | None:
    """The record of a run; None for one that has no result, or that was counted before there were such records."""
    row = connection.execute(sa.select(runs).where(runs.c.case_id == case_id, runs.c.run == run)).one_or_none()
    return None if row is None else _RECORD.validate_python(row._asdict())
