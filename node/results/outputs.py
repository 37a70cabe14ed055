"""Everything a report becomes: SEG, ANN, SR, PDF, ORU, result.json, GeoJSON and the overview picture.

The same report becomes the same bytes.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from dicom_io.codes import class_color
from dicom_io.errors import SlideError
from dicom_io.results import ResultObject, write_results
from hl7.results import ResultsConfig, encode_oru
from node.files import sha256_of
from node.results.alerts import AlertKind, alerts
from node.results.export import geojson, result_json
from node.settings import Settings
from pdf.config import PdfConfig
from pdf.report import encode_pdf
from pipeline.crops import FIELD_UM, class_strips
from pipeline.domain import CELL_CLASSES, COUNTED_CLASSES, CellCode, Report, ResultStatus, RgbImage, Slide
from pipeline.overview import draw_overview

_OTHERS = (
    ("PDF", "report.pdf", "application/pdf"),
    ("ORU", "oru.hl7", "x-application/hl7-v2+er7"),
    ("RESULT", "result.json", "application/json"),
    ("GEOJSON", "cells.geojson", "application/geo+json"),
    ("OVERVIEW", "overview.png", "image/png"),
)
PDF_OBJECT = "PDFDCM"  # the kind of an Encapsulated PDF, made only where an archive lists it
_ASKED = {"original": ("", ""), "accept": ("AL", "NE"), "application": ("NE", "AL")}  # MSH-15 and MSH-16
_COLORS = {name: class_color(name) for name in CELL_CLASSES}
_PICTURED = tuple(name for name in CELL_CLASSES if name in COUNTED_CLASSES or "lymphocyte" in name)
_PICTURE_PX, _PICTURES_PER_CLASS = 112, 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One file of a result; the UIDs are empty unless it is a DICOM object."""

    kind: str  # SEG, SEGROI, ANN, SR, SR3D, PDFDCM, KO, PDF, ORU, RESULT, GEOJSON, OVERVIEW
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
    settings: Settings,
    folder: Path,
    *,
    predecessors: Sequence[ResultObject] = (),
    rejected: Sequence[ResultObject] = (),
    first_for_lis: bool = False,
) -> tuple[Output, ...]:
    """Write the files of a report into an existing folder.

    Parameters
    ----------
    report : Report
        Without an analysis it becomes an SR, an ORU and a result.json that say why.
    slide : Slide or None
        What the overview and the cells of the PDF are drawn from.
    slide_paths : sequence of Path
        The DICOM instances of the slide, which SEG, ANN and SR refer to.
    codes : mapping of str to CellCode
        By class name.
    settings : Settings
        How the site wants its ORU and its PDF, and whether an archive takes the PDF.
    folder : Path
        Files of the same names are replaced.
    predecessors : sequence of ResultObject
        The objects of the result that this one replaces.
    rejected : sequence of ResultObject
        The objects that archives are told to hide.
    first_for_lis : bool
        No LIS has what this corrects: it is told a final result, not a correction of one it never had.

    Raises
    ------
    SlideError
        The slide was counted, but its instances cannot be referred to.
    FontError
        The font of the site's PDF cannot be used.

    """
    pdf = encode_pdf(
        report, codes, pdf_config(settings), pictures=_pictures(report, slide), alerts=_alerts(report, settings)
    )
    organization = settings.review.organization
    archived = pdf if any(PDF_OBJECT in pacs.kinds for pacs in settings.pacs) else None
    try:
        objects = write_results(
            report,
            slide_paths,
            codes,
            folder,
            predecessors=predecessors,
            rejected=rejected,
            organization=organization,
            pdf=archived,
        )
    except SlideError:
        if report.analysis is not None:
            raise
        objects = ()  # an SR refers to its slide; of a slide that cannot be read the ORU alone says so
    (folder / "report.pdf").write_bytes(pdf)
    sent = pdf if settings.hl7.pdf_in_oru else None
    told = replace(report, status=ResultStatus.FINAL, replaces=None) if report.replaces and first_for_lis else report
    (folder / "oru.hl7").write_bytes(encode_oru(told, codes, results_config(settings), pdf=sent))
    (folder / "result.json").write_bytes(result_json(report))
    if report.analysis is not None:
        (folder / "cells.geojson").write_bytes(geojson(report.analysis, class_color))
        if slide is not None:
            (folder / "overview.png").write_bytes(_png(draw_overview(slide, report.analysis, _COLORS)))
    plain = [
        Output(kind=kind, name=name, media_type=media_type, path=folder / name, sha256=sha256_of(folder / name))
        for kind, name, media_type in _OTHERS
        if (folder / name).is_file()
    ]
    return (*map(_dicom, objects), *plain)


def results_config(settings: Settings) -> ResultsConfig:
    """How the site wants its ORU."""
    hl7 = settings.hl7
    accept_ack, application_ack = _ASKED[hl7.acknowledgement]
    return ResultsConfig(
        accept_ack=accept_ack,
        application_ack=application_ack,
        sending_application=hl7.sending_application,
        sending_facility=hl7.sending_facility,
        receiving_application=hl7.receiving_application,
        receiving_facility=hl7.receiving_facility,
        processing_id=hl7.processing_id,
        loinc_tiers=hl7.loinc_tiers,
        local_first=hl7.local_first,
        namespace=hl7.namespace,
        minimum_cells=settings.analysis.minimum_cells,
        excluded_lymphoid_percent=settings.review.excluded_lymphoid_percent,
        ranges=hl7.ranges,
    )


def pdf_config(settings: Settings) -> PdfConfig:
    """How the site wants its printed report."""
    return PdfConfig(
        paper=settings.report.paper,
        laboratory=settings.report.laboratory,
        font=settings.report.font,
        ranges=settings.hl7.ranges,
        colors=_COLORS,
    )


def _alerts(report: Report, settings: Settings) -> list[str]:
    """What must be noted of the count; the table marks the classes to rescreen, and reviews are told until signed."""
    if report.analysis is None:
        return []
    doubtful = 0 if report.signed_at else sum(cell.review for cell in report.analysis.cells)
    found = alerts(report.analysis.differential, settings, doubtful)
    return [alert.text for alert in found if alert.kind is not AlertKind.RESCREEN]


def _pictures(report: Report, slide: Slide | None) -> dict[str, RgbImage]:
    """Crops of the classes that matter to a reader: all but smudges, apoptoses and what is no cell."""
    if report.analysis is None or slide is None:
        return {}
    return class_strips(slide, report.analysis.cells, _PICTURED, FIELD_UM, _PICTURE_PX, _PICTURES_PER_CLASS)


def _dicom(written: ResultObject) -> Output:
    return Output(
        kind=str(written.kind),
        name=written.path.name,
        media_type="application/dicom",
        path=written.path,
        sha256=sha256_of(written.path),
        sop_class_uid=written.sop_class_uid,
        sop_instance_uid=written.sop_instance_uid,
        series_instance_uid=written.series_instance_uid,
    )


def _png(image: RgbImage) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()
