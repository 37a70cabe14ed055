"""Polygons to the pixels of a tiled matrix, one tile at a time, so that memory follows what is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.domain import Polygon

Frames = NDArray[np.uint8]  # (T, side, side)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Square tiles over a matrix of `width` x `height` pixels; those at the right and lower edge reach over it."""

    width: int
    height: int
    side: int

    @property
    def columns(self) -> int:
        return -(-self.width // self.side)

    @property
    def rows(self) -> int:
        return -(-self.height // self.side)

    def touched(self, bounds: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which tiles the boxes meet.

        Parameters
        ----------
        bounds : (N, 4) of (x0, y0, x1, y1), pixels of the matrix

        Returns
        -------
        tile, box : (M,) each
            Pairs of a tile, numbered row-major from 0, and the index of a box; by tile, then by box.
        """
        last = np.array([self.columns - 1, self.rows - 1])
        low = np.maximum(np.floor(bounds[:, :2] / self.side).astype(np.intp), 0)
        high = np.minimum(np.floor(bounds[:, 2:] / self.side).astype(np.intp), last)
        wide, tall = np.maximum(high - low + 1, 0).T
        box = np.repeat(np.arange(len(bounds)), wide * tall)
        nth = np.arange(len(box)) - np.repeat(np.cumsum(wide * tall) - wide * tall, wide * tall)
        tile = (low[box, 1] + nth // wide[box]) * self.columns + low[box, 0] + nth % wide[box]
        order = np.argsort(tile, kind="stable")
        return tile[order], box[order]


def bounds_of(polygons: Sequence[Polygon]) -> NDArray[np.float64]:
    """Bounding boxes, (N, 4) of (x0, y0, x1, y1)."""
    boxes = [(*polygon.min(axis=0), *polygon.max(axis=0)) for polygon in polygons]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def fill(polygon: Polygon, x0: int, y0: int, width: int, height: int) -> NDArray[np.bool_]:
    """Which pixel centres of a window lie inside a polygon (even-odd rule).

    Parameters
    ----------
    polygon : (N, 2) of (x, y), pixels; pixel (i, j) covers [i, i + 1) x [j, j + 1)
    x0, y0, width, height : the window

    Returns
    -------
    (height, width)
    """
    start = polygon - (x0, y0)
    end = np.concatenate([start[1:], start[:1]])
    centre = np.arange(height)[:, None] + 0.5  # (H, 1)
    crosses = (start[:, 1] <= centre) != (end[:, 1] <= centre)  # (H, N)
    rise = end[:, 1] - start[:, 1]
    slope = np.divide(end[:, 0] - start[:, 0], rise, out=np.zeros_like(rise), where=rise != 0)
    x = start[:, 0] + (centre - start[:, 1]) * slope  # (H, N)
    row, edge = np.nonzero(crosses)
    first = np.clip(np.ceil(x[row, edge] - 0.5), 0, width).astype(np.intp)  # the first centre right of the crossing
    toggles = np.bincount(row * (width + 1) + first, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.asarray(np.cumsum(toggles[:, :width], axis=1) % 2 == 1)


def draw(grid: Grid, polygons: Sequence[Polygon], labels: NDArray[np.uint8]) -> tuple[NDArray[np.intp], Frames]:
    """Draw labelled polygons in order, a later one over an earlier one.

    Parameters
    ----------
    polygons : each (N, 2) of (x, y), pixels of the matrix
    labels : (polygons,), from 1

    Returns
    -------
    tiles : (T,)
        The tiles with at least one labelled pixel, numbered row-major from 0.
    frames : (T, side, side)
        Their labels; 0 is empty.
    """
    tile, polygon = grid.touched(bounds_of(polygons))
    tiles, nth = np.unique(tile, return_inverse=True)
    frames = np.zeros((len(tiles), grid.side, grid.side), dtype=np.uint8)
    origins = np.stack([tiles % grid.columns, tiles // grid.columns], axis=1) * grid.side  # (T, 2) of x, y
    for frame, index in zip(nth, polygon, strict=True):
        _draw_one(frames[frame], polygons[index] - origins[frame], int(labels[index]))
    for frame, (x, y) in zip(frames, origins, strict=True):
        frame[max(0, grid.height - y) :] = 0
        frame[:, max(0, grid.width - x) :] = 0
    used = np.asarray(frames.any(axis=(1, 2)))
    return tiles[used], frames[used]


def _draw_one(frame: NDArray[np.uint8], polygon: Polygon, label: int) -> None:
    side = len(frame)
    x0, y0 = np.clip(np.floor(polygon.min(axis=0)).astype(int), 0, side)
    x1, y1 = np.clip(np.ceil(polygon.max(axis=0)).astype(int), 0, side)
    window = frame[y0:y1, x0:x1]
    window[fill(polygon, x0, y0, x1 - x0, y1 - y0)] = label
