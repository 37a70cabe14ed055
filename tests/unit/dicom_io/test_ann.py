"""Annotations: every outline, probability and area can be read back."""

from pathlib import Path

import highdicom as hd
import numpy as np
import pytest

from dicom_io.ann import area, encode_annotations, outline
from dicom_io.source import Source, read_source
from pipeline.domain import CELL_CLASSES, ResultStatus
from tests.builders import build_analysis, build_cell, build_codes, build_report
from tests.slides import write_slide

CODES = build_codes()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return read_source(write_slide(tmp_path_factory.mktemp("slide")))


def test_polygons_and_measurements_read_back(source: Source, tmp_path: Path) -> None:
    report = build_report()
    ds = encode_annotations(report, report.analysis, source, CODES)
    ds.save_as(tmp_path / "ann.dcm", enforce_file_format=True)
    read = hd.ann.annread(tmp_path / "ann.dcm")
    groups = read.get_annotation_groups()
    assert [group.label for group in groups] == list(CELL_CLASSES)
    for group in groups:
        cells = [cell for cell in report.analysis.cells if cell.class_name == group.label]
        polygons = group.get_graphic_data("2D")
        _, values, _ = group.get_measurements()
        assert len(polygons) == len(cells) == group.number_of_annotations
        for cell, polygon, (probability, square_um, number) in zip(cells, polygons, values, strict=True):
            assert np.allclose(polygon, cell.polygon, atol=1e-3)
            assert probability == pytest.approx(cell.probability)
            assert square_um == pytest.approx(area(cell) * 0.19**2, rel=1e-6)
            assert number == cell.id


def test_it_refers_to_the_base_image_only(source: Source) -> None:
    report = build_report()
    ds = encode_annotations(report, report.analysis, source, CODES)
    assert [item.ReferencedSOPInstanceUID for item in ds.ReferencedImageSequence] == [source.base.SOPInstanceUID]
    assert (ds.AnnotationCoordinateType, ds.PixelOriginInterpretation) == ("2D", "VOLUME")
    assert "FrameOfReferenceUID" not in ds


@pytest.mark.parametrize(
    ("status", "generation"), [(ResultStatus.PRELIMINARY, "AUTOMATIC"), (ResultStatus.FINAL, "SEMIAUTOMATIC")]
)
def test_groups_say_how_they_came_about(source: Source, status: ResultStatus, generation: str) -> None:
    report = build_report(status=status, reviewer="Rev^Ina")
    group = encode_annotations(report, report.analysis, source, CODES).AnnotationGroupSequence[0]
    assert group.AnnotationGroupGenerationType == generation
    assert report.bundle.digest in group.AnnotationGroupAlgorithmIdentificationSequence[0].AlgorithmParameters
    assert len(group.RecommendedDisplayCIELabValue) == 3


def test_a_closed_polygon_is_opened() -> None:
    cell = build_cell(1, "monocyte", (50, 50), 10)
    closed = build_cell(1, "monocyte", (50, 50), 10, polygon=np.vstack([cell.polygon, cell.polygon[:1]]))
    assert np.array_equal(outline(closed), outline(cell))


def test_a_degenerate_polygon_becomes_its_box() -> None:
    cell = build_cell(1, "monocyte", (50, 50), 10, polygon=np.array([(40.0, 50.0), (60.0, 50.0)]))
    assert outline(cell).shape == (4, 2)
    assert area(cell) == 400


def test_no_cell_is_an_error(source: Source) -> None:
    analysis = build_analysis(cells=())
    with pytest.raises(ValueError, match="no cell"):
        encode_annotations(build_report(analysis=analysis), analysis, source, CODES)
