"""The objects as DICOM JSON against the committed ones: no element changes without being meant to.

After a change that is meant: `UPDATE_GOLDEN=1 python -m pytest tests/unit/dicom_io/test_golden.py`, and read the diff.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from dicom_io.results import write_results
from pipeline.domain import Report, ResultStatus
from tests.builders import REPOSITORY, build_analysis, build_cells, build_codes, build_no_result, build_report
from tests.slides import write_slide

GOLDEN = REPOSITORY / "tests" / "fixtures" / "dicom"
FEW = build_analysis(cells=build_cells({"myeloblast": 1, "early erythroblast": 2, "immature monocyte": 1}))
SIGNED = build_report(analysis=FEW, status=ResultStatus.FINAL, reviewer="Rev^Ina", revision=1)
CASES = [
    ("preliminary", build_report(analysis=FEW), {"SEG", "SEGROI", "ANN", "SR", "SR3D"}),
    ("final", SIGNED, {"SR3D", "PDFDCM"}),
    ("no_result", build_no_result(), {"SR"}),
]
PDF = b"%PDF-1.7 of an odd number of bytes"
OF_THE_BUILD = ("ContributingEquipmentSequence", "SoftwareVersions")  # versions of this package and of highdicom


@pytest.mark.parametrize(("name", "report", "kinds"), CASES)
def test_objects_are_the_golden_ones(name: str, report: Report, kinds: set[str], tmp_path: Path) -> None:
    slide = write_slide(tmp_path)
    for item in write_results(report, slide, build_codes(), tmp_path, organization="Laboratory", pdf=PDF):
        if item.kind not in kinds:
            continue
        path = GOLDEN / f"{name}_{item.kind.lower()}.txt"
        text = as_text(dcmread(item.path))
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert text.splitlines() == path.read_text(encoding="utf-8").splitlines(), path.name


def as_text(ds: Dataset) -> str:
    """DICOM JSON (PS3.18 annex F) with a line for each element that is not a code, and for each code."""
    for keyword in OF_THE_BUILD:
        if keyword in ds:
            delattr(ds, keyword)
    elements = ds.to_json_dict(bulk_data_threshold=0, bulk_data_element_handler=lambda element: f"{element.tag}")
    return "\n".join(_lines(elements, 0)) + "\n"


def _lines(elements: Mapping[str, Any], depth: int) -> Iterator[str]:
    for tag, element in elements.items():
        items = element.get("Value", []) if element["vr"] == "SQ" else []
        if not items or "00080104" in items[0]:  # a code is short enough for one line
            yield f"{' ' * depth}{tag} {json.dumps(element, ensure_ascii=False)}"
            continue
        for item in items:
            yield f"{' ' * depth}{tag}"
            yield from _lines(item, depth + 1)
