"""What the pages show of a case: read-only values between `node/cases.py` and `node/web`.

`cases.py` fills them from the database; `node/web` turns them into JSON and never sees a table.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pipeline.domain import Order, Priority, ResultStatus, SlideInfo


class CaseState(StrEnum):
    """ordered → waiting → queued → running → delivering → reported; aside held, failed, cancelled."""

    ORDERED = "ordered"
    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    DELIVERING = "delivering"
    REPORTED = "reported"
    HELD = "held"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRow:
    """One line of the worklist."""

    case_id: str
    state: CaseState
    priority: Priority
    accession_number: str
    patient_id: str
    patient_name: str  # family^given
    container_id: str
    created_at: datetime  # with time zone
    changed_at: datetime  # of state, stage or progress
    cause: str  # why it is held, failed or cancelled, with the remedy; empty otherwise
    stage: str  # what the workflow does now, e.g. "cells"; empty when it does not run
    progress: float  # 0..1 of the whole case
    synthetic: bool
    alerts: tuple[str, ...] = ()
    urgent: bool = False  # an alert that puts it before every other case


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistQuery:
    """Which part of the worklist. Each word of `search` is in the accession, patient id or name, container or id."""

    search: str = ""
    states: tuple[CaseState, ...] = ()  # empty: all
    sort: str = "priority"  # priority (urgent, then STAT, then oldest), age, state, accession, patient, changed
    descending: bool = False
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistPage:
    """`total` counts what the query matches; `counts` each state of the whole worklist."""

    rows: tuple[CaseRow, ...]
    total: int
    counts: tuple[tuple[CaseState, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseEvent:
    """One change of a case, as stored: when, to which state, why."""

    at: datetime
    state: CaseState
    cause: str
    actor: str = ""  # who: "listener", "worker", a reviewer's name


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """What one destination has received of one revision."""

    destination: str  # the name of the settings
    kind: str  # dicom, stow or hl7
    state: str  # pending, sent, refused, dead
    attempts: int
    last_error: str
    changed_at: datetime
    revision: int


_CLASSLESS = frozenset({"SEGROI", "SR3D", "KO"})  # what says nothing of a cell's class


def tells_classes(kind: str) -> bool:
    """Whether files of this kind tell the classes of cells, or count them: what blind review keeps back."""
    return kind not in _CLASSLESS


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFile:
    """One downloadable object of a case. `name` is unique within the case."""

    name: str  # file name, e.g. result.json, overview.png, seg.dcm, ann.dcm, sr.dcm, oru.hl7, cells.geojson
    kind: str  # RESULT, OVERVIEW, SEG, ANN, SR, SR3D, PDFDCM, KO, ORU, GEOJSON, PDF
    path: Path
    media_type: str
    revision: int
    sop_instance_uid: str = ""
    series_instance_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """Everything of one case but its result, which is the file of kind RESULT (design.md, `result.json`)."""

    row: CaseRow
    order: Order | None
    has_slide: bool  # from its arrival on; `slides` has it once it was read
    slides: tuple[SlideInfo, ...]
    status: ResultStatus | None  # None before a first report
    revision: int
    events: tuple[CaseEvent, ...]
    deliveries: tuple[DeliveryView, ...]
    files: tuple[CaseFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of /health/ready."""

    name: str  # database, disk, worker, bundle
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassView:
    """One cell class as the pages name and colour it; `counted` ones are the rows of the differential."""

    name: str
    icsh_name: str
    lineage: str
    counted: bool
    color: str  # "#rrggbb", the colour of its SEG segment and ANN group
