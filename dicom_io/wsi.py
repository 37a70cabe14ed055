"""Pixels → a DICOM whole slide pyramid (VL Whole Slide Microscopy Image, PS3.3 A.32.8), streamed.

Rows of tiles pass from level 0 upwards once; memory grows with the width of the slide, not with its area. Levels
halve until one tile holds them. Frames are JPEG baseline 4:2:2, TILED_FULL.
"""

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from dicom_io.encapsulation import FrameWriter
from dicom_io.wsi_dataset import LevelGeometry, PyramidUids, WsiIdentity, level_dataset
from pipeline.domain import Box, RgbImage, Slide

__all__ = ["WsiIdentity", "write_pyramid"]

WHITE = 255
_READ_WIDTH = 2048  # pixels asked of the slide at a time


def write_pyramid(
    slide: Slide,
    out: Path,
    identity: WsiIdentity,
    *,
    tile_size: int = 512,
    quality: int = 85,
    progress: Callable[[float], None] = lambda done: None,
) -> tuple[Path, ...]:
    """Write `slide` as DICOM files `level-<n>.dcm`, the base level first.

    Parameters
    ----------
    slide : Slide
        Read once, in rows of tiles from top to bottom.
    out : Path
        Folder, made when absent. Files of the same names are replaced.
    identity : WsiIdentity
        With `synthetic` every level says so (SyntheticData, ImageComments, SeriesDescription).
    tile_size : int
        Pixels a side of a tile.
    quality : int
        JPEG quality, 1 to 95.
    progress : Callable[[float], None]
        Called with the part done, 0..1.

    Returns
    -------
    tuple[Path, ...]
        One file for each level.
    """
    if tile_size < 2 or tile_size % 2:
        raise ValueError(f"tile_size must be even, is {tile_size}")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".writing-") as folder, contextlib.ExitStack() as stack:
        levels: list[_Level] = []
        for geometry in reversed(list(_geometries(slide, tile_size))):
            frames = stack.enter_context(FrameWriter(Path(folder) / f"{geometry.number}.frames", quality))
            levels.insert(0, _Level(geometry, frames, levels[0] if levels else None))
        rows = math.ceil(slide.size[1] / tile_size)
        for row, strip in enumerate(_strips(slide, tile_size)):
            levels[0].add(strip)
            progress((row + 1) / rows)
        levels[0].flush()
        uids = PyramidUids.of(identity, levels[0].frames.digest)
        return tuple(_finish(level, identity, uids, out) for level in levels)


class _Level:
    """One level while it is written: rows go in, tiles go to its file, halves to the level above."""

    def __init__(self, geometry: LevelGeometry, frames: FrameWriter, above: "_Level | None") -> None:
        self.geometry = geometry
        self.frames = frames
        self._above = above
        self._waiting: RgbImage = np.empty((0, geometry.size[0], 3), dtype=np.uint8)

    def add(self, rows: RgbImage) -> None:
        self._waiting = np.concatenate([self._waiting, rows])
        tile = self.geometry.tile_size
        while len(self._waiting) >= tile:
            self._finish_strip(self._waiting[:tile])
            self._waiting = self._waiting[tile:]

    def flush(self) -> None:
        """Write the last row of tiles."""
        if len(self._waiting):
            self._finish_strip(self._waiting)
        if self._above is not None:
            self._above.flush()

    def _finish_strip(self, strip: RgbImage) -> None:
        tile = self.geometry.tile_size
        for left in range(0, strip.shape[1], tile):
            image = np.full((tile, tile, 3), WHITE, dtype=np.uint8)
            part = strip[:, left : left + tile]
            image[: part.shape[0], : part.shape[1]] = part
            self.frames.append(image)
        if self._above is not None:
            self._above.add(_halve(strip))


def _geometries(slide: Slide, tile_size: int) -> Iterator[LevelGeometry]:
    width, height = slide.size
    number = 0
    while True:
        yield LevelGeometry(
            number=number, size=(width, height), tile_size=tile_size, mpp=slide.mpp * 2**number, base_size=slide.size
        )
        if max(width, height) <= tile_size:
            return
        width, height, number = math.ceil(width / 2), math.ceil(height / 2), number + 1


def _strips(slide: Slide, tile_size: int) -> Iterator[RgbImage]:
    width, height = slide.size
    for top in range(0, height, tile_size):
        bottom = min(top + tile_size, height)
        strip = np.empty((bottom - top, width, 3), dtype=np.uint8)
        for left in range(0, width, _READ_WIDTH):
            right = min(left + _READ_WIDTH, width)
            strip[:, left:right] = slide.read(Box(x0=left, y0=top, x1=right, y1=bottom), slide.mpp)
        yield strip


def _halve(rows: RgbImage) -> RgbImage:
    """Mean of 2 x 2 pixels; a last odd column or row is repeated."""
    height, width = rows.shape[:2]
    if height % 2 or width % 2:
        rows = np.pad(rows, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        height, width = rows.shape[:2]
    return np.asarray(cv2.resize(rows, (width // 2, height // 2), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _finish(level: _Level, identity: WsiIdentity, uids: PyramidUids, out: Path) -> Path:
    """Put data set and frames together; the file appears whole."""
    path = out / f"level-{level.geometry.number}.dcm"
    level.frames.save(level_dataset(identity, uids, level.geometry, level.frames), path)
    return path
