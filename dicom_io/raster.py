"""Polygons to the pixels of a tiled matrix, one tile at a time, so that memory follows what is drawn."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.domain import Polygon


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

    def touched(self, polygon: Polygon) -> Iterator[tuple[int, int]]:
        """The (row, column) of each tile that the bounding box of the polygon meets."""
        left, top = np.floor(polygon.min(axis=0) / self.side).astype(int)
        right, bottom = np.floor(polygon.max(axis=0) / self.side).astype(int)
        for row in range(max(0, top), min(self.rows - 1, bottom) + 1):
            for column in range(max(0, left), min(self.columns - 1, right) + 1):
                yield row, column


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
    end = np.roll(start, -1, axis=0)
    centre = np.arange(height)[:, None] + 0.5  # (H, 1)
    crosses = (start[:, 1] <= centre) != (end[:, 1] <= centre)  # (H, N)
    rise = end[:, 1] - start[:, 1]
    slope = np.divide(end[:, 0] - start[:, 0], rise, out=np.zeros_like(rise), where=rise != 0)
    x = start[:, 0] + (centre - start[:, 1]) * slope  # (H, N)
    row, edge = np.nonzero(crosses)
    first = np.clip(np.ceil(x[row, edge] - 0.5), 0, width).astype(np.intp)  # the first centre right of the crossing
    toggles = np.bincount(row * (width + 1) + first, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.asarray(np.cumsum(toggles[:, :width], axis=1) % 2 == 1)


def occupied(grid: Grid, polygons: Iterable[Polygon]) -> dict[tuple[int, int], list[int]]:
    """For each tile in row-major order, the indices of the polygons that may touch it."""
    tiles: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for index, polygon in enumerate(polygons):
        for tile in grid.touched(polygon):
            tiles[tile].append(index)
    return dict(sorted(tiles.items()))


def draw(
    grid: Grid, polygons: Sequence[Polygon], labels: Sequence[int]
) -> tuple[list[tuple[int, int]], NDArray[np.uint8]]:
    """Draw labelled polygons in order, a later one over an earlier one.

    Parameters
    ----------
    polygons : each (N, 2) of (x, y), pixels of the matrix
    labels : 1..255, one per polygon

    Returns
    -------
    tiles : (row, column) of each tile with at least one labelled pixel, row-major
    frames : (tiles, side, side)
    """
    tiles = occupied(grid, polygons)
    frames = np.zeros((len(tiles), grid.side, grid.side), dtype=np.uint8)
    for frame, ((row, column), indices) in zip(frames, tiles.items(), strict=True):
        for index in indices:
            _draw_one(frame, polygons[index] - (column * grid.side, row * grid.side), labels[index])
        frame[grid.height - row * grid.side :] = 0
        frame[:, grid.width - column * grid.side :] = 0
    used = np.asarray(frames.any(axis=(1, 2)))
    return [tile for tile, is_used in zip(tiles, used, strict=True) if is_used], frames[used]


def _draw_one(frame: NDArray[np.uint8], polygon: Polygon, label: int) -> None:
    side = len(frame)
    x0, y0 = np.clip(np.floor(polygon.min(axis=0)).astype(int), 0, side)
    x1, y1 = np.clip(np.ceil(polygon.max(axis=0)).astype(int), 0, side)
    window = frame[y0:y1, x0:x1]
    window[fill(polygon, x0, y0, x1 - x0, y1 - y0)] = label
