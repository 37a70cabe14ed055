"""Result objects as other people's software sees them: dciodvfy, dcmqi, dcmtk, highdicom, wsidicom."""

import json
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from wsidicom.graphical_annotations import AnnotationInstance

from dicom_io.results import ResultObject, write_results
from pdf.config import PdfConfig
from pdf.report import encode_pdf
from pipeline.domain import Report, ResultStatus
from tests.builders import (
    build_analysis,
    build_bundle_info,
    build_cells,
    build_codes,
    build_no_result,
    build_report,
    build_slide_info,
)
from tests.peers.validators import findings, run
from tests.slides import write_slide

CODES = build_codes()

REPORTS = {
    "preliminary": build_report(),
    "synthetic": build_report(slide=build_slide_info(synthetic=True), order=None),
    "no result": build_no_result(),
    "one class": build_report(analysis=build_analysis(cells=build_cells({"immature monocyte": 3}))),
    "small bundle": build_report(
        bundle=build_bundle_info(classes=("myeloblast", "lymphocyte")), warnings=("Few cells.",)
    ),
    "signed": build_report(status=ResultStatus.FINAL, reviewer="Ärztin^Änne", revision=1),
}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[ResultObject, ...]]:
    slide = write_slide(tmp_path_factory.mktemp("slide"))
    made: dict[str, tuple[ResultObject, ...]] = {}
    for name, report in REPORTS.items():
        before = made["preliminary"] if report.revision else ()
        folder = tmp_path_factory.mktemp(name.replace(" ", "_"))
        pdf = encode_pdf(report, CODES, PdfConfig())
        made[name] = write_results(
            report, slide, CODES, folder, predecessors=before, organization="Laboratory", pdf=pdf
        )
    return made


@pytest.fixture(scope="module")
def preliminary(objects: dict[str, tuple[ResultObject, ...]]) -> dict[str, Path]:
    return {item.kind: item.path for item in objects["preliminary"]}


@pytest.fixture
def analysed() -> Report:
    return REPORTS["preliminary"]


@pytest.mark.parametrize("name", REPORTS)
def test_dciodvfy_finds_nothing_but_the_list(name: str, objects: dict[str, tuple[ResultObject, ...]]) -> None:
    assert objects[name]
    for item in objects[name]:
        assert not findings(item.path), item.kind


def test_dciodvfy_recognises_the_classes(preliminary: dict[str, Path]) -> None:
    names = {kind: run("dciodvfy", path).stderr.split("\n", 1)[0] for kind, path in preliminary.items()}
    assert names == {
        "SEG": "Segmentation",
        "SEGROI": "Segmentation",
        "ANN": "MicroscopyBulkSimpleAnnotations",
        "SR": "ComprehensiveSR",
        "SR3D": "Comprehensive3DSR",
        "PDFDCM": "EncapsulatedPDF",
    }


@pytest.mark.parametrize("kind", ["SEG", "SEGROI", "ANN", "SR", "SR3D", "PDFDCM"])
def test_dcmtk_reads_every_object(kind: str, preliminary: dict[str, Path]) -> None:
    dump = run("dcmdump", preliminary[kind])
    assert dump.returncode == 0
    assert not [line for line in dump.stderr.splitlines() if line.startswith(("E:", "F:"))]


@pytest.mark.parametrize("kind", ["SR", "SR3D"])
def test_dsrdump_accepts_the_documents(kind: str, objects: dict[str, tuple[ResultObject, ...]]) -> None:
    for items in objects.values():
        for item in items:
            if item.kind == kind:
                dump = run("dsrdump", "+Pl", item.path)
                assert dump.returncode == 0, dump.stderr
                assert not [line for line in dump.stderr.splitlines() if line.startswith(("E:", "F:"))]
                assert "Imaging Measurement Report" in dump.stdout


@pytest.mark.parametrize("name", REPORTS)
def test_dcm2pdf_takes_the_same_document_out(
    name: str, objects: dict[str, tuple[ResultObject, ...]], tmp_path: Path
) -> None:
    (document,) = [item.path for item in objects[name] if item.kind == "PDFDCM"]
    result = run("dcm2pdf", document, tmp_path / "out.pdf")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out.pdf").read_bytes() == encode_pdf(REPORTS[name], CODES, PdfConfig())


def test_dsrdump_shows_status_reviewer_and_predecessor(objects: dict[str, tuple[ResultObject, ...]]) -> None:
    paths = {name: next(item.path for item in items if item.kind == "SR") for name, items in objects.items()}
    assert "UNVERIFIED" in run("dsrdump", paths["preliminary"]).stdout
    signed = run("dsrdump", "+U8", paths["signed"]).stdout
    assert "Verification Flag   : VERIFIED" in signed
    assert "Änne" in signed
    assert "Predecessor Docs    : 1" in signed
    assert "No result" in run("dsrdump", "+Pl", paths["no result"]).stdout


def test_dcmqi_reads_the_counts(preliminary: dict[str, Path], analysed: Report, tmp_path: Path) -> None:
    out = tmp_path / "sr.json"
    result = run("tid1500reader", "--inputDICOM", preliminary["SR"], "--outputMetadata", out)
    assert result.returncode == 0, result.stderr
    groups = {group["TrackingIdentifier"]: group for group in json.loads(out.read_text())["Measurements"]}
    for row in analysed.analysis.differential.components:
        items = {item["quantity"]["CodeValue"]: float(item["value"]) for item in groups[row.name]["measurementItems"]}
        assert (items["COUNT"], items["PERCENT"]) == (row.count, row.percent)
        assert (items["CI95_LOW"], items["CI95_HIGH"]) == row.ci95


def test_dcmqi_cannot_place_a_slide_segmentation(preliminary: dict[str, Path], tmp_path: Path) -> None:
    """dcmqi 1.5 knows the patient coordinate system only; it must get that far, so that a new version is noticed."""
    result = run("segimage2itkimage", "--inputDICOM", preliminary["SEGROI"], "--outputDirectory", tmp_path)
    assert "Plane Orientation (Patient) is missing" in result.stdout + result.stderr


def test_highdicom_reads_all_of_it_back(preliminary: dict[str, Path], analysed: Report) -> None:
    groups = hd.ann.annread(preliminary["ANN"]).get_annotation_groups()
    for group in groups:
        cells = [cell for cell in analysed.analysis.cells if cell.class_name == group.label]
        for cell, polygon in zip(cells, group.get_graphic_data("2D"), strict=True):
            assert np.allclose(polygon, cell.polygon, atol=1e-3)
    assert sum(group.number_of_annotations for group in groups) == len(analysed.analysis.cells)
    segmentation = hd.seg.segread(preliminary["SEG"])
    assert set(segmentation.segment_numbers) == set(range(1, len(groups) + 1))
    assert segmentation.get_total_pixel_matrix(combine_segments=True).max() == len(groups)
    assert len(hd.sr.srread(preliminary["SR3D"]).content.get_planar_roi_measurement_groups()) == 1


def test_wsidicom_reads_the_outlines(preliminary: dict[str, Path], analysed: Report) -> None:
    groups = next(iter(AnnotationInstance.open([preliminary["ANN"]]))).groups
    outlines = {group.label: [annotation.geometry.to_coords() for annotation in group.annotations] for group in groups}
    assert sum(map(len, outlines.values())) == len(analysed.analysis.cells)
    first = analysed.analysis.cells[0]
    assert any(np.allclose(coords, first.polygon, atol=1e-3) for coords in outlines[first.class_name])


@pytest.mark.shared
def test_objects_of_a_real_slide_are_legal(shared: Path, tmp_path: Path) -> None:
    """Its writer left out the frame of reference and laid the tiles out sparsely."""
    paths = sorted((shared / "slides" / "marrow-fields").glob("*.dcm"))
    slide = build_slide_info(size=(10240, 5715))
    for item in write_results(build_report(slide=slide), paths, CODES, tmp_path, pdf=b"%PDF-1.7 of a real slide"):
        assert not findings(item.path), item.kind
