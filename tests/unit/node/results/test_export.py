"""result.json keeps the contract of design.md; GeoJSON is closed rings in slide pixels."""

import json

from node.codes import load_codes
from node.results.export import geojson, result_json
from pipeline.domain import CELL_CLASSES, COUNTED_CLASSES, ResultStatus
from tests.builders import build_report

CONTRACT = {"slide", "bundle", "differential", "warnings", "cells", "regions", "tiles", "timings_s"}


def test_contract() -> None:
    report = build_report()
    assert report.analysis is not None
    document = json.loads(result_json(report))
    assert set(document) >= CONTRACT
    differential = document["differential"]
    assert set(differential) >= {"total", "components", "me_ratio", "excluded"}
    assert [component["name"] for component in differential["components"]] == list(COUNTED_CLASSES)
    assert round(sum(component["percent"] for component in differential["components"]), 6) == 100.0
    assert set(differential["components"][0]) == {"name", "count", "percent", "ci95", "flag"}
    assert len(document["cells"]) == len(report.analysis.cells)
    assert set(document["cells"][0]) == {"id", "class", "probability", "box", "polygon", "review"}


def test_no_patient_in_it() -> None:
    patient = build_report().slide.patient
    text = result_json(build_report()).decode()
    assert patient.patient_id not in text
    assert patient.name.split("^")[0] not in text


def test_no_result() -> None:
    report = build_report(analysis=None, status=ResultStatus.NO_RESULT, reason="no countable region")
    document = json.loads(result_json(report))
    assert document["differential"] is None
    assert document["reason"] == "no countable region"
    assert document["cells"] == []


def test_same_report_same_bytes() -> None:
    assert result_json(build_report()) == result_json(build_report())


def test_geojson() -> None:
    analysis = build_report().analysis
    assert analysis is not None
    document = json.loads(geojson(analysis, lambda _name: (1, 2, 3)))
    assert len(document["features"]) == len(analysis.cells) + len(analysis.regions)
    for feature in document["features"]:
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
    cell = document["features"][-1]["properties"]
    assert cell["classification"]["name"] in CELL_CLASSES
    assert cell["classification"]["color"] == [1, 2, 3]


def test_codes_name_every_class() -> None:
    codes = load_codes()
    assert tuple(codes) == CELL_CLASSES
    assert {name for name, code in codes.items() if code.counted} == set(COUNTED_CLASSES)
    assert all(0 < len(code.local_code) <= 16 for code in codes.values()), "CodeValue is SH"
    assert len({code.local_code for code in codes.values()}) == len(CELL_CLASSES)
    assert all(code.loinc_tier in {"A", "B", "C"} for code in codes.values() if code.loinc_code)
