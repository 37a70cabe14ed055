import numpy as np
import pytest

from pipeline.bundle import Bundle
from pipeline.cells import CellMask, CellsConfig, merge_seams, segment_image, suppress
from pipeline.domain import Box
from pipeline.geometry import centroid
from pipeline.image import ImageSlide
from pipeline.phantom.samples import FieldSample, render_field

MPP = 180 / 1024


def disc(x: float, y: float, radius: float, quality: float) -> CellMask:
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return CellMask(polygon=np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1), quality=quality)


def test_the_better_of_two_masks_of_one_cell_is_kept() -> None:
    kept = suppress([disc(300, 300, 40, 0.8), disc(304, 300, 40, 0.9), disc(500, 300, 40, 0.7)], MPP, CellsConfig())
    assert [cell.quality for cell in kept] == [0.9, 0.7]


def test_a_mask_inside_a_better_one_goes() -> None:
    assert len(suppress([disc(300, 300, 40, 0.9), disc(290, 300, 18, 0.8)], MPP, CellsConfig())) == 1


@pytest.mark.parametrize("radius", [4, 150])
def test_masks_of_impossible_size_go(radius: float) -> None:
    assert suppress([disc(300, 300, radius, 0.9)], MPP, CellsConfig()) == []


def test_a_cell_two_tiles_saw_is_kept_once() -> None:
    kept = merge_seams([disc(100, 100, 40, 0.8), disc(103, 101, 38, 0.9), disc(190, 100, 40, 0.7)])
    assert [cell.quality for cell in kept] == [0.9, 0.7]


def test_prompted_finds_the_cells_of_a_field(bundle: Bundle, field: FieldSample) -> None:
    labels = segment_image(field.image, MPP, bundle)
    assert labels.dtype == np.uint16
    assert labels.shape == field.image.shape[:2]
    found = 0
    for cell in field.cells:
        own = field.labels == cell.id + 1
        numbers, counts = np.unique(labels[own], return_counts=True)
        best = numbers[counts.argmax()]
        found += best > 0 and counts.max() / (own.sum() + (labels == best).sum() - counts.max()) > 0.5
    assert found >= 0.75 * len(field.cells)


def test_an_image_without_cells_gives_no_labels(bundle: Bundle) -> None:
    assert not segment_image(np.full((300, 300, 3), 230, np.uint8), 0.2, bundle).any()


def test_a_cell_on_a_seam_is_counted_once(bundle: Bundle) -> None:
    sample = render_field(900_002, mpp=MPP, size_px=640)
    slide = ImageSlide(sample.image, MPP)
    halves = [Box(x0=0, y0=0, x1=320, y1=640), Box(x0=320, y0=0, x1=640, y1=640)]
    whole = bundle.cells.cut(slide, Box(x0=0, y0=0, x1=640, y1=640), "prompted")
    parts = merge_seams([cell for half in halves for cell in bundle.cells.cut(slide, half, "prompted")])
    near = [centroid(cell.polygon) for cell in parts]
    doubled = sum(np.hypot(a[0] - b[0], a[1] - b[1]) < 12 for i, a in enumerate(near) for b in near[:i])
    assert doubled == 0
    assert abs(len(parts) - len(whole)) <= max(1, 0.08 * len(whole))


def test_everything_finds_the_cells_of_a_small_field(bundle: Bundle, field: FieldSample) -> None:
    image = np.ascontiguousarray(field.image[:160, :160])
    cells = bundle.cells.segment(image, MPP, "everything")
    assert cells
    for cell in cells:
        assert cell.quality >= bundle.cells.config.everything_quality
        assert 0 <= cell.polygon.min() <= cell.polygon.max() <= 160 + 4
