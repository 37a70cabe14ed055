"""Cells cut out at one scale, so that their sizes can be compared by eye."""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.domain import Box, Cell, RgbImage, Slide

FIELD_UM = 26.0  # the largest nucleated cells, but for megakaryocytes, with a margin
_WHITE = 255


def crop(slide: Slide, centre: tuple[float, float], field_um: float, side: int) -> RgbImage:
    """The square field of `field_um` around `centre`, (side, side, 3); white outside the slide."""
    half = field_um / slide.mpp / 2
    x0, y0 = round(centre[0] - half), round(centre[1] - half)
    width = max(1, round(2 * half))
    image = slide.read(Box(x0=x0, y0=y0, x1=x0 + width, y1=y0 + width), width * slide.mpp / side)
    return _fit(image, side)


def crop_sheet(
    slide: Slide, centres: Sequence[tuple[float, float]], field_um: float, side: int, columns: int
) -> RgbImage:
    """Many crops in one picture, row by row.

    Parameters
    ----------
    slide : Slide
    centres : sequence of (x, y)
        In level-0 pixels.
    field_um : float
        Side of each field, µm.
    side : int
        Side of each crop, pixels.
    columns : int
        Crops in a row.

    Returns
    -------
    RgbImage
        (rows * side, columns * side, 3); places without a crop are white.
    """
    rows = max(1, math.ceil(len(centres) / columns))
    sheet = np.full((rows * side, columns * side, 3), _WHITE, dtype=np.uint8)
    # neighbours one after the other, so that a tile of the slide is decoded once
    for place in sorted(range(len(centres)), key=lambda number: _neighbourhood(centres[number])):
        top, left = place // columns * side, place % columns * side
        sheet[top : top + side, left : left + side] = crop(slide, centres[place], field_um, side)
    return sheet


def class_strips(
    slide: Slide, cells: Sequence[Cell], classes: Sequence[str], field_um: float, side: int, most: int
) -> dict[str, RgbImage]:
    """Of each class that has cells, its `most` most probable ones side by side, (side, n * side, 3)."""
    strips = {}
    for name in classes:
        own = sorted((cell for cell in cells if cell.class_name == name), key=lambda cell: (-cell.probability, cell.id))
        if shown := own[:most]:
            centres = [((cell.box.x0 + cell.box.x1) / 2, (cell.box.y0 + cell.box.y1) / 2) for cell in shown]
            strips[name] = crop_sheet(slide, centres, field_um, side, len(shown))
    return strips


def _neighbourhood(centre: tuple[float, float]) -> tuple[int, int]:
    return int(centre[1]) // 512, int(centre[0]) // 512


def _fit(image: RgbImage, side: int) -> RgbImage:
    """The image cut or filled with white to `side` pixels: rounding may leave it one off."""
    fitted = np.full((side, side, 3), _WHITE, dtype=np.uint8)
    height, width = min(side, image.shape[0]), min(side, image.shape[1])
    fitted[:height, :width] = image[:height, :width]
    return fitted
