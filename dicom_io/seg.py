"""Semantic masks: Segmentation, BINARY, tiled on the grid of one level of the slide (PS3.3 A.51, C.8.20).

One object for the nucleated cells, one segment per class that occurs; one for the countable regions. Each is a series
of its own, because viewers expect the same segments in all objects of a series. Only tiles with something in them are
stored. BINARY, because the viewers of whole slides do not show LABELMAP yet.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from math import log

import highdicom as hd
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from highdicom.utils import compute_plane_position_tiled_full
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_io import codes
from dicom_io.provenance import ResultKind, caution, construct, is_verified, person_name, result_uid
from dicom_io.raster import Grid, bounds_of, draw
from dicom_io.source import Source, coarser, matrix_origin, matrix_size, pixel_spacing
from pipeline.domain import CELL_CLASSES, Analysis, CellCode, Polygon, Report

TILE_SIDE = 512  # pixels; a frame of 1 bit per pixel ends on a byte, so each can be served alone
MAX_TILES = 1024  # 256 MiB of labels in memory
MAX_FRAMES = 4096  # 128 MiB of mask in the file
CELL_MPP = 0.4  # a cell of 12 µm is 30 pixels wide
REGION_MPP = 8.0


def encode_segmentation(
    report: Report, analysis: Analysis, source: Source, codes_of: Mapping[str, CellCode]
) -> Dataset:
    """The nucleated cells, one segment per class that occurs, in the order of CELL_CLASSES.

    Where outlines overlap, a pixel belongs to the cell that comes later in the analysis.

    Raises
    ------
    ValueError
        If there is no cell.
    """
    present = {cell.class_name for cell in analysis.cells}
    names = [name for name in CELL_CLASSES if name in present]
    segments = [_cell_segment(report, i + 1, codes_of[name]) for i, name in enumerate(names)]
    polygons = [cell.polygon for cell in analysis.cells]
    labels = np.array([names.index(cell.class_name) + 1 for cell in analysis.cells], dtype=np.uint8)
    return _encode(report, ResultKind.CELLS, source, CELL_MPP, segments, polygons, labels)


def encode_region_segmentation(report: Report, analysis: Analysis, source: Source) -> Dataset:
    """The countable regions, one segment.

    Raises
    ------
    ValueError
        If there is no region.
    """
    segment = SegmentDescription(
        segment_number=1,
        segment_label="countable region",
        segmented_property_category=codes.CATEGORY_REGION,
        segmented_property_type=codes.COUNTABLE_REGION,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=codes.algorithm_sequence(report.bundle),
        tracking_uid=result_uid(report, ResultKind.REGIONS, "segment"),
        tracking_id="countable region",
        display_color=codes.display_color(codes.REGION_COLOR),
    )
    polygons = [region.polygon for region in analysis.regions]
    labels = np.ones(len(polygons), dtype=np.uint8)
    return _encode(report, ResultKind.REGIONS, source, REGION_MPP, [segment], polygons, labels)


def choose_level(source: Source, polygons: Sequence[Polygon], labels: NDArray[np.uint8], mpp: float) -> Dataset:
    """The level nearest to `mpp` on which the drawing stays within MAX_TILES and MAX_FRAMES.

    A slide without a level that coarse gets one that its pyramid would have: the coarsest, halved as often as needed.
    """
    ranked = sorted(source.levels, key=lambda level: abs(log(1000 * pixel_spacing(level)[0] / mpp)))
    bounds = bounds_of(polygons)
    for level in chain(ranked, coarser(source.levels[-1])):
        tile, polygon = _grid(level).touched(bounds * np.tile(_scale(source.base, level), 2))
        frames = np.unique(tile * (int(labels.max()) + 1) + labels[polygon])
        if len(np.unique(tile)) <= MAX_TILES and len(frames) <= MAX_FRAMES:
            break
    return level


def _cell_segment(report: Report, number: int, code: CellCode) -> SegmentDescription:
    reviewed = SegmentAlgorithmTypeValues.SEMIAUTOMATIC if is_verified(report) else SegmentAlgorithmTypeValues.AUTOMATIC
    return SegmentDescription(
        segment_number=number,
        segment_label=code.name,
        segmented_property_category=codes.cell_category(code),
        segmented_property_type=codes.cell_concept(code),
        algorithm_type=reviewed,
        algorithm_identification=codes.algorithm_sequence(report.bundle),
        tracking_uid=result_uid(report, ResultKind.CELLS, code.name),
        tracking_id=code.name,
        anatomic_regions=[codes.BONE_MARROW],
        display_color=codes.display_color(codes.class_color(code.name)),
    )


def _encode(
    report: Report,
    kind: ResultKind,
    source: Source,
    mpp: float,
    segments: Sequence[SegmentDescription],
    polygons: Sequence[Polygon],
    labels: NDArray[np.uint8],
) -> Dataset:
    level = choose_level(source, polygons, labels, mpp)
    grid, scale = _grid(level), _scale(source.base, level)
    tiles, frames = draw(grid, [polygon * scale for polygon in polygons], labels)
    if not len(tiles):
        raise ValueError(f"nothing to draw in a segmentation of kind {kind}")
    ds = construct(
        hd.seg.Segmentation,
        report,
        kind,
        level,
        source_images=[level],
        pixel_array=frames,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        pixel_measures=level.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence,
        plane_positions=[_position(level, *divmod(int(tile), grid.columns)) for tile in tiles],
        dimension_organization_type="TILED_SPARSE",
        content_label="CELLS" if kind is ResultKind.CELLS else "REGIONS",
        content_description=caution(report),
        content_creator_name=person_name(report.reviewer),
    )
    _take_matrix(ds, level, report)
    return ds


def _grid(level: Dataset) -> Grid:
    width, height = matrix_size(level)
    return Grid(width=width, height=height, side=TILE_SIDE)


def _scale(base: Dataset, level: Dataset) -> NDArray[np.float64]:
    """Pixels of `level` per pixel of `base`, (2,) of x, y."""
    return np.divide(pixel_spacing(base), pixel_spacing(level))[::-1]


def _position(level: Dataset, row: int, column: int) -> hd.PlanePositionSequence:
    x_offset, y_offset = matrix_origin(level)
    return compute_plane_position_tiled_full(
        row_index=row + 1,
        column_index=column + 1,
        x_offset=x_offset,
        y_offset=y_offset,
        rows=TILE_SIDE,
        columns=TILE_SIDE,
        image_orientation=level.ImageOrientationSlide,
        pixel_spacing=pixel_spacing(level),
    )


def _take_matrix(ds: Dataset, level: Dataset, report: Report) -> None:
    """Give the matrix of the source level, which highdicom shrinks to the tiles, and a stable dimension UID."""
    ds.TotalPixelMatrixColumns, ds.TotalPixelMatrixRows = matrix_size(level)
    ds.PatientOrientation = ""  # a slide lies on no patient axis (type 2C of General Image)
    ds.TotalPixelMatrixOriginSequence = level.TotalPixelMatrixOriginSequence
    dimension = result_uid(report, ds.Modality, ds.ContentLabel, "dimension")
    for item in (*ds.DimensionOrganizationSequence, *ds.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimension
