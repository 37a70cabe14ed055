"""Cell outlines: Microscopy Bulk Simple Annotations (PS3.3 A.87, C.37.1).

One group per class, polygons in pixels of the base image, with the probability and area of each cell. 2D coordinates
name exactly one image, so they are exact and need no frame of reference.
"""

from collections.abc import Mapping, Sequence

import highdicom as hd
import numpy as np
from highdicom.ann import AnnotationGroup, AnnotationGroupGenerationTypeValues, GraphicTypeValues, Measurements
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_io import codes
from dicom_io.provenance import ResultKind, caution, construct, is_verified, person_name, result_uid
from dicom_io.source import Source
from pipeline.domain import CELL_CLASSES, Analysis, Cell, CellCode, Report


def encode_annotations(report: Report, analysis: Analysis, source: Source, codes_of: Mapping[str, CellCode]) -> Dataset:
    """The outline of every cell, one group per class that occurs, in the order of CELL_CLASSES.

    Raises
    ------
    ValueError
        If there is no cell.
    """
    by_class = {name: [cell for cell in analysis.cells if cell.class_name == name] for name in CELL_CLASSES}
    occurring = [(codes_of[name], cells) for name, cells in by_class.items() if cells]
    if not occurring:
        raise ValueError("no cell to annotate")
    return construct(
        hd.ann.MicroscopyBulkSimpleAnnotations,
        report,
        ResultKind.ANNOTATIONS,
        source.base,
        source_images=[source.base],
        annotation_coordinate_type="2D",
        annotation_groups=[_group(report, i + 1, code, cells) for i, (code, cells) in enumerate(occurring)],
        content_label="CELLS",
        content_description=caution(report),
        content_creator_name=person_name(report.reviewer),
    )


def _group(report: Report, number: int, code: CellCode, cells: Sequence[Cell]) -> AnnotationGroup:
    reviewed = is_verified(report)
    kind = AnnotationGroupGenerationTypeValues
    return AnnotationGroup(
        number=number,
        uid=result_uid(report, ResultKind.ANNOTATIONS, code.name),
        label=code.name,
        annotated_property_category=codes.cell_category(code),
        annotated_property_type=codes.cell_concept(code),
        graphic_type=GraphicTypeValues.POLYGON,
        graphic_data=[outline(cell) for cell in cells],
        algorithm_type=kind.SEMIAUTOMATIC if reviewed else kind.AUTOMATIC,
        algorithm_identification=codes.algorithm_sequence(report.bundle),
        measurements=[
            _measure(codes.PROBABILITY, codes.NO_UNITS, [cell.probability for cell in cells]),
            _measure(codes.AREA, codes.SQUARE_UM, [area(cell) * report.slide.mpp**2 for cell in cells]),
            _measure(codes.CELL_NUMBER, codes.NO_UNITS, [cell.id for cell in cells]),
        ],
        display_color=codes.display_color(codes.class_color(code.name)),
    )


def _measure(name: CodedConcept, unit: CodedConcept, values: Sequence[float]) -> Measurements:
    return Measurements(name=name, values=np.array(values, dtype=np.float32), unit=unit)


def outline(cell: Cell) -> NDArray[np.float32]:
    """The cell's polygon as ANN wants it: open, at least three corners, (N, 2) of (column, row), float32.

    A cell whose polygon has fewer corners is shown by its box.
    """
    polygon = cell.polygon.astype(np.float32)
    while len(polygon) > 1 and np.array_equal(polygon[0], polygon[-1]):
        polygon = polygon[:-1]
    if len(polygon) >= 3:
        return polygon
    box = cell.box
    return np.array([(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)], dtype=np.float32)


def area(cell: Cell) -> float:
    """Area inside the polygon, square pixels."""
    x, y = outline(cell).astype(np.float64).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
