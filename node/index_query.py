"""A QIDO-RS query in SQL over the index: which rows can match, and whether those are just the ones that do."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from dicom_io.matching import key_of
from dicom_io.qido import Level, Query
from node.tables import dicom_index, objects, withdrawals

_Condition = sa.ColumnElement[bool]
_WILD = re.compile(r"[*?]")
_DAY = re.compile(r"[0-9]{8}")
_TAKEN_BACK = (
    sa.select(objects.c.sop_instance_uid)
    .join(withdrawals, sa.and_(withdrawals.c.case_id == objects.c.case_id, withdrawals.c.revision > objects.c.revision))
    .where(objects.c.case_id.in_(sa.select(withdrawals.c.case_id)))  # few: found by their cases, not by all objects
)
# What can be read, and what no person has withdrawn (IHE RAD IOCM: to be hidden, not deleted).
SHOWN = sa.and_(dicom_index.c.study_instance_uid != "", dicom_index.c.sop_instance_uid.not_in(_TAKEN_BACK))


def narrow(query: Query) -> tuple[list[_Condition], Query]:
    """Conditions that every matching row fulfils, and the query with the keys that they leave undecided."""
    found: list[_Condition] = [SHOWN]
    undecided = []
    for key, values in query.keys:
        condition, decided = _condition(query, key, values) if values else (None, True)
        if condition is not None:
            found.append(condition)
        if not decided:
            undecided.append((key, values))
    return found, replace(query, keys=tuple(undecided))


def _condition(query: Query, key: str, values: Sequence[str]) -> tuple[_Condition | None, bool]:
    if key in _OF_STUDY or (key == _MODALITY and query.level is Level.STUDY):
        condition, _ = _listed(_LISTS[_OF_STUDY.get(key, key)], values)
        studies = sa.select(dicom_index.c.study_instance_uid).where(condition, SHOWN)
        return dicom_index.c.study_instance_uid.in_(studies), True
    if key in _LISTS:
        return _listed(_LISTS[key], values)
    if key == _STUDY_DATE:
        return _dated(dicom_index.c.study_date, values)
    if key == _PATIENT_NAME:
        return _named(dicom_index.c.patient_name, values, words=query.fuzzy), False
    return None, False


def _listed(column: sa.Column[str], values: Sequence[str]) -> tuple[_Condition, bool]:
    """One of the values; with wildcards those that look alike, as databases differ on upper and lower case."""
    if not any(map(_WILD.search, values)):
        return column.in_(values), True
    return sa.or_(*(_like(column, value) for value in values)), False


def _dated(column: sa.Column[str], values: Sequence[str]) -> tuple[_Condition | None, bool]:
    (value, *more) = values
    low, dash, high = value.partition("-")
    if more or not all(_DAY.fullmatch(day) for day in (low, high) if day):
        return None, False
    if not dash:
        return column == low, True
    limits = ([column >= low] if low else []) + ([column <= high] if high else [])
    return sa.and_(column != "", *limits), True


def _named(column: sa.Column[str], values: Sequence[str], *, words: bool) -> _Condition:
    """Names that hold what is asked for, in order; or, of a fuzzy query, each of its words."""
    split: Callable[[str], list[str]] = re.compile(r"[\^\s,]+").split if words else lambda value: [value]
    return sa.or_(
        *(
            sa.and_(sa.true(), *(_like(column, f"*{part.casefold().rstrip('^')}*") for part in split(value) if part))
            for value in values
        )
    )


def _like(column: sa.Column[str], value: str) -> _Condition:
    escaped = re.sub(r"([%_!])", r"!\1", value)
    return column.like(escaped.replace("*", "%").replace("?", "_"), escape="!")


_MODALITY, _STUDY_DATE, _PATIENT_NAME = map(key_of, ("Modality", "StudyDate", "PatientName"))
_LISTS: dict[str, sa.Column[Any]] = {
    _MODALITY: dicom_index.c.modality,
    key_of("StudyInstanceUID"): dicom_index.c.study_instance_uid,
    key_of("SeriesInstanceUID"): dicom_index.c.series_instance_uid,
    key_of("SOPInstanceUID"): dicom_index.c.sop_instance_uid,
    key_of("SOPClassUID"): dicom_index.c.sop_class_uid,
    key_of("AccessionNumber"): dicom_index.c.accession_number,
    key_of("PatientID"): dicom_index.c.patient_id,
}
# What a study holds is asked of all its instances, also where the answers are series or instances.
_OF_STUDY = {key_of("ModalitiesInStudy"): _MODALITY, key_of("SOPClassesInStudy"): key_of("SOPClassUID")}
