"""Every DICOM instance the node keeps, received or made, as DICOMweb searches it.

The index is filled from the files when it is asked, with what came since; a listener or worker never waits for it.
"""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError

from dicom_io.errors import DicomError
from dicom_io.header import parse_header
from dicom_io.qido import (
    Contents,
    Level,
    Query,
    indexed_attributes,
    instance_record,
    series_record,
    study_record,
)
from node.database import Database, dicom_index, instances, objects

_BATCH = 200
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One kept instance."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    modality: str
    transfer_syntax_uid: str
    number_of_frames: int
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Answers of a search, of which `remaining` more follow."""

    records: tuple[dict[str, Any], ...]
    remaining: int


class Catalogue:
    """Search over the kept instances; safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._filling = threading.Lock()

    def held(self, study: str, series: str | None = None, instance: str | None = None) -> tuple[Held, ...]:
        """The instances of a study, of one of its series, or one instance; empty when there is none."""
        wanted = [dicom_index.c.study_instance_uid == study]
        if series is not None:
            wanted.append(dicom_index.c.series_instance_uid == series)
        if instance is not None:
            wanted.append(dicom_index.c.sop_instance_uid == instance)
        asked = sa.select(dicom_index).where(*wanted).order_by(dicom_index.c.series_instance_uid, dicom_index.c.number)
        return tuple(_held(row) for row in self._rows(asked))

    def search(self, query: Query, root: str) -> Found:
        """What matches `query`, one page of it.

        Parameters
        ----------
        query : Query
        root : str
            Address of the DICOMweb service, for the retrieve URLs.
        """
        records = [record for record in self._records(query, root) if query.matches(record)]
        end = len(records) if query.limit is None else query.offset + query.limit
        page = tuple(query.select(record) for record in records[query.offset : end])
        return Found(records=page, remaining=max(0, len(records) - end))

    def _records(self, query: Query, root: str) -> Iterator[dict[str, Any]]:
        wanted: list[sa.ColumnElement[bool]] = [
            column.in_(values)
            for keyword, column in _COLUMNS.items()
            if (values := query.values_of(keyword)) and keyword in _SELECTIVE[query.level]
        ]
        if query.level is Level.INSTANCE:
            asked = sa.select(dicom_index).where(*wanted, _READABLE).order_by(dicom_index.c.number)
            yield from (instance_record(row.attributes, _address(query.level, row, root)) for row in self._rows(asked))
            return
        group = _COLUMNS["StudyInstanceUID" if query.level is Level.STUDY else "SeriesInstanceUID"]
        first = sa.select(sa.func.min(dicom_index.c.number)).where(*wanted, _READABLE).group_by(group)
        asked = sa.select(dicom_index).where(dicom_index.c.number.in_(first)).order_by(dicom_index.c.number)
        rows = self._rows(asked)
        contents = self._contents(wanted, group)
        make = study_record if query.level is Level.STUDY else series_record
        for row in rows:
            yield make(row.attributes, contents[row._mapping[group]], _address(query.level, row, root))

    def _contents(self, wanted: list[sa.ColumnElement[bool]], group: sa.Column[str]) -> dict[str, Contents]:
        kinds = (dicom_index.c.series_instance_uid, dicom_index.c.modality, dicom_index.c.sop_class_uid)
        asked = (
            sa.select(group.label("place"), *kinds, sa.func.count().label("number"))
            .where(*wanted)
            .group_by(group, *kinds)
        )
        with self._database.read() as connection:
            rows = connection.execute(asked.order_by("place", *kinds)).all()
        return {place: _sum(list(parts)) for place, parts in itertools.groupby(rows, key=lambda row: str(row.place))}

    def _rows(self, asked: sa.Select[Any]) -> list[Row[Any]]:
        self._fill()
        with self._database.read() as connection:
            return list(connection.execute(asked).all())

    def _fill(self) -> None:
        """Index what was received or made since the last time."""
        with self._filling:
            while missing := self._missing():
                entries = [_entry(row.sop_instance_uid, Path(row.path)) for row in missing]
                try:
                    with self._database.write() as connection:
                        connection.execute(dicom_index.insert(), entries)
                except IntegrityError:  # another node on the same database was faster
                    continue

    def _missing(self) -> list[Row[Any]]:
        new = [
            sa.select(table.c.sop_instance_uid, table.c.path).where(
                table.c.sop_instance_uid != "",
                ~sa.exists().where(dicom_index.c.sop_instance_uid == table.c.sop_instance_uid),
            )
            for table in (instances, objects)
        ]
        with self._database.read() as connection:
            return list(connection.execute(sa.union(*new).limit(_BATCH)).all())


def _sum(parts: list[Row[Any]]) -> Contents:
    return Contents(
        modalities=tuple(sorted({row.modality for row in parts})),
        sop_classes=tuple(sorted({row.sop_class_uid for row in parts})),
        series=len({row.series_instance_uid for row in parts}),
        instances=sum(row.number for row in parts),
    )


def _address(level: Level, row: Row[Any], root: str) -> str:
    study = f"{root}/studies/{row.study_instance_uid}"
    if level is Level.STUDY:
        return study
    series = f"{study}/series/{row.series_instance_uid}"
    return series if level is Level.SERIES else f"{series}/instances/{row.sop_instance_uid}"


_READABLE = dicom_index.c.study_instance_uid != ""
_COLUMNS = {
    "StudyInstanceUID": dicom_index.c.study_instance_uid,
    "SeriesInstanceUID": dicom_index.c.series_instance_uid,
    "SOPInstanceUID": dicom_index.c.sop_instance_uid,
    "SOPClassUID": dicom_index.c.sop_class_uid,
    "Modality": dicom_index.c.modality,
}
# What narrows a search before anything is read; a study is always counted whole.
_SELECTIVE = {
    Level.STUDY: frozenset({"StudyInstanceUID"}),
    Level.SERIES: frozenset({"StudyInstanceUID", "SeriesInstanceUID", "Modality"}),
    Level.INSTANCE: frozenset(_COLUMNS),
}


def _entry(sop_instance_uid: str, path: Path) -> dict[str, Any]:
    """A row of the index; a file that cannot be read has a row no search finds, so that it is not tried again."""
    entry: dict[str, Any] = {"sop_instance_uid": sop_instance_uid, "path": str(path), "added_at": datetime.now(UTC)}
    try:
        header = parse_header(path)
        attributes = indexed_attributes(path)
    except (DicomError, OSError) as exc:
        _log.warning("instance cannot be indexed", sop_instance_uid=sop_instance_uid, kind=type(exc).__name__)
        return entry | dict.fromkeys(_TEXTS, "") | {"number_of_frames": 0, "attributes": {}}
    return entry | {
        "study_instance_uid": header.study_instance_uid,
        "series_instance_uid": header.series_instance_uid,
        "sop_class_uid": header.sop_class_uid,
        "modality": header.modality,
        "transfer_syntax_uid": header.transfer_syntax_uid,
        "number_of_frames": header.number_of_frames,
        "attributes": attributes,
    }


_TEXTS = ("study_instance_uid", "series_instance_uid", "sop_class_uid", "modality", "transfer_syntax_uid")


def _held(row: Row[Any]) -> Held:
    return Held(
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        sop_instance_uid=row.sop_instance_uid,
        sop_class_uid=row.sop_class_uid,
        modality=row.modality,
        transfer_syntax_uid=row.transfer_syntax_uid,
        number_of_frames=row.number_of_frames,
        path=Path(row.path),
    )
