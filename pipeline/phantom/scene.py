"""One block of a synthetic smear: its objects painted on a dye canvas, exposed and scanned."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.domain import RgbImage
from pipeline.phantom.chance import address, uniform
from pipeline.phantom.layout import Layout, PlacedCell
from pipeline.phantom.paint import (
    Canvas,
    paint_cell,
    paint_clumps,
    paint_discs,
    paint_platelets,
    paint_red_cells,
    paint_red_discs,
    paint_vacuoles,
)
from pipeline.phantom.smear import SpoilKind
from pipeline.phantom.stain import BLUE, HAEM, ORANGE, PURPLE, Optics, blur, digitise, expose
from pipeline.phantom.textures import Plane, repeat, tiled

COARSE_MPP = 1.0  # beyond this, cells are painted as plain discs
_MAP_STEP_UM = 8.0
_DEFOCUS_UM = 1.1
_NOISE_SIDE = 1024


def render(
    layout: Layout, optics: Optics, corner: tuple[float, float], side: int, mpp: float, *, native: bool
) -> RgbImage:
    """A square block: `side` pixels of `mpp` µm from the corner (x, y) µm; `native` is the scanner's own level."""
    x0, y0 = corner
    spoils = layout.smear.spoils(x0, y0, x0 + side * mpp, y0 + side * mpp)
    softest = optics.blur_um + (_DEFOCUS_UM * 1.5 if any(spoil.kind == "defocus" for spoil in spoils) else 0.0)
    margin = int(np.ceil(3.0 * softest / mpp)) + 1
    wide = side + 2 * margin
    canvas = Canvas(
        dye=np.zeros((4, wide, wide), dtype=np.float32), x0=x0 - margin * mpp, y0=y0 - margin * mpp, mpp=mpp
    )
    fields = _Fields(layout, canvas)
    _paint_ground(canvas, fields, layout, optics.film)
    _paint_objects(canvas, layout, optics)
    overstain = fields.spoil("overstain")
    if overstain is not None:
        canvas.dye[...] *= 1.0 + 1.3 * overstain
    light = expose(canvas.dye, optics)
    light = _focus(light, optics, fields, mpp)[margin:-margin, margin:-margin]
    light = _sharpen(light, optics, mpp) if native else light
    light *= _shading(optics, x0, y0, side, mpp)[..., None]
    return digitise(np.ascontiguousarray(light), optics, _noise(layout, x0, y0, side, mpp), jpeg=native)


class _Fields:
    """Smooth maps over a canvas: zone weights and fault areas, computed every few µm and interpolated."""

    def __init__(self, layout: Layout, canvas: Canvas) -> None:
        self.side = canvas.dye.shape[2]
        extent = self.side * canvas.mpp
        step = max(_MAP_STEP_UM, canvas.mpp)
        points = np.arange(int(np.ceil(extent / step)) + 2) * step
        self._x, self._y = np.meshgrid(canvas.x0 + points, canvas.y0 + points)
        self._scale = canvas.mpp / step
        self._spoils = layout.smear.spoils(canvas.x0, canvas.y0, canvas.x0 + extent, canvas.y0 + extent)
        self._blank = layout.spec.fault == "blank"
        self.zones = layout.smear.zones(self._x, self._y)

    def spread(self, coarse: NDArray[np.float64]) -> Plane:
        """A map on the coarse points, at every pixel."""
        index = (np.arange(self.side, dtype=np.float32) + np.float32(0.5)) * np.float32(self._scale)
        x, y = np.meshgrid(index, index)
        plane = coarse.astype(np.float32)
        return np.asarray(cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))

    @property
    def thickness(self) -> Plane:
        """Amount of dried plasma: 0 on glass, 0.5 in the junction, 1 in the body."""
        if self._blank:
            return np.zeros((self.side, self.side), dtype=np.float32)
        return self.spread(self.zones.smear * (0.35 + 1.1 * self.zones.body))

    def spoil(self, kind: SpoilKind) -> Plane | None:
        """Strength of the fault areas of one kind, 0..1; None where there are none."""
        strength = np.zeros_like(self._x)
        for spoil in self._spoils:
            if spoil.kind == kind:
                np.maximum(strength, spoil.strength(self._x, self._y), out=strength)
        return self.spread(strength) if strength.any() else None


def _paint_ground(canvas: Canvas, fields: _Fields, layout: Layout, film: float) -> None:
    """Dried plasma: a faint uneven film with grains of protein, thicker where the smear is."""
    amount = fields.thickness
    if not amount.any():
        return
    height, width = amount.shape
    window = round(canvas.x0 / canvas.mpp), round(canvas.y0 / canvas.mpp), width, height
    if layout.spec.fault == "h&e":
        canvas.dye[ORANGE] += amount * (0.75 + 0.45 * repeat(tiled("smear", canvas.mpp, 3.0), *window))
        return
    cloud = repeat(tiled("film", canvas.mpp, 3.7), *window) + 0.5 * repeat(tiled("mottle", canvas.mpp, 1.3), *window)
    grain = repeat(tiled("speck", canvas.mpp, 1.9), *window)
    amount *= np.float32(film) * (1.0 + np.float32(0.22) * cloud)
    canvas.dye[BLUE] += np.float32(0.07) * amount
    canvas.dye[HAEM] += np.float32(0.12) * amount
    amount *= np.float32(0.02) + np.float32(0.4) * grain
    canvas.dye[PURPLE] += amount


def _paint_objects(canvas: Canvas, layout: Layout, optics: Optics) -> None:
    extent = canvas.dye.shape[2] * canvas.mpp
    coarse = canvas.mpp > COARSE_MPP
    parcels = layout.parcels(canvas.x0, canvas.y0, canvas.x0 + extent, canvas.y0 + extent)
    red = _near(np.concatenate([parcel.red for parcel in parcels]), canvas, extent)
    (paint_red_discs if coarse else paint_red_cells)(canvas, red, optics.pallor)
    if not coarse:
        paint_platelets(canvas, _near(np.concatenate([parcel.platelets for parcel in parcels]), canvas, extent))
    paint_vacuoles(canvas, np.concatenate([parcel.vacuoles for parcel in parcels]))
    cells = [cell for parcel in parcels for cell in parcel.cells if _cell_near(cell, canvas, extent)]
    if coarse:
        paint_discs(canvas, cells)
    else:
        for cell in cells:
            paint_cell(canvas, cell, optics.relief)
    paint_clumps(canvas, np.concatenate([parcel.clumps for parcel in parcels]))


def _near(rows: NDArray[np.float64], canvas: Canvas, extent: float, reach: float = 8.0) -> NDArray[np.float64]:
    x, y = rows[:, 0] - canvas.x0, rows[:, 1] - canvas.y0
    return rows[(x > -reach) & (x < extent + reach) & (y > -reach) & (y < extent + reach)]


def _cell_near(cell: PlacedCell, canvas: Canvas, extent: float) -> bool:
    reach = 1.6 * cell.radius
    x, y = cell.x - canvas.x0, cell.y - canvas.y0
    return -reach < x < extent + reach and -reach < y < extent + reach


def _focus(light: NDArray[np.float32], optics: Optics, fields: _Fields, mpp: float) -> NDArray[np.float32]:
    """The objective's own blur, and more of it where the focus was missed."""
    sharp = blur(light, optics.blur_um / mpp)
    missed = fields.spoil("defocus")
    if missed is None:
        return sharp
    pad = int(np.ceil(4.0 * _DEFOCUS_UM / mpp)) + 1
    ys, xs = np.flatnonzero(missed.any(axis=1)), np.flatnonzero(missed.any(axis=0))
    top, left = max(ys[0] - pad, 0), max(xs[0] - pad, 0)
    window = slice(top, ys[-1] + pad + 1), slice(left, xs[-1] + pad + 1)
    part, weight = sharp[window], missed[window][..., None]
    half, full = (blur(part, _DEFOCUS_UM * k / mpp) for k in (0.6, 1.5))
    part += (half - part) * np.minimum(2.0 * weight, 1.0)
    part += (full - part) * np.maximum(2.0 * weight - 1.0, 0.0)
    return sharp


def _sharpen(light: NDArray[np.float32], optics: Optics, mpp: float) -> NDArray[np.float32]:
    if not optics.sharpen:
        return light
    soft = cv2.GaussianBlur(light, (0, 0), sigmaX=max(0.25 / mpp, 0.6))
    return np.asarray(light + optics.sharpen * (light - soft), dtype=np.float32)


def _shading(optics: Optics, x0: float, y0: float, side: int, mpp: float) -> Plane:
    """Uneven illumination, slow over the slide."""
    x = (x0 + np.arange(side) * mpp).astype(np.float32)[None, :]
    y = (y0 + np.arange(side) * mpp).astype(np.float32)[:, None]
    wave = np.sin(x / 310.0) * np.cos(y / 270.0)
    return np.asarray(1.0 - optics.shading * (0.5 + 0.5 * wave), dtype=np.float32)


@cache
def _grain() -> NDArray[np.float32]:
    """Sensor noise of unit variance; a little of it is shared by the colours."""
    rng = np.random.default_rng(11)
    plane = rng.standard_normal((_NOISE_SIDE, _NOISE_SIDE, 3), dtype=np.float32)
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigmaX=0.6) * 1.9, dtype=np.float32)


def _noise(layout: Layout, x0: float, y0: float, side: int, mpp: float) -> NDArray[np.float32]:
    """A piece of the sensor noise, another for each block; averaged down at coarser levels."""
    key = address(layout.spec.seed, 5, round(x0 / mpp), round(y0 / mpp))
    rows, columns = (
        (np.arange(side) + int(uniform(key, stream)[0] * _NOISE_SIDE)) % _NOISE_SIDE for stream in range(2)
    )
    strength = np.float32(layout.mpp / mpp)
    return np.asarray(_grain()[rows[:, None], columns[None, :]] * strength, dtype=np.float32)
