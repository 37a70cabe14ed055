"""Polygons, boxes and grids as values; level-0 pixels, (x, y), unless a name says otherwise."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.domain import Box, Polygon

Mask = NDArray[np.bool_]


def box_of(polygon: Polygon) -> Box:
    """The smallest box of whole pixels around a polygon."""
    low, high = np.floor(polygon.min(axis=0)), np.ceil(polygon.max(axis=0))
    return Box(x0=int(low[0]), y0=int(low[1]), x1=int(high[0]), y1=int(high[1]))


def clip(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box on a slide of width and height `size`."""
    return Box(x0=max(box.x0, 0), y0=max(box.y0, 0), x1=min(box.x1, size[0]), y1=min(box.y1, size[1]))


def widen(box: Box, margin: int) -> Box:
    """The box with `margin` pixels more on each side."""
    return Box(x0=box.x0 - margin, y0=box.y0 - margin, x1=box.x1 + margin, y1=box.y1 + margin)


def centroid(polygon: Polygon) -> tuple[float, float]:
    """Centre of area; the mean of the points where the area vanishes."""
    x, y = polygon[:, 0], polygon[:, 1]
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    total = cross.sum()
    if abs(total) < 1e-9:
        return float(x.mean()), float(y.mean())
    return (
        float(((x + np.roll(x, -1)) * cross).sum() / (3 * total)),
        float(((y + np.roll(y, -1)) * cross).sum() / (3 * total)),
    )


def area(polygon: Polygon) -> float:
    """Enclosed area in square pixels."""
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2)


def contains(box: Box, point: tuple[float, float]) -> bool:
    """True for a point in the half-open box."""
    return box.x0 <= point[0] < box.x1 and box.y0 <= point[1] < box.y1


def outline(mask: Mask, tolerance: float = 0.5) -> Polygon | None:
    """The outer contour of the largest component in the mask's pixels, pixel centres at +0.5; None when it is a speck.

    Parameters
    ----------
    mask
        (H, W) bool.
    tolerance
        How far a point may lie from the line that replaces it.

    """
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    largest = max(contours, key=cv2.contourArea)
    simple = cv2.approxPolyDP(largest, tolerance, closed=True)[:, 0, :]
    if len(simple) < 3 or cv2.contourArea(largest) <= 0:
        return None
    return np.asarray(simple, dtype=np.float64) + 0.5


def fill(polygons: Sequence[Polygon], shape: tuple[int, int], scale: float = 1.0) -> NDArray[np.int32]:
    """Instance labels (H, W): 0 background, n + 1 the n-th polygon; `scale` is output pixels per polygon unit."""
    labels = np.zeros(shape, dtype=np.int32)
    for number, polygon in enumerate(polygons, start=1):
        points = np.round((polygon * scale - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(labels, [points], number, shift=4)
    return labels


def share_inside(box: Box, polygons: Sequence[Polygon], samples: int = 12) -> float:
    """Share of a box that lies in any of the polygons, on a grid of `samples` x `samples` points."""
    steps = (np.arange(samples) + 0.5) / samples
    width, height = box.size
    points = [(box.x0 + sx * width, box.y0 + sy * height) for sy in steps for sx in steps]
    rings = [polygon.astype(np.float32).reshape(-1, 1, 2) for polygon in polygons]
    inside = [any(cv2.pointPolygonTest(ring, point, measureDist=False) >= 0 for ring in rings) for point in points]
    return float(np.mean(inside))


def grid(size: tuple[int, int], side: int, *, least: float = 0.25) -> tuple[Box, ...]:
    """Squares of `side` from the corner (0, 0), row by row; those cut by the edge are kept from `least` of the area."""
    width, height = size
    boxes = (
        clip(Box(x0=x, y0=y, x1=x + side, y1=y + side), size)
        for y in range(0, height, side)
        for x in range(0, width, side)
    )
    return tuple(box for box in boxes if box.size[0] * box.size[1] >= least * side * side)
