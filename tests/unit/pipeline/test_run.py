"""The whole chain on a small synthetic slide."""

import numpy as np
import pytest

from pipeline.bundle import Bundle
from pipeline.domain import CELL_CLASSES, Box, Cell
from pipeline.errors import NoCountableRegion, TooFewCells
from pipeline.geometry import centroid, contains
from pipeline.image import ImageSlide
from pipeline.overview import draw_overview
from pipeline.phantom.samples import FieldSample
from pipeline.run import AnalysisSettings, analyse, rescreen

MPP = 180 / 1024
WHOLE = AnalysisSettings(roi="whole", tiles="all", minimum_cells=1000)


@pytest.fixture(scope="module")
def slide(field: FieldSample) -> ImageSlide:
    return ImageSlide(field.image, MPP)


def test_the_chain_counts_repeats_and_reports(bundle: Bundle, slide: ImageSlide, field: FieldSample) -> None:
    seen: list[tuple[str, float]] = []
    first = analyse(slide, bundle, WHOLE, lambda stage, done: seen.append((stage, done)))
    again = analyse(slide, bundle, WHOLE, lambda _stage, _done: None)

    stages = list(dict.fromkeys(stage for stage, _ in seen))
    assert stages == ["quality", "regions", "tiles", "cells", "classes", "count"]
    assert all(0 <= done <= 1 for _, done in seen)
    assert [(c.class_name, c.probabilities) for c in first.cells] == [
        (c.class_name, c.probabilities) for c in again.cells
    ]
    assert all(np.array_equal(a.polygon, b.polygon) for a, b in zip(first.cells, again.cells, strict=True))
    assert first.differential == again.differential

    assert 0.6 * len(field.cells) <= len(first.cells) <= 1.4 * len(field.cells)
    assert [cell.id for cell in first.cells] == list(range(1, len(first.cells) + 1))
    assert all(cell.review == (cell.probability < 0.6) for cell in first.cells)
    assert all(sum(cell.probabilities) == pytest.approx(1, abs=0.01) for cell in first.cells)
    assert any("at least 1000 are wanted" in warning for warning in first.warnings)
    inside = Box(x0=-8, y0=-8, x1=slide.size[0] + 8, y1=slide.size[1] + 8)
    assert all(contains(inside, centroid(cell.polygon)) for cell in first.cells)

    picture = draw_overview(slide, first, dict.fromkeys(CELL_CLASSES, (200, 0, 0)), max_side=256)
    assert picture.shape == (256, 256, 3)


def test_a_blank_slide_cannot_be_counted(bundle: Bundle) -> None:
    blank = ImageSlide(np.full((900, 900, 3), 235, np.uint8), 0.2)
    with pytest.raises(NoCountableRegion, match="blank"):
        analyse(blank, bundle, WHOLE, lambda _stage, _done: None)


def test_without_checks_a_blank_slide_has_too_few_cells(bundle: Bundle) -> None:
    blank = ImageSlide(np.full((900, 900, 3), 235, np.uint8), 0.2)
    settings = AnalysisSettings(roi="whole", tiles="all", check_quality=False)
    with pytest.raises(TooFewCells):
        analyse(blank, bundle, settings, lambda _stage, _done: None)


def test_classes_the_model_doubts_are_flagged() -> None:
    def cell(name: str, probability: float) -> Cell:
        return Cell(
            id=1,
            box=Box(x0=0, y0=0, x1=1, y1=1),
            polygon=np.zeros((3, 2)),
            class_name=name,
            probability=probability,
            probabilities=(),
            review=False,
        )

    cells = [cell("monocyte", 0.95), cell("monocyte", 0.8), cell("lymphocyte", 0.95), cell("others", 0.3)]
    assert rescreen(cells, 0.10) == (("monocyte", "rescreen"),)
