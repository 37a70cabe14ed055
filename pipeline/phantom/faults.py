"""Faults put on a picture, real or synthetic: what a tile looks like that must not be counted.

The same field with and without a fault shows whether the fault is seen, whatever the stain or the source.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.domain import RgbImage
from pipeline.phantom.paint import Canvas, paint_clumps, paint_red_cells
from pipeline.phantom.spec import PhantomSpec
from pipeline.phantom.stain import optics

TileFault = Literal["blurred", "overstained", "blank", "crowded with red cells", "piled up", "debris"]
_Draw = Callable[[RgbImage, float, np.random.Generator], RgbImage]


def with_fault(image: RgbImage, mpp: float, fault: TileFault, seed: int) -> RgbImage:
    """A copy of (H, W, 3) at `mpp` µm/px with one fault all over it, of a strength that the seed draws."""
    return _FAULTS[fault](image, mpp, np.random.default_rng(seed))


def optical_density(image: RgbImage) -> NDArray[np.float32]:
    """(H, W, 3) absorbance, natural logarithm, of 0..255."""
    return np.asarray(-np.log(np.clip(image.astype(np.float32), 5, 255) / 255), dtype=np.float32)


def transmitted(density: NDArray[np.float32]) -> RgbImage:
    """The image of an optical density."""
    return np.asarray(np.clip(255 * np.exp(-density) + 0.5, 0, 255).astype(np.uint8))


def with_red_cells(image: RgbImage, mpp: float, each_um2: float, random: np.random.Generator) -> RgbImage:
    """Red cells over everything, one to so many µm²; one covers about 40."""
    canvas = _canvas(image, mpp)
    width, height = image.shape[1] * mpp, image.shape[0] * mpp
    count = round(width * height / each_um2)
    ones = np.ones(count)
    rows = [
        random.uniform(-4, width + 4, count),
        random.uniform(-4, height + 4, count),
        random.uniform(3.2, 4.1, count),
        1 + 0.4 * random.random(count) ** 2,
        random.uniform(0, 2 * np.pi, count),
        random.uniform(0.2, 1.0) * ones,
        random.uniform(0.7, 1.6) * ones,
        random.uniform(0, 1000, count),
    ]
    paint_red_cells(canvas, np.stack(rows, axis=1), random.uniform(0.2, 1.2))
    return _dyed(image, canvas, random)


def _blurred(image: RgbImage, mpp: float, random: np.random.Generator) -> RgbImage:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), random.uniform(1.4, 3.6) / mpp), dtype=np.uint8)


def _overstained(image: RgbImage, mpp: float, random: np.random.Generator) -> RgbImage:
    return transmitted(optical_density(image) * np.float32(random.uniform(2.8, 4.6)))


def _blank(image: RgbImage, mpp: float, random: np.random.Generator) -> RgbImage:
    """Bare glass in the field's light, with a trace of what was there."""
    glass = np.percentile(image.reshape(-1, 3), 90, axis=0)
    return np.asarray(np.clip(glass + random.uniform(0, 0.08) * (image - glass), 0, 255).astype(np.uint8))


def _crowded(image: RgbImage, mpp: float, random: np.random.Generator) -> RgbImage:
    """As in a smear's body: red cells lie on each other, few gaps are left. Drawn ones, or the field's own again."""
    if random.random() < 0.5:
        return with_red_cells(image, mpp, random.uniform(13, 30), random)
    return _laid_over(image, int(random.integers(3, 7)), random.uniform(60, 80), random)


def _debris(image: RgbImage, mpp: float, random: np.random.Generator) -> RgbImage:
    """Stain precipitate all over."""
    canvas = _canvas(image, mpp)
    width, height = image.shape[1] * mpp, image.shape[0] * mpp
    count = round(width * height / random.uniform(80, 300))
    rows = [
        random.uniform(0, width, count),
        random.uniform(0, height, count),
        0.6 + 5.0 * random.random(count) ** 2,
        random.uniform(0.8, 2.2, count),
        random.uniform(0, 1000, count),
    ]
    paint_clumps(canvas, np.stack(rows, axis=1))
    return _dyed(image, canvas, random)


def _piled(image: RgbImage, mpp: float, random: np.random.Generator) -> RgbImage:
    """The field's own objects laid over it again and again, turned, as where the smear is thick."""
    return _laid_over(image, int(random.integers(4, 8)), 100.0, random)


def _laid_over(image: RgbImage, times: int, palest: float, random: np.random.Generator) -> RgbImage:
    """A field laid over itself, turned and shifted; of the copies only densities up to a percentile (100: all)."""
    density = optical_density(image)
    ground = np.percentile(density.reshape(-1, 3), 5, axis=0).astype(np.float32)
    side = max(density.shape[:2])
    square = cv2.copyMakeBorder(
        density - ground, 0, side - density.shape[0], 0, side - density.shape[1], cv2.BORDER_REFLECT
    )
    total = np.maximum(square, 0)
    copy = np.minimum(square, np.percentile(square.reshape(-1, 3), palest, axis=0).astype(np.float32))
    for turn in range(times):
        shift = random.integers(0, side, 2)
        total = np.maximum(total, np.roll(np.rot90(copy, turn + 1), tuple(shift), (0, 1)))
    height, width = density.shape[:2]
    return transmitted(np.asarray(total[:height, :width] + ground))


_FAULTS: Mapping[TileFault, _Draw] = {
    "blurred": _blurred,
    "overstained": _overstained,
    "blank": _blank,
    "crowded with red cells": _crowded,
    "piled up": _piled,
    "debris": _debris,
}
TILE_FAULTS: tuple[TileFault, ...] = tuple(_FAULTS)


def _canvas(image: RgbImage, mpp: float) -> Canvas:
    return Canvas(dye=np.zeros((4, *image.shape[:2]), dtype=np.float32), x0=0.0, y0=0.0, mpp=mpp)


def _dyed(image: RgbImage, canvas: Canvas, random: np.random.Generator) -> RgbImage:
    """The image seen through a canvas of dye, stained as in some laboratory."""
    seed = int(random.integers(1 << 31))
    absorbance = optics(PhantomSpec(seed=seed, size=(1, 1), mpp=canvas.mpp, centre="varied")).absorbance
    density = np.einsum("dc,dhw->hwc", absorbance, canvas.dye)
    return transmitted(optical_density(image) + density)
