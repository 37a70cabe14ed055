"""Segmentation: the mask is what the polygons say, on the grid of a level of the slide."""

from pathlib import Path

import highdicom as hd
import numpy as np
import pytest

from dicom_io import seg
from dicom_io.raster import Grid, draw, fill
from dicom_io.source import Source, matrix_size, read_source
from pipeline.domain import CELL_CLASSES, Region
from tests.builders import build_analysis, build_cell, build_codes, build_report, build_slide_info
from tests.slides import write_slide

CODES = build_codes()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return read_source(write_slide(tmp_path_factory.mktemp("slide")))


def test_fill_takes_the_pixels_whose_centre_is_inside() -> None:
    square = np.array([(1.0, 1.0), (4.0, 1.0), (4.0, 3.0), (1.0, 3.0)])
    expected = np.zeros((5, 6), dtype=bool)
    expected[1:3, 1:4] = True
    assert np.array_equal(fill(square, 0, 0, 6, 5), expected)
    assert np.array_equal(fill(square, 2, 1, 3, 4), expected[1:5, 2:5])


@pytest.mark.parametrize("turns", [1, -1])
def test_fill_has_the_area_of_a_circle_either_way_round(turns: int) -> None:
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)[::turns]
    circle = np.stack([30 + 20 * np.cos(angle), 30 + 20 * np.sin(angle)], axis=1)
    assert fill(circle, 0, 0, 60, 60).sum() == pytest.approx(np.pi * 400, rel=0.01)


def test_fill_of_a_concave_polygon_leaves_the_notch_out() -> None:
    u_shape = np.array([(0, 0), (10, 0), (10, 10), (7, 10), (7, 3), (3, 3), (3, 10), (0, 10)], dtype=float)
    mask = fill(u_shape, 0, 0, 10, 10)
    assert mask[5].tolist() == [True] * 3 + [False] * 4 + [True] * 3


def test_draw_joins_seamlessly_over_tiles_and_stays_inside_the_matrix() -> None:
    grid = Grid(width=50, height=40, side=16)
    disc = build_cell(1, "monocyte", (32, 24), 20).polygon
    tiles, frames = draw(grid, [disc], np.array([7], dtype=np.uint8))
    whole = np.zeros((grid.rows * 16, grid.columns * 16), dtype=np.uint8)
    for tile, frame in zip(tiles, frames, strict=True):
        row, column = divmod(int(tile), grid.columns)
        whole[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = frame
    expected = np.where(fill(disc, 0, 0, 50, 40), 7, 0)
    assert np.array_equal(whole[:40, :50], expected)
    assert not whole[40:].any()
    assert not whole[:, 50:].any()
    assert all(frame.any() for frame in frames)


def test_segments_are_the_classes_that_occur(source: Source) -> None:
    report = build_report()
    ds = seg.encode_segmentation(report, report.analysis, source, CODES)
    assert [segment.SegmentLabel for segment in ds.SegmentSequence] == list(CELL_CLASSES)
    assert ds.SegmentationType == "BINARY"
    assert ds.SegmentsOverlap == "NO"
    assert ds.FrameOfReferenceUID == source.base.FrameOfReferenceUID
    assert ds.ContainerIdentifier == source.base.ContainerIdentifier
    first = ds.SegmentSequence[0]
    assert first.SegmentAlgorithmType == "AUTOMATIC"
    assert report.bundle.digest in first.SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters


def test_the_mask_read_back_equals_the_polygons(source: Source, tmp_path: Path) -> None:
    report = build_report()
    ds = seg.encode_segmentation(report, report.analysis, source, CODES)
    ds.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    read = hd.seg.segread(tmp_path / "seg.dcm")
    level = source.levels[1]
    assert (read.TotalPixelMatrixColumns, read.TotalPixelMatrixRows) == matrix_size(level)
    matrix = read.get_total_pixel_matrix(combine_segments=True)
    labels = {segment.SegmentLabel: segment.SegmentNumber for segment in read.SegmentSequence}
    for cell in report.analysis.cells:
        x, y = (cell.polygon.mean(axis=0) / 2).astype(int)
        assert matrix[y, x] == labels[cell.class_name]
    expected = sum(fill(cell.polygon / 2, 0, 0, *matrix_size(level)).sum() for cell in report.analysis.cells)
    assert (matrix > 0).sum() == expected


def test_frames_sit_on_the_tile_grid_and_none_is_empty(source: Source) -> None:
    report = build_report()
    ds = seg.encode_segmentation(report, report.analysis, source, CODES)
    assert ds.DimensionOrganizationType == "TILED_SPARSE"
    assert ds.Rows * ds.Columns % 8 == 0
    for group in ds.PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionSlideSequence[0]
        assert (position.RowPositionInTotalImagePixelMatrix - 1) % ds.Rows == 0
        assert (position.ColumnPositionInTotalImagePixelMatrix - 1) % ds.Columns == 0
    frames = np.frombuffer(ds.PixelData, np.uint8).reshape(ds.NumberOfFrames, -1)
    assert frames.any(axis=1).all()


def test_a_region_is_drawn_on_a_coarse_level(source: Source) -> None:
    report = build_report()
    ds = seg.encode_region_segmentation(report, report.analysis, source)
    assert (ds.TotalPixelMatrixColumns, ds.TotalPixelMatrixRows) == matrix_size(source.levels[-1])
    assert len(ds.SegmentSequence) == 1
    drawn = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8)).sum()
    polygon = report.analysis.regions[0].polygon / 8
    assert drawn == fill(polygon, 0, 0, *matrix_size(source.levels[-1])).sum()


@pytest.mark.parametrize("limit", ["MAX_TILES", "MAX_FRAMES"])
def test_a_level_too_fine_is_not_chosen(source: Source, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    corners = np.array([(0, 0), (1999, 0), (1999, 1599), (0, 1599)], dtype=float)
    labels = np.ones(1, dtype=np.uint8)
    assert seg.choose_level(source, [corners], labels, 0.4) is source.levels[1]
    monkeypatch.setattr(seg, limit, 3)
    assert seg.choose_level(source, [corners], labels, 0.4) is source.levels[2]


def test_a_slide_without_coarse_levels_gets_a_mask_on_a_halved_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    single = read_source(write_slide(tmp_path, downsamples=(1,)))
    monkeypatch.setattr(seg, "MAX_TILES", 2)
    report = build_report()
    ds = seg.encode_region_segmentation(report, report.analysis, single)
    assert (ds.TotalPixelMatrixColumns, ds.TotalPixelMatrixRows) == (500, 400)
    assert ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing == pytest.approx([0.00076] * 2)
    drawn = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8)).sum()
    assert drawn == fill(report.analysis.regions[0].polygon / 4, 0, 0, 500, 400).sum()


def test_nothing_to_draw_is_an_error(source: Source) -> None:
    slide = build_slide_info()
    outside = Region(polygon=np.array([(-50.0, -50.0), (-10.0, -50.0), (-10.0, -10.0)]), probability=0.5)
    analysis = build_analysis(slide, regions=(outside,))
    with pytest.raises(ValueError, match="nothing to draw"):
        seg.encode_region_segmentation(build_report(analysis=analysis), analysis, source)
