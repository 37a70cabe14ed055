"""Everything a report becomes, in one folder: SEG, ANN, SR, ORU, result.json, GeoJSON and the overview picture.

The folder appears whole or not at all, and the same report fills it with the same bytes.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dicom_io.codes import class_color
from dicom_io.results import write_results
from hl7.results import ResultsConfig, encode_oru
from node.export import geojson, result_json
from node.files import replace_folder, sha256_of
from node.settings import Hl7Settings
from pipeline.domain import CELL_CLASSES, CellCode, Report, Slide
from pipeline.overview import draw_overview

_DICOM = "application/dicom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One file of a result; the UIDs are empty unless it is a DICOM object."""

    kind: str  # SEG, ANN, SR, SR3D, ORU, RESULT, GEOJSON, OVERVIEW
    name: str
    media_type: str
    path: Path
    sha256: str
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    series_instance_uid: str = ""


def write_outputs(
    report: Report,
    slide: Slide | None,
    slide_paths: Sequence[Path],
    codes: Mapping[str, CellCode],
    hl7: Hl7Settings,
    folder: Path,
) -> tuple[Output, ...]:
    """Fill `folder` with the report's files, in place of what was there.

    Parameters
    ----------
    slide : Slide or None
        What the overview is drawn from; without it, or without an analysis, there is no overview.
    slide_paths : sequence of Path
        The DICOM instances of the slide, which SEG, ANN and SR refer to.

    """
    with replace_folder(folder) as filling:
        objects = write_results(report, slide_paths, codes, filling)
        (filling / "oru.hl7").write_bytes(encode_oru(report, codes, results_config(hl7)))
        (filling / "result.json").write_bytes(result_json(report))
        (filling / "cells.geojson").write_bytes(geojson(report, class_color))
        if slide is not None and report.analysis is not None:
            colors = {name: class_color(name) for name in CELL_CLASSES}
            (filling / "overview.png").write_bytes(_png(draw_overview(slide, report.analysis, colors)))
        relative = [(made, made.path.name) for made in objects]
    dicom = [
        Output(
            kind=made.kind,
            name=name,
            media_type=_DICOM,
            path=folder / name,
            sha256=sha256_of(folder / name),
            sop_class_uid=made.sop_class_uid,
            sop_instance_uid=made.sop_instance_uid,
            series_instance_uid=made.series_instance_uid,
        )
        for made, name in relative
    ]
    others = (
        ("ORU", "oru.hl7", "application/edi-hl7v2"),
        ("RESULT", "result.json", "application/json"),
        ("GEOJSON", "cells.geojson", "application/geo+json"),
        ("OVERVIEW", "overview.png", "image/png"),
    )
    plain = [
        Output(kind=kind, name=name, media_type=media_type, path=folder / name, sha256=sha256_of(folder / name))
        for kind, name, media_type in others
        if (folder / name).is_file()
    ]
    return (*dicom, *plain)


def results_config(hl7: Hl7Settings) -> ResultsConfig:
    """How the site wants its ORU."""
    return ResultsConfig(
        sending_application=hl7.sending_application,
        sending_facility=hl7.sending_facility,
        receiving_application=hl7.receiving_application,
        receiving_facility=hl7.receiving_facility,
        processing_id=hl7.processing_id,
        loinc_tiers=hl7.loinc_tiers,
        local_first=hl7.local_first,
        namespace=hl7.namespace,
    )


def _png(image: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")  # type: ignore[arg-type]
    return buffer.getvalue()
