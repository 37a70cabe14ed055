"""A report for programs that read neither DICOM nor HL7: result.json and GeoJSON.

Coordinates are level-0 pixels, (x, y).
"""

import json
from collections.abc import Callable
from typing import Any

from pipeline.domain import Analysis, Box, Cell, DifferentialCount, Polygon, Report

_DECIMALS = 2


def result_json(report: Report) -> bytes:
    """The result as `result.json`; `differential` is null and `reason` says why when nothing could be counted."""
    analysis = report.analysis
    document = {
        "case_id": report.case_id,
        "status": report.status,
        "revision": report.revision,
        "reason": report.reason,
        "reviewer": report.reviewer,
        "remarks": list(report.remarks),
        "analysed_at": report.analysed_at.isoformat(),
        "slide": _slide(report),
        "bundle": _bundle(report),
        "differential": None if analysis is None else _differential(analysis.differential),
        "warnings": list(report.warnings) + ([] if analysis is None else list(analysis.warnings)),
        "cells": [] if analysis is None else [_cell(cell) for cell in analysis.cells],
        "regions": []
        if analysis is None
        else [{"polygon": _points(r.polygon), "probability": round(r.probability, 4)} for r in analysis.regions],
        "tiles": []
        if analysis is None
        else [
            {"box": _corners(t.box), "probability": round(t.probability, 4), "countable": t.countable}
            for t in analysis.tiles
        ],
        "timings_s": {} if analysis is None else {name: round(s, 3) for name, s in analysis.timings_s},
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def geojson(analysis: Analysis, color: Callable[[str], tuple[int, int, int]]) -> bytes:
    """Regions and cells as a FeatureCollection that QuPath and GIS tools open (RFC 7946; pixels, not degrees)."""
    features: list[dict[str, Any]] = [
        {
            "type": "Feature",
            "id": f"region-{number}",
            "geometry": _ring(region.polygon),
            "properties": {"objectType": "annotation", "classification": {"name": "Region of interest"}},
        }
        for number, region in enumerate(analysis.regions, start=1)
    ]
    features += [
        {
            "type": "Feature",
            "id": f"cell-{cell.id}",
            "geometry": _ring(cell.polygon),
            "properties": {
                "objectType": "detection",
                "classification": {"name": cell.class_name, "color": list(color(cell.class_name))},
                "measurements": {"probability": round(cell.probability, 4)},
                "review": cell.review,
            },
        }
        for cell in analysis.cells
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":")).encode()


def _slide(report: Report) -> dict[str, Any]:
    slide = report.slide
    return {
        "study_instance_uid": slide.study_instance_uid,
        "series_instance_uid": slide.series_instance_uid,
        "container_identifier": slide.container_identifier,
        "specimen_identifier": slide.specimen_identifier,
        "accession_number": slide.accession_number,
        "size": list(slide.size),
        "mpp": slide.mpp,
        "manufacturer": slide.manufacturer,
        "model_name": slide.model_name,
        "synthetic": slide.synthetic,
        "digest": slide.digest,
    }


def _bundle(report: Report) -> dict[str, Any]:
    bundle = report.bundle
    return {
        "name": bundle.name,
        "version": bundle.version,
        "digest": bundle.digest,
        "classes": list(bundle.classes),
        "unrecognised": list(bundle.unrecognised),
    }


def _differential(count: DifferentialCount) -> dict[str, Any]:
    return {
        "total": count.total,
        "components": [
            {"name": c.name, "count": c.count, "percent": c.percent, "ci95": list(c.ci95), "flag": c.flag}
            for c in count.components
        ],
        "me_ratio": count.me_ratio,
        "me_definition": count.me_definition,
        "excluded": dict(count.excluded),
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "id": cell.id,
        "class": cell.class_name,
        "probability": round(cell.probability, 4),
        "box": _corners(cell.box),
        "polygon": _points(cell.polygon),
        "review": cell.review,
    }


def _corners(box: Box) -> list[int]:
    return [box.x0, box.y0, box.x1, box.y1]


def _points(polygon: Polygon) -> list[list[float]]:
    points: list[list[float]] = polygon.round(_DECIMALS).tolist()
    return points


def _ring(polygon: Polygon) -> dict[str, Any]:
    points = _points(polygon)
    return {"type": "Polygon", "coordinates": [[*points, points[0]]]}
