"""Values for tests: a Report and its parts, small by default, every field open to change by name.

All are deterministic in their `seed`. `build_report()` is a slide of 2,000 x 1,600 px with 240 cells of every class.
"""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta

from pipeline.domain import (
    CELL_CLASSES,
    COUNTED_CLASSES,
    EXCLUDED_CLASSES,
    Analysis,
    Box,
    BundleInfo,
    Cell,
    CellCode,
    Component,
    DifferentialCount,
    EntityId,
    Order,
    Patient,
    Region,
    Report,
    ResultStatus,
    SlideInfo,
    Tile,
)

REPOSITORY = Path(__file__).resolve().parent.parent
COUNTS = dict(zip(CELL_CLASSES, (4, 8, 17, 22, 31, 40, 6, 1, 2, 1, 4, 25, 3, 9, 20, 27, 2, 3, 1, 6, 3, 5), strict=True))
MYELOID = COUNTED_CLASSES[:11]
ERYTHROID = COUNTED_CLASSES[13:]
TILE_UM = 160.0


def build_patient(**changes: Any) -> Patient:
    patient = Patient(patient_id="TEST-4711", issuer="HOSP", name="Muster^Maria", birth_date=date(1961, 4, 2), sex="F")
    return replace(patient, **changes)


def build_order(**changes: Any) -> Order:
    order = Order(
        patient=build_patient(),
        placer_order_number=EntityId(value="PL-1001", namespace="LIS"),
        filler_order_number=EntityId(value="BMA-1001", namespace="MARROWNODE"),
        accession_number="S26-00017",
        container_ids=("S26-00017-A-1",),
        specimen_ids=("S26-00017-A",),
        specimen_type="119359002",
        test_code="47286-0",
        test_name="Differential panel - Bone marrow",
        collected_at=datetime(2026, 10, 4, 9, 0, tzinfo=UTC),
    )
    return replace(order, **changes)


def build_slide_info(**changes: Any) -> SlideInfo:
    slide = SlideInfo(
        study_instance_uid="2.25.101",
        series_instance_uid="2.25.102",
        container_identifier="S26-00017-A-1",
        specimen_identifier="S26-00017-A",
        accession_number="S26-00017",
        patient=build_patient(),
        size=(2000, 1600),
        mpp=0.19,
        manufacturer="ScannerWorks",
        model_name="SW-100",
        serial_number="7",
        acquired_at=datetime(2026, 10, 5, 8, 30, tzinfo=UTC),
        digest="a5" * 32,
    )
    return replace(slide, **changes)


def build_bundle_info(**changes: Any) -> BundleInfo:
    bundle = BundleInfo(name="marrow-small", version="0.1.0", digest="b7" * 32, classes=CELL_CLASSES)
    return replace(bundle, **changes)


def build_cell(number: int, class_name: str, centre: tuple[float, float], radius: float, **changes: Any) -> Cell:
    """A round cell of 24 points; its probability is in [0.45, 0.99] and depends on `number` only."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    polygon = np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)  # (24, 2)
    low, high = np.floor(polygon.min(axis=0)).astype(int), np.ceil(polygon.max(axis=0)).astype(int)
    probability = round(0.45 + 0.54 * ((number * 37) % 100) / 100, 4)
    rest = (1 - probability) / (len(CELL_CLASSES) - 1)
    cell = Cell(
        id=number,
        box=Box(x0=int(low[0]), y0=int(low[1]), x1=int(high[0]), y1=int(high[1])),
        polygon=polygon,
        class_name=class_name,
        probability=probability,
        probabilities=tuple(probability if name == class_name else rest for name in CELL_CLASSES),
        review=probability < 0.6,
    )
    return replace(cell, **changes)


def build_cells(
    counts: Mapping[str, int] | None = None, *, size: tuple[int, int] = (2000, 1600), seed: int = 1
) -> tuple[Cell, ...]:
    """Cells of the counts given, spread over a grid inside `size` in random order, numbered from 1."""
    random = np.random.default_rng(seed)
    names = [name for name, count in (COUNTS if counts is None else counts).items() for _ in range(count)]
    random.shuffle(names)
    columns = max(1, int(np.ceil(np.sqrt(len(names) * size[0] / size[1]))))
    pitch = min(size[0] / columns, size[1] / max(1, int(np.ceil(len(names) / columns))))
    radii = pitch * random.uniform(0.25, 0.4, len(names))
    return tuple(
        build_cell(i + 1, name, ((i % columns + 0.5) * pitch, (i // columns + 0.5) * pitch), float(radii[i]))
        for i, name in enumerate(names)
    )


def build_differential(cells: Sequence[Cell], **changes: Any) -> DifferentialCount:
    """Count the cells: largest-remainder percentages and Clopper-Pearson limits."""
    counts = Counter(cell.class_name for cell in cells)
    total = sum(counts[name] for name in COUNTED_CLASSES)
    erythroid = sum(counts[name] for name in ERYTHROID)
    differential = DifferentialCount(
        total=total,
        components=tuple(
            Component(name=name, count=counts[name], percent=percent, ci95=_limits(counts[name], total))
            for name, percent in zip(COUNTED_CLASSES, _percentages(counts, total), strict=True)
        ),
        me_ratio=sum(counts[name] for name in MYELOID) / erythroid if erythroid else None,
        me_definition="granulocytic and monocytic cells / erythroblasts",
        excluded=tuple((name, counts[name]) for name in EXCLUDED_CLASSES),
    )
    return replace(differential, **changes)


def build_analysis(slide: SlideInfo | None = None, cells: Sequence[Cell] | None = None, **changes: Any) -> Analysis:
    slide = slide or build_slide_info()
    cells = build_cells(size=slide.size) if cells is None else tuple(cells)
    width, height = slide.size
    margin = min(width, height) / 50
    corners = [(margin, margin), (width - margin, margin), (width - margin, height - margin), (margin, height - margin)]
    analysis = Analysis(
        regions=(Region(polygon=np.array(corners, dtype=np.float64), probability=0.93),),
        tiles=_tiles(slide),
        cells=tuple(cells),
        differential=build_differential(cells),
        warnings=("The focus of 2 tiles is soft.",),
        timings_s=(("regions", 0.4), ("cells", 3.0)),
    )
    return replace(analysis, **changes)


def build_report(**changes: Any) -> Report:
    """A preliminary report; give `slide=` or `analysis=` to change what it is about."""
    slide = changes.pop("slide", None) or build_slide_info()
    report = Report(
        case_id="case-0001",
        order=build_order(),
        slide=slide,
        bundle=build_bundle_info(),
        analysis=changes.pop("analysis") if "analysis" in changes else build_analysis(slide),
        status=ResultStatus.PRELIMINARY,
        analysed_at=datetime(2026, 10, 5, 10, 15, tzinfo=UTC),
    )
    return replace(report, **changes)


def build_no_result(**changes: Any) -> Report:
    """A report of a slide that could not be counted."""
    reason = "No countable region was found on the slide."
    return build_report(**{"analysis": None, "status": ResultStatus.NO_RESULT, "reason": reason, **changes})


def build_codes() -> dict[str, CellCode]:
    """The codes of `config/cell_types.csv`, by class name."""
    with (REPOSITORY / "config" / "cell_types.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: _code(row) for row in csv.DictReader(file)}


def _code(row: Mapping[str, str]) -> CellCode:
    tier = re.search(r"loinc=tier([ABC])", row["verified_flags"])
    return CellCode(
        name=row["name"],
        icsh_name=row["icsh_name"],
        lineage=row["lineage"],
        counted=row["counted_16"] == "1",
        local_code=row["name"].upper().replace(" ", "_"),
        sct_code=row["sct_code"],
        sct_meaning=row["sct_meaning"],
        cl_id=row["cl_id"],
        loinc_code=row["loinc_percent"],
        loinc_name=row["loinc_name"],
        loinc_tier=tier[1] if tier and row["loinc_percent"] else "",
    )


def _tiles(slide: SlideInfo) -> tuple[Tile, ...]:
    side = round(TILE_UM / slide.mpp)
    columns, rows = slide.size[0] // side, slide.size[1] // side
    boxes = [
        Box(x0=x * side, y0=y * side, x1=(x + 1) * side, y1=(y + 1) * side) for y in range(rows) for x in range(columns)
    ]
    return tuple(
        Tile(box=box, probability=0.9 - 0.6 * (i % 3 == 2), countable=i % 3 != 2) for i, box in enumerate(boxes)
    )


def _percentages(counts: Mapping[str, int], total: int) -> list[float]:
    exact = [1000 * counts[name] / total if total else 0.0 for name in COUNTED_CLASSES]
    tenths = [int(value) for value in exact]
    short = (1000 if total else 0) - sum(tenths)
    for i in sorted(range(len(exact)), key=lambda i: tenths[i] - exact[i])[:short]:
        tenths[i] += 1
    return [value / 10 for value in tenths]


def _limits(count: int, total: int) -> tuple[float, float]:
    if not total:
        return 0.0, 100.0
    low = 0.0 if count == 0 else float(beta.ppf(0.025, count, total - count + 1))
    high = 1.0 if count == total else float(beta.ppf(0.975, count + 1, total - count))
    return round(100 * low, 1), round(100 * high, 1)
