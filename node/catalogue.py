"""Every DICOM instance the node keeps, received or made, as DICOMweb searches it; but what was withdrawn is hidden.

The index is filled from the files when it is asked, with what came since; a listener or worker never waits for it.
"""

import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError

from dicom_io.dicomjson import dump
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
from node.database import Database
from node.index_query import SHOWN, narrow
from node.tables import dicom_index, instances, objects

_BATCH = 200
_LATE = timedelta(minutes=10)  # how much later than its time a row may come into sight: clocks, commits
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
    """Answers of a search, each a JSON object, of which `remaining` more follow."""

    records: tuple[bytes, ...]
    remaining: int


class Catalogue:
    """Search over the kept instances; safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._filling = threading.Lock()
        self._filled_to: datetime | None = None

    def held(self, study: str, series: str | None = None, instance: str | None = None) -> tuple[Held, ...]:
        """The instances of a study, of one of its series, or one instance; empty when there is none."""
        wanted = [SHOWN, dicom_index.c.study_instance_uid == study]
        if series is not None:
            wanted.append(dicom_index.c.series_instance_uid == series)
        if instance is not None:
            wanted.append(dicom_index.c.sop_instance_uid == instance)
        asked = sa.select(*_HELD).where(*wanted).order_by(dicom_index.c.series_instance_uid, dicom_index.c.number)
        if instance is not None and (known := self._rows(asked)):
            return tuple(map(_held, known))  # an instance never changes; a viewer asks for thousands of its frames
        self._fill()
        return tuple(map(_held, self._rows(asked)))

    def search(self, query: Query, root: str) -> Found:
        """What matches `query`, one page of it.

        Parameters
        ----------
        query : Query
        root : str
            Address of the DICOMweb service, for the retrieve URLs.
        """
        self._fill()
        wanted, undecided = narrow(query)
        places = sa.select(dicom_index.c.number).where(*wanted)
        if query.level is not Level.INSTANCE:
            first = sa.func.min(dicom_index.c.number).label("number")
            places = sa.select(first).where(*wanted).group_by(_GROUPS[query.level])
        if undecided.keys:
            return self._sift(query, undecided, places, root)
        with self._database.read() as connection:
            total = connection.execute(sa.select(sa.func.count()).select_from(places.subquery())).scalar_one()
        page = places.order_by("number").limit(query.limit).offset(query.offset)
        records = tuple(dump(query.select(record)) for record in self._records(query.level, page, root))
        return Found(records=records, remaining=max(0, total - query.offset - len(records)))

    def _sift(self, query: Query, undecided: Query, places: sa.Select[Any], root: str) -> Found:
        """The page of a query whose last keys are decided by looking at each record."""
        found: list[bytes] = []
        number = 0
        for record in self._records(query.level, places, root):
            if undecided.matches(record):
                number += 1
                if number > query.offset and (query.limit is None or len(found) < query.limit):
                    found.append(dump(query.select(record)))
        return Found(records=tuple(found), remaining=max(0, number - query.offset - len(found)))

    def _records(self, level: Level, places: sa.Select[Any], root: str) -> Iterator[dict[str, Any]]:
        """A record for each of the places in the index."""
        numbers = sorted(row.number for row in self._rows(places))
        for start in range(0, len(numbers), _BATCH):
            batch = dicom_index.c.number.in_(numbers[start : start + _BATCH])
            rows = self._rows(sa.select(dicom_index).where(batch).order_by(dicom_index.c.number))
            if level is Level.INSTANCE:
                yield from (instance_record(row.attributes, _address(level, row, root)) for row in rows)
                continue
            make = study_record if level is Level.STUDY else series_record
            contents = self._contents(level, rows)
            for row in rows:
                yield make(row.attributes, contents[row._mapping[_GROUPS[level]]], _address(level, row, root))

    def _contents(self, level: Level, rows: Sequence[Row[Any]]) -> dict[str, Contents]:
        """What the studies or series of these rows hold."""
        group = _GROUPS[level]
        kinds = (dicom_index.c.series_instance_uid, dicom_index.c.modality, dicom_index.c.sop_class_uid)
        asked = (
            sa.select(group.label("place"), *kinds, sa.func.count().label("number"))
            .where(SHOWN, group.in_([row._mapping[group] for row in rows]))
            .group_by(group, *kinds)
            .order_by("place", *kinds)
        )
        parts = self._rows(asked)
        return {place: _sum(list(each)) for place, each in itertools.groupby(parts, key=lambda row: str(row.place))}

    def _rows(self, asked: sa.Select[Any]) -> list[Row[Any]]:
        with self._database.read() as connection:
            return list(connection.execute(asked).all())

    def _fill(self) -> None:
        """Index what was received or made since the last time."""
        with self._filling:
            began = datetime.now(UTC)
            while missing := self._missing():
                entries = [_entry(row.sop_instance_uid, Path(row.path)) for row in missing]
                try:
                    with self._database.write() as connection:
                        connection.execute(dicom_index.insert(), entries)
                except IntegrityError:  # another node on the same database was faster
                    continue
            self._filled_to = began - _LATE

    def _missing(self) -> list[Row[Any]]:
        new = []
        for table, added_at in ((instances, instances.c.received_at), (objects, objects.c.created_at)):
            asked = sa.select(table.c.sop_instance_uid, table.c.path).where(
                table.c.sop_instance_uid != "",
                ~sa.exists().where(dicom_index.c.sop_instance_uid == table.c.sop_instance_uid),
            )
            new.append(asked if self._filled_to is None else asked.where(added_at >= self._filled_to))
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


_GROUPS = {Level.STUDY: dicom_index.c.study_instance_uid, Level.SERIES: dicom_index.c.series_instance_uid}


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
        "accession_number": header.accession_number,
        "patient_id": header.patient.patient_id,
        "patient_name": _searched_name(attributes),
        "study_date": _first(attributes, "00080020"),
    }


def _searched_name(attributes: dict[str, Any]) -> str:
    """Every writing of the patient's name, in lower case."""
    writings = _first(attributes, "00100010")
    return "=".join(writings.values()).casefold() if isinstance(writings, dict) else ""


def _first(attributes: dict[str, Any], tag: str) -> Any:  # noqa: ANN401 - as the JSON model has it
    """The first value of an attribute; empty where there is none."""
    return next((value for value in attributes.get(tag, {}).get("Value", ()) if value is not None), "")


_TEXTS = (
    "study_instance_uid",
    "series_instance_uid",
    "sop_class_uid",
    "modality",
    "transfer_syntax_uid",
    "accession_number",
    "patient_id",
    "patient_name",
    "study_date",
)
_HELD = [dicom_index.c[field.name] for field in fields(Held)]


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
