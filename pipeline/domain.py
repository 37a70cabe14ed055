"""The nouns every package shares: Order + Slide → Region → Tile → Cell → DifferentialCount → Report.

Coordinates are level-0 pixels, 0-based, (x, y); a box is half-open. Resolution is `mpp`, µm per pixel.
The 22 classes and the 16 counted ones are those of Zhou et al. 2025, doi 10.3389/fmed.2025.1624683.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

RgbImage = NDArray[np.uint8]  # (H, W, 3), 0..255, sRGB
Polygon = NDArray[np.float64]  # (N, 2) of (x, y), open: the first point is not repeated

COUNTED_CLASSES = (
    "myeloblast",
    "promyelocyte",
    "intermediate neutrophilic myelocyte",
    "late neutrophilic myelocyte",
    "band neutrophil",
    "segmented neutrophil",
    "eosinophil",
    "basophil",
    "promonocyte",
    "immature monocyte",
    "monocyte",
    "lymphocyte",
    "plasma cell",
    "early erythroblast",
    "intermediate erythroblast",
    "late erythroblast",
)
EXCLUDED_CLASSES = (
    "prolymphocyte",
    "atypical lymphocyte",
    "immature lymphocyte",
    "smudge cell",
    "apoptotic cell",
    "others",
)
CELL_CLASSES = COUNTED_CLASSES + EXCLUDED_CLASSES


class Priority(StrEnum):
    """HL7 table 0485, the three a laboratory schedules by."""

    STAT = "S"
    ASAP = "A"
    ROUTINE = "R"


class ResultStatus(StrEnum):
    """HL7 table 0085 as this node uses it (OBX-11, OBR-25)."""

    PRELIMINARY = "P"
    FINAL = "F"
    CORRECTED = "C"
    NO_RESULT = "X"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Who the specimen is from. `name` is family, given, middle, prefix and suffix joined by `^`."""

    patient_id: str
    issuer: str = ""
    name: str = ""
    birth_date: date | None = None
    sex: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityId:
    """An identifier with the authority that gave it (HL7 EI)."""

    value: str
    namespace: str = ""
    universal_id: str = ""
    universal_id_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request to analyse the smear of one patient."""

    patient: Patient
    placer_order_number: EntityId | None = None
    filler_order_number: EntityId | None = None
    accession_number: str = ""
    container_ids: tuple[str, ...] = ()
    specimen_ids: tuple[str, ...] = ()
    specimen_type: str = ""
    test_code: str = ""
    test_name: str = ""
    priority: Priority = Priority.ROUTINE
    collected_at: datetime | None = None
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A half-open rectangle: x0 <= x < x1, y0 <= y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def size(self) -> tuple[int, int]:
        return self.x1 - self.x0, self.y1 - self.y0


class Slide(Protocol):
    """What the pipeline needs of a slide; implemented by `DicomSlide` and the tests' `ArraySlide`."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of level 0."""

    @property
    def mpp(self) -> float:
        """µm per level-0 pixel."""

    def read(self, box: Box, mpp: float) -> RgbImage:
        """The box resampled to `mpp`: round(side * self.mpp / mpp) pixels a side; outside the slide is white."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideInfo:
    """What a slide says of itself: identity, geometry, scanner."""

    study_instance_uid: str
    series_instance_uid: str
    container_identifier: str
    specimen_identifier: str
    accession_number: str
    patient: Patient
    size: tuple[int, int]
    mpp: float
    manufacturer: str = ""
    model_name: str = ""
    serial_number: str = ""
    acquired_at: datetime | None = None
    synthetic: bool = False
    digest: str = ""  # sha-256 over the sorted SOP instance UIDs and file digests of the slide


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """A countable area (body-tail junction)."""

    polygon: Polygon
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One grid square inside a region; counted when `countable`."""

    box: Box
    probability: float
    countable: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    """One nucleated cell. `probabilities` follow CELL_CLASSES; classes unknown to the bundle have 0."""

    id: int
    box: Box
    polygon: Polygon
    class_name: str
    probability: float
    probabilities: tuple[float, ...]
    review: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One of the 16 rows of the differential. `percent` has one decimal; the 16 add to 100.0."""

    name: str
    count: int
    percent: float
    ci95: tuple[float, float]
    flag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferentialCount:
    """The 16-component count. `me_ratio` is None when no erythroid cell was counted."""

    total: int
    components: tuple[Component, ...]
    me_ratio: float | None
    me_definition: str
    excluded: tuple[tuple[str, int], ...]  # in the order of EXCLUDED_CLASSES


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleInfo:
    """Which locked model gave a result."""

    name: str
    version: str
    digest: str
    classes: tuple[str, ...]

    @property
    def unrecognised(self) -> tuple[str, ...]:
        """Classes of CELL_CLASSES this bundle cannot return."""
        return tuple(name for name in CELL_CLASSES if name not in self.classes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysis:
    """What the pipeline saw on one slide.

    `saliency` (N, g, g), 0..255, says for each of `cells` where in its square crop the classifier looked.
    """

    regions: tuple[Region, ...]
    tiles: tuple[Tile, ...]
    cells: tuple[Cell, ...]
    differential: DifferentialCount
    warnings: tuple[str, ...]
    timings_s: tuple[tuple[str, float], ...]
    saliency: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """What leaves the node: everything SEG, ANN, SR and ORU are made from.

    `analysis` is None when the slide could not be counted; then `reason` says why and `status` is NO_RESULT.
    `revision` is 0 for the first result of a case and grows with each one sent after it. A person, `reviewer`, stands
    for it since `signed_at`; what a correction replaces is the count signed before, `replaces`.
    """

    case_id: str
    order: Order | None
    slide: SlideInfo
    bundle: BundleInfo
    analysis: Analysis | None
    status: ResultStatus
    analysed_at: datetime
    reason: str = ""
    reviewer: str = ""
    signed_at: datetime | None = None
    replaces: DifferentialCount | None = None
    revision: int = 0
    warnings: tuple[str, ...] = field(default=())
    remarks: tuple[str, ...] = ()  # of the review, in sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCode:
    """The codes of one class, from `config/cell_types.csv`; an empty field means none was verified."""

    name: str
    icsh_name: str
    lineage: str
    counted: bool
    local_code: str
    sct_code: str
    sct_meaning: str
    cl_id: str
    loinc_code: str
    loinc_name: str
    loinc_tier: str  # A, B or C of evidence; empty without a code
