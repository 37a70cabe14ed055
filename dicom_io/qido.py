"""Searching and answering like QIDO-RS (PS3.18 section 10.6, PS3.4 C.2.2.2)."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from dicom_io.dicomjson import to_json
from dicom_io.header import read_dataset
from dicom_io.matching import key_of, matches, values_of

_LARGEST_TEXT = 1024
_LARGEST_NUMBER = 9  # digits; a database counts no further
_INDEXED_GROUPS = frozenset({0x0008, 0x0010, 0x0018, 0x0020, 0x0028, 0x0040, 0x0048})
_INDEXED_SEQUENCES = frozenset({"RequestAttributesSequence"})  # PS3.18 table 10.6.1-5
_PAGING = frozenset({"limit", "offset", "includefield", "fuzzymatching", "emptyvaluematching", "multiplevaluematching"})
_ALIASES = {"PersonName": "PatientName"}  # what one viewer asks for


class Level(StrEnum):
    """What one result is."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


def _tags(keywords: str) -> frozenset[str]:
    return frozenset(f"{tag_for_keyword(keyword):08X}" for keyword in keywords.split())


# PS3.18 tables 10.6.3-3 to 10.6.3-5, and what viewers choose their layers by.
_RETURNED = {
    Level.STUDY: _tags(
        "StudyDate StudyTime AccessionNumber InstanceAvailability ModalitiesInStudy SOPClassesInStudy "
        "ReferringPhysicianName TimezoneOffsetFromUTC StudyDescription RetrieveURL PatientName PatientID "
        "IssuerOfPatientID PatientBirthDate PatientSex StudyInstanceUID StudyID NumberOfStudyRelatedSeries "
        "NumberOfStudyRelatedInstances"
    ),
    Level.SERIES: _tags(
        "SeriesDate SeriesTime Modality SeriesDescription RetrieveURL InstanceAvailability SeriesInstanceUID "
        "SeriesNumber FrameOfReferenceUID NumberOfSeriesRelatedInstances PerformedProcedureStepStartDate "
        "PerformedProcedureStepStartTime RequestAttributesSequence TimezoneOffsetFromUTC ContainerIdentifier "
        "StudyInstanceUID"
    ),
    Level.INSTANCE: _tags(
        "ImageType SOPClassUID SOPInstanceUID InstanceAvailability RetrieveURL AvailableTransferSyntaxUID "
        "InstanceNumber NumberOfFrames Rows Columns BitsAllocated TotalPixelMatrixColumns TotalPixelMatrixRows "
        "TimezoneOffsetFromUTC StudyInstanceUID SeriesInstanceUID"
    ),
}


_ABOVE = {Level.STUDY: (), Level.SERIES: (Level.STUDY,), Level.INSTANCE: (Level.STUDY, Level.SERIES)}
_UID_OF = {Level.STUDY: "StudyInstanceUID", Level.SERIES: "SeriesInstanceUID", Level.INSTANCE: "SOPInstanceUID"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked for.

    Attributes
    ----------
    keys : tuple of (key, values)
        All must match; one of the values of each.
    include : frozenset of str
        Tags wanted beside the usual ones.
    include_all : bool
        Every attribute that is indexed.
    above : tuple of Level
        Levels whose attributes are answered too: those the address does not name (relational, PS3.18 10.6.3.3).
    ignored : tuple of str
        Parameters that mean nothing here; the answer warns of them.
    """

    level: Level
    keys: tuple[tuple[str, tuple[str, ...]], ...] = ()
    include: frozenset[str] = frozenset()
    include_all: bool = False
    above: tuple[Level, ...] = ()
    fuzzy: bool = False
    limit: int | None = None
    offset: int = 0
    ignored: tuple[str, ...] = ()

    def matches(self, record: Mapping[str, Any]) -> bool:
        """True when `record` (DICOM JSON) satisfies every key."""
        return all(matches(record, key, values, fuzzy=self.fuzzy) for key, values in self.keys)

    def select(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes of `record` to answer with, in order of tag; those asked by are among them."""
        wanted = self.include.union(*(_RETURNED[level] for level in (self.level, *self.above)))
        wanted |= {key[:8] for key, _ in self.keys}
        return {tag: value for tag, value in sorted(record.items()) if self.include_all or tag in wanted}


class BadQuery(ValueError):
    """A parameter of the query has no meaning; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def parse_query(
    level: Level, parameters: Sequence[tuple[str, str]], within: Mapping[Level, str] | None = None
) -> Query:
    """Read the parameters of an address.

    Parameters
    ----------
    level : Level
        What one result is.
    parameters : Sequence of (name, value)
    within : Mapping[Level, str], optional
        UIDs the address itself names: the study, or the study and the series, to search in.

    Raises
    ------
    BadQuery
        `limit` or `offset` is not a whole number, or a value that must be a date range is not one.
    """
    within = within or {}
    given: dict[str, list[tuple[str, ...]]] = {}
    include: set[str] = set()
    ignored: list[str] = []
    options: dict[str, str] = {}
    for name, value in parameters:
        if name == "includefield":
            fields = [field for field in value.split(",") if field]
            include.update(key[:8] for field in fields if (key := key_of(field)))
            ignored.extend(field for field in fields if field != "all" and not key_of(field))
            options.update({"all": "true"} if "all" in fields else {})
        elif name in _PAGING:
            options[name] = value
        elif key := key_of(_ALIASES.get(name, name)):
            given.setdefault(key, []).append(_values(key, name, value))
        else:
            ignored.append(name)
    # A key that is given again adds to its values, which is how some clients write lists.
    keys = {key: tuple(itertools.chain(*lists)) if all(lists) else () for key, lists in given.items()}
    keys |= {key_of(_UID_OF[above]): (uid,) for above, uid in within.items()}
    return Query(
        level=level,
        above=tuple(above for above in _ABOVE[level] if above not in within),
        keys=tuple(keys.items()),
        include=frozenset(include),
        include_all="all" in options,
        fuzzy=options.get("fuzzymatching", "").lower() == "true",
        limit=_whole("limit", options["limit"]) if options.get("limit") else None,
        offset=_whole("offset", options.get("offset") or "0"),
        ignored=tuple(dict.fromkeys(ignored)),
    )


def indexed_attributes(path: Path) -> dict[str, Any]:
    """What can be searched of the instance at `path`: its short top-level attributes, as DICOM JSON.

    Raises
    ------
    SlideError
        The file cannot be read.
    """
    ds = read_dataset(path)
    short = Dataset()
    for element in ds:
        plain = element.tag.group in _INDEXED_GROUPS and element.VR != "SQ" and len(str(element.value)) <= _LARGEST_TEXT
        if plain or element.keyword in _INDEXED_SEQUENCES:
            short.add(element)
    record = to_json(short, None)
    record["00083002"] = {"vr": "UI", "Value": [str(ds.file_meta.TransferSyntaxUID)]}
    return {tag: value for tag, value in record.items() if "InlineBinary" not in value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a study or series holds."""

    modalities: tuple[str, ...]
    sop_classes: tuple[str, ...]
    series: int
    instances: int


def study_record(attributes: Mapping[str, Any], contents: Contents, url: str) -> dict[str, Any]:
    """A study, from the indexed attributes of one of its instances; Modality matches any of its modalities."""
    return {
        **attributes,
        **_online(url),
        "00080060": _attribute("CS", *contents.modalities),
        "00080061": _attribute("CS", *contents.modalities),
        "00080062": _attribute("UI", *contents.sop_classes),
        "00201206": _attribute("IS", contents.series),
        "00201208": _attribute("IS", contents.instances),
    }


def series_record(attributes: Mapping[str, Any], contents: Contents, url: str) -> dict[str, Any]:
    """A series, from the indexed attributes of one of its instances."""
    return {**attributes, **_online(url), "00201209": _attribute("IS", contents.instances)}


def instance_record(attributes: Mapping[str, Any], url: str) -> dict[str, Any]:
    """An instance, from its indexed attributes."""
    return {**attributes, **_online(url)}


def _online(url: str) -> dict[str, Any]:
    """Where it is retrieved from."""
    return {"00080056": _attribute("CS", "ONLINE"), "00081190": _attribute("UR", url)}


def _attribute(vr: str, *values: object) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def _whole(field: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > _LARGEST_NUMBER:
        raise BadQuery(field, f"{field} must be a whole number of at most {_LARGEST_NUMBER} digits")
    return int(value)


def _values(key: str, name: str, text: str) -> tuple[str, ...]:
    try:
        return values_of(key, text)
    except ValueError as exc:
        raise BadQuery(name, f"{name} must be a value or a range such as 20260101-20260131") from exc
