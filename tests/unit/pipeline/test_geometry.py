import numpy as np
import pytest

from pipeline.domain import Box
from pipeline.geometry import area, box_of, centroid, clip, contains, fill, grid, outline, share_inside

SQUARE = np.array([(2.0, 3.0), (12.0, 3.0), (12.0, 9.0), (2.0, 9.0)])


def test_measures_of_a_rectangle() -> None:
    assert area(SQUARE) == 60
    assert centroid(SQUARE) == (7.0, 6.0)
    assert box_of(SQUARE) == Box(x0=2, y0=3, x1=12, y1=9)


def test_centroid_of_a_line_is_its_middle() -> None:
    assert centroid(np.array([(0.0, 0.0), (4.0, 0.0), (2.0, 0.0)])) == (2.0, 0.0)


def test_outline_and_fill_are_inverse_within_a_pixel() -> None:
    y, x = np.mgrid[:60, :80]
    disc = (x - 40) ** 2 + (y - 30) ** 2 < 20**2
    polygon = outline(disc)
    assert polygon is not None
    again = fill([polygon], disc.shape) > 0
    assert (again & disc).sum() / (again | disc).sum() > 0.97


def test_outline_of_nothing_is_none() -> None:
    assert outline(np.zeros((5, 5), dtype=bool)) is None


def test_a_box_owns_its_lower_edge_only() -> None:
    box = Box(x0=0, y0=0, x1=10, y1=10)
    assert contains(box, (0.0, 0.0))
    assert not contains(box, (10.0, 5.0))


def test_clip_to_the_slide() -> None:
    assert clip(Box(x0=-5, y0=2, x1=50, y1=90), (40, 60)) == Box(x0=0, y0=2, x1=40, y1=60)


@pytest.mark.parametrize(("least", "count"), [(0.25, 6), (0.5, 5), (1.0, 2)])
def test_grid_keeps_edge_tiles_by_their_area(least: float, count: int) -> None:
    assert len(grid((250, 150), 100, least=least)) == count


def test_share_inside_a_polygon() -> None:
    assert share_inside(Box(x0=2, y0=3, x1=22, y1=9), [SQUARE]) == pytest.approx(0.5)
