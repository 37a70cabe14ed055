"""A picture of what was counted: the slide with regions, tiles and cells drawn on it."""

from collections.abc import Mapping

import cv2
import numpy as np

from pipeline.domain import Analysis, Box, RgbImage, Slide

REGION_COLOUR = (20, 20, 20)
COUNTABLE_COLOUR = (40, 140, 60)
REFUSED_COLOUR = (170, 170, 170)


def draw_overview(
    slide: Slide, analysis: Analysis, colours: Mapping[str, tuple[int, int, int]], max_side: int = 2048
) -> RgbImage:
    """(H, W, 3), the longer side `max_side` or the slide's own where that is smaller.

    Parameters
    ----------
    colours
        RGB of each class; a class without one is drawn in black.

    """
    factor = min(1.0, max_side / max(slide.size))
    image = np.ascontiguousarray(slide.read(Box(x0=0, y0=0, x1=slide.size[0], y1=slide.size[1]), slide.mpp / factor))
    for tile in analysis.tiles:
        corners = [
            (round(tile.box.x0 * factor), round(tile.box.y0 * factor)),
            (round(tile.box.x1 * factor), round(tile.box.y1 * factor)),
        ]
        cv2.rectangle(image, corners[0], corners[1], COUNTABLE_COLOUR if tile.countable else REFUSED_COLOUR, 1)
    for region in analysis.regions:
        cv2.polylines(image, [_points(region.polygon, factor)], isClosed=True, color=REGION_COLOUR, thickness=2)
    for cell in analysis.cells:
        colour = colours.get(cell.class_name, (0, 0, 0))
        cv2.polylines(
            image, [_points(cell.polygon, factor)], isClosed=True, color=colour, thickness=1, lineType=cv2.LINE_AA
        )
    return np.asarray(image, dtype=np.uint8)


def _points(
    polygon: np.ndarray[tuple[int, ...], np.dtype[np.float64]], factor: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    return np.round(polygon * factor).astype(np.int32).reshape(-1, 1, 2)
