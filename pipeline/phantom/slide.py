"""A synthetic smear as a `Slide`: any box at any resolution, rendered when read."""

from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.domain import Box, RgbImage
from pipeline.phantom.layout import Layout, PlacedCell, cells_in
from pipeline.phantom.resample import area_mean
from pipeline.phantom.scene import COARSE_MPP, render
from pipeline.phantom.spec import PhantomSpec
from pipeline.phantom.stain import optics
from pipeline.phantom.truth import SlideTruth, survey

BLOCK = 1024  # pixels a side of what is rendered at a time
_STRIP_PIXELS = 1_000_000


class PhantomSlide:
    """Implements `pipeline.domain.Slide`; memory stays flat whatever the slide's size.

    Level k has `mpp * 2**k` µm per pixel, each rendered by itself from the same objects; the last level is about
    1 to 2 µm per pixel with cells as plain discs, and thumbnails are averaged from it. `cached_blocks` rendered blocks
    of 3 MiB are kept; a writer that walks row by row wants one row of them.
    """

    def __init__(self, spec: PhantomSpec, *, cached_blocks: int = 64) -> None:
        self.spec = spec
        self.layout = Layout(spec)
        self._optics = optics(spec)
        self._levels = max(int(np.floor(np.log2(COARSE_MPP / spec.drawn_mpp))) + 2, 1)
        self._block = lru_cache(maxsize=cached_blocks)(self._render_block)

    def __reduce__(self) -> tuple[type["PhantomSlide"], tuple[PhantomSpec]]:
        return PhantomSlide, (self.spec,)  # caches stay behind when sent to another process

    @property
    def size(self) -> tuple[int, int]:
        return self.spec.size

    @property
    def mpp(self) -> float:
        return self.spec.mpp

    @cached_property
    def truth(self) -> SlideTruth:
        """Regions, tile labels, cells and the exact count."""
        return survey(self.layout)

    def cells(self, box: Box) -> tuple[PlacedCell, ...]:
        """Nucleated cells whose centre is in the box, anywhere on the slide."""
        return cells_in(self.layout, box)

    def read(self, box: Box, mpp: float) -> RgbImage:
        """The box at `mpp`: round(side * self.mpp / mpp) pixels a side, white outside the slide.

        Raises
        ------
        ValueError
            The box is empty or smaller than a pixel at `mpp`.

        """
        width, height = (round(side * self.mpp / mpp) for side in box.size)
        if width < 1 or height < 1:
            raise ValueError(f"the box {box} holds no pixel at {mpp} µm/px")
        level = int(np.clip(np.floor(np.log2(mpp / self.mpp * 1.001)), 0, self._levels - 1))
        columns = np.linspace(box.x0, box.x1, width + 1) / 2**level
        rows = np.linspace(box.y0, box.y1, height + 1) / 2**level
        if _whole(columns) and _whole(rows):
            return self._crop(level, int(columns[0]), int(rows[0]), width, height)
        out = np.empty((height, width, 3), dtype=np.uint8)
        left, right = int(np.floor(columns[0])), int(np.ceil(columns[-1]))
        step = max(1, int(_STRIP_PIXELS / (right - left) / (rows[-1] - rows[0]) * height))
        for start in range(0, height, step):
            stop = min(start + step, height)
            top, bottom = int(np.floor(rows[start])), int(np.ceil(rows[stop]))
            source = self._crop(level, left, top, right - left, bottom - top)
            out[start:stop] = area_mean(source, columns - left, rows[start : stop + 1] - top)
        return out

    def _crop(self, level: int, x0: int, y0: int, width: int, height: int) -> RgbImage:
        """Pixels of one level, white outside the slide."""
        out = np.full((height, width, 3), 255, dtype=np.uint8)
        limit_x, limit_y = (-(-side // 2**level) for side in self.size)
        left, right = max(x0, 0), min(x0 + width, limit_x)
        top, bottom = max(y0, 0), min(y0 + height, limit_y)
        for j in range(top // BLOCK, -(-bottom // BLOCK)):
            for i in range(left // BLOCK, -(-right // BLOCK)):
                block = self._block(level, i, j)
                bx, by = i * BLOCK, j * BLOCK
                xs, xe = max(left, bx), min(right, bx + BLOCK)
                ys, ye = max(top, by), min(bottom, by + BLOCK)
                if xs < xe and ys < ye:
                    out[ys - y0 : ye - y0, xs - x0 : xe - x0] = block[ys - by : ye - by, xs - bx : xe - bx]
        return out

    def _render_block(self, level: int, i: int, j: int) -> RgbImage:
        mpp = self.spec.drawn_mpp * 2**level
        corner = i * BLOCK * mpp, j * BLOCK * mpp
        return render(self.layout, self._optics, corner, BLOCK, mpp, native=level == 0)


def _whole(edges: NDArray[np.float64]) -> bool:
    """True when the edges are consecutive whole pixels."""
    return bool(edges[0] == np.floor(edges[0]) and np.all(np.diff(edges) == 1.0))
