"""From outlines to dye: nucleated cells, red cells, platelets, vacuoles and precipitate onto a dye canvas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phantom.chance import FloatArray
from pipeline.phantom.figure import ANGLES, Figure, draw
from pipeline.phantom.layout import PlacedCell
from pipeline.phantom.morphology import Granules, Morphology
from pipeline.phantom.stain import BLUE, PINK, PURPLE, Concentrations
from pipeline.phantom.textures import Plane, mean_cover, sample

_RED_DYE = np.array([0.03, 0.10, 0.62], dtype=np.float32)
_PLATELET_DYE = np.array([0.55, 0.10, 0.02], dtype=np.float32)
_CLUMP_DYE = np.array([0.9, 0.6, 0.1], dtype=np.float32)
_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Canvas:
    """Dye concentrations on a pixel grid: pixel (0, 0) spans from (x0, y0) µm, `mpp` µm a side."""

    dye: Concentrations
    x0: float
    y0: float
    mpp: float

    def window(self, x: float, y: float, reach: float) -> tuple[slice, slice] | None:
        """Rows and columns within `reach` of a point; None when the canvas has none of them."""
        height, width = self.dye.shape[:2]
        left, right = int((x - reach - self.x0) / self.mpp), int((x + reach - self.x0) / self.mpp) + 2
        top, bottom = int((y - reach - self.y0) / self.mpp), int((y + reach - self.y0) / self.mpp) + 2
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None

    def points(self, rows: slice, columns: slice, x: float, y: float) -> tuple[Plane, Plane]:
        """Pixel centres in a window relative to a point, µm, two (h, w) planes."""
        xs = (np.arange(columns.start, columns.stop) + 0.5) * self.mpp + (self.x0 - x)
        ys = (np.arange(rows.start, rows.stop) + 0.5) * self.mpp + (self.y0 - y)
        return tuple(np.meshgrid(xs.astype(np.float32), ys.astype(np.float32)))  # type: ignore[return-value]


def _radius_at(profile: FloatArray, angle: Plane) -> Plane:
    """The profile at angles of 0..2π, linear between its samples."""
    table = np.append(profile, profile[0]).astype(np.float32)[None, :]
    index = angle * np.float32(ANGLES / (2 * np.pi))
    return np.asarray(cv2.remap(table, index, np.zeros_like(angle), cv2.INTER_LINEAR))


def _ramp(distance: Plane, width: float) -> Plane:
    """0 outside to 1 inside over `width` µm around a border; `distance` is positive inside."""
    return np.asarray(np.clip(distance * np.float32(1.0 / width) + np.float32(0.5), 0.0, 1.0))


def _rod_field(rods: FloatArray, x: Plane, y: Plane) -> Plane:
    """Depth inside a union of tapered rods, µm, positive inside."""
    field = np.full(x.shape, -1e3, dtype=np.float32)
    for x0, y0, x1, y1, r0, r1 in rods.astype(np.float32):
        dx, dy = x1 - x0, y1 - y0
        t = np.clip(((x - x0) * dx + (y - y0) * dy) * (1.0 / max(dx * dx + dy * dy, np.float32(1e-9))), 0.0, 1.0)
        depth = r0 + (r1 - r0) * t - np.sqrt((x - x0 - t * dx) ** 2 + (y - y0 - t * dy) ** 2)
        np.maximum(field, depth, out=field)
    return field


class _Patch:
    """The pixels around one cell: coordinates from its centre, µm, and turned ones for its textures."""

    def __init__(self, figure: Figure, x: Plane, y: Plane, mpp: float) -> None:
        self.figure, self.x, self.y, self.mpp = figure, x, y, mpp
        self.soft = max(0.3, mpp)
        self.distance, self.angle = cv2.cartToPolar(x, y)
        twist = figure.rng.uniform(0, 2 * np.pi)
        cosine, sine = np.float32(np.cos(twist)), np.float32(np.sin(twist))
        self._u, self._v = cosine * x - sine * y, sine * x + cosine * y
        self._offset = figure.rng.uniform(0, 51.2, 4).astype(np.float32)

    def texture(self, name: str, scale: float = 1.0, place: int = 0) -> Plane:
        """A texture enlarged by `scale`; another `place` is another part of it."""
        shrink = np.float32(1.0 / scale)
        dx, dy = self._offset[place % 4], self._offset[(place + 1) % 4]
        return sample(name, self._u * shrink + dx, self._v * shrink + dy, self.mpp / scale)

    def disc(self, x: float, y: float, radius: float, soft: float) -> Plane:
        gap = np.sqrt((self.x - np.float32(x)) ** 2 + (self.y - np.float32(y)) ** 2)
        return _ramp(np.float32(radius) - gap, soft)


def paint_cell(canvas: Canvas, cell: PlacedCell) -> None:
    """One nucleated cell over what lies beneath."""
    figure = draw(cell)
    look = figure.morphology
    window = canvas.window(cell.x, cell.y, figure.reach)
    if window is None:
        return
    patch = _Patch(figure, *canvas.points(*window, cell.x, cell.y), canvas.mpp)
    edge = _radius_at(figure.outline, patch.angle) - patch.distance
    mask = _ramp(edge, patch.soft if look.shape != "bare" else 1.2)
    nucleus = _nucleus_mask(patch) * mask
    dye = _cytoplasm(patch, edge)
    dye *= (1.0 - nucleus)[..., None]
    dye += _chromatin(patch) * nucleus[..., None]
    for granules in look.granules:
        dye += _granules(patch, granules, nucleus)
    for x, y, radius in figure.vacuoles:
        dye *= (1.0 - 0.85 * patch.disc(x, y, radius, 0.35) * (1.0 - 0.6 * nucleus))[..., None]
    region = canvas.dye[window]
    region *= (1.0 - 0.9 * np.maximum(mask * np.float32(look.cytoplasm_opacity), nucleus))[..., None]
    region += dye * mask[..., None]


def _nucleus_mask(patch: _Patch) -> Plane:
    figure = patch.figure
    if len(figure.rods):
        return _ramp(_rod_field(figure.rods, patch.x, patch.y) + 0.07 * patch.texture("mottle", place=2), patch.soft)
    cx, cy = figure.nucleus_centre
    distance, angle = cv2.cartToPolar(patch.x - np.float32(cx), patch.y - np.float32(cy))
    depth = _radius_at(figure.nucleus, angle) - distance
    if figure.morphology.shape == "bare":
        return _ramp(depth + 0.7 * patch.texture("mottle", 1.6), 1.6)
    return _ramp(depth, patch.soft)


def _cytoplasm(patch: _Patch, edge: Plane) -> Concentrations:
    figure, look = patch.figure, patch.figure.morphology
    dyes = np.array(look.cytoplasm, dtype=np.float32) * np.float32(figure.rng.uniform(*look.tint))
    tone = 1.0 + look.mottle * patch.texture("mottle", place=1)
    if look.rim:
        tone += look.rim * np.exp(-1.1 * np.maximum(edge, 0.0))
    x, y, strength = figure.hof
    if strength:
        squared = (patch.x - np.float32(x)) ** 2 + (patch.y - np.float32(y)) ** 2
        tone *= 1.0 - strength * np.exp(squared * np.float32(-1.0 / (0.34 * figure.radius) ** 2))
    return np.asarray(tone[..., None] * dyes, dtype=np.float32)


def _chromatin(patch: _Patch) -> Concentrations:
    figure, look = patch.figure, patch.figure.morphology
    contrast = figure.rng.uniform(*look.contrast)
    tone = 1.0 + contrast * patch.texture(look.chromatin) + 0.05 * patch.texture("fine", place=2)
    dyes = np.array(look.nucleus, dtype=np.float32) * np.float32(figure.rng.uniform(0.92, 1.08))
    dye = tone[..., None] * dyes
    for x, y, radius in figure.spots:
        spot = patch.disc(x, y, radius, 0.6)
        dye[..., PURPLE] *= 1.0 - 0.38 * spot
        dye[..., BLUE] += 0.12 * spot
    return np.asarray(dye, dtype=np.float32)


def _granules(patch: _Patch, granules: Granules, nucleus: Plane) -> Concentrations:
    rng = patch.figure.rng
    strength = patch.texture(granules.texture, rng.uniform(*granules.scale), place=3) * rng.uniform(*granules.cover)
    strength *= 1.0 - nucleus * np.float32(1.0 - granules.over_nucleus)
    return np.asarray(strength[..., None] * np.array(granules.dyes, dtype=np.float32), dtype=np.float32)


def paint_red_cells(canvas: Canvas, rows: FloatArray) -> None:
    """Red cells add their absorbance: where they overlap, they darken. Rows as in `Parcel.red`."""
    reach = 6.8 * float(rows[:, 2].max(initial=0.0)) / 4.1
    side = int(2 * reach / canvas.mpp) + 3
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        column = np.floor((batch[:, 0] - canvas.x0) / canvas.mpp).astype(int) - side // 2
        row = np.floor((batch[:, 1] - canvas.y0) / canvas.mpp).astype(int) - side // 2
        amounts = _red_patches(batch, canvas, column, row, side)
        for amount, left, top in zip(amounts, column, row, strict=True):
            _add(canvas.dye, amount, left, top, _RED_DYE)


def _red_patches(
    rows: FloatArray, canvas: Canvas, column: NDArray[np.int_], row: NDArray[np.int_], side: int
) -> NDArray[np.float32]:
    """Haemoglobin amounts, (N, side, side)."""
    grid = (np.arange(side) + 0.5) * canvas.mpp
    x = ((column * canvas.mpp + canvas.x0 - rows[:, 0])[:, None] + grid).astype(np.float32)[:, None, :]
    y = ((row * canvas.mpp + canvas.y0 - rows[:, 1])[:, None] + grid).astype(np.float32)[:, :, None]
    radius, stretch, angle, pallor, dye, seed = (rows[:, k].astype(np.float32)[:, None, None] for k in range(2, 8))
    cosine, sine, grow = np.cos(angle), np.sin(angle), np.sqrt(stretch)
    a, b = (x * cosine + y * sine) / grow, (y * cosine - x * sine) * grow
    squared = a * a + b * b
    bend = a * (a * a - 3 * b * b) * (0.06 * np.sin(seed)) + (a * a - b * b) * a * (0.05 * np.cos(seed * 1.7))
    distance = np.sqrt(squared)
    distance -= bend / np.maximum(squared, 1e-3)
    soft = max(0.45, canvas.mpp)
    inside = np.clip((radius - distance) / soft + 0.5, 0.0, 1.0)
    hollow = np.exp(-squared / (0.45 * radius) ** 2)
    inside *= dye * (1.0 - pallor * hollow)
    return np.asarray(inside, dtype=np.float32)


def _add(dye: Concentrations, amount: Plane, left: int, top: int, dyes: NDArray[np.float32]) -> None:
    """Add a patch of dye, clipped to the canvas."""
    height, width = dye.shape[:2]
    rows = slice(max(top, 0), min(top + amount.shape[0], height))
    columns = slice(max(left, 0), min(left + amount.shape[1], width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    part = amount[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    dye[rows, columns] += part[..., None] * dyes


def paint_platelets(canvas: Canvas, rows: FloatArray) -> None:
    """Small granular discs. Rows as in `Parcel.platelets`."""
    for px, py, radius, seed in rows:
        window = canvas.window(px, py, radius * 1.5 + 0.5)
        if window is None:
            continue
        x, y = canvas.points(*window, px, py)
        grain = sample("mottle", x + np.float32(seed), y + np.float32(seed * 0.37), canvas.mpp)
        mask = _ramp(np.float32(radius) - np.sqrt(x * x + y * y) + 0.25 * grain, 0.5)
        mask *= 0.7 + 0.3 * np.clip(grain, -1, 2)
        canvas.dye[window] += mask[..., None] * _PLATELET_DYE


def paint_vacuoles(canvas: Canvas, rows: FloatArray) -> None:
    """Fat dissolved by the fixative leaves clear holes with a fine rim. Rows as in `Parcel.vacuoles`."""
    for vx, vy, radius in rows:
        window = canvas.window(vx, vy, radius + 1.0)
        if window is None:
            continue
        x, y = canvas.points(*window, vx, vy)
        depth = np.float32(radius) - np.sqrt(x * x + y * y)
        hole = _ramp(depth, 0.8)
        region = canvas.dye[window]
        region *= (1.0 - 0.97 * hole)[..., None]
        region[..., PINK] += 0.12 * np.exp(-((depth * 1.2) ** 2))


def paint_clumps(canvas: Canvas, rows: FloatArray) -> None:
    """Stain precipitate: dark ragged grains. Rows as in `Parcel.clumps`."""
    for cx, cy, radius, darkness, seed in rows:
        window = canvas.window(cx, cy, radius * 1.6 + 0.5)
        if window is None:
            continue
        x, y = canvas.points(*window, cx, cy)
        grain = sample("granular", x + np.float32(seed), y + np.float32(seed * 0.61), canvas.mpp)
        mask = _ramp(np.float32(0.6 * radius) - np.sqrt(x * x + y * y) + np.float32(0.4 * radius) * grain, 0.4)
        canvas.dye[window] += mask[..., None] * (_CLUMP_DYE * np.float32(darkness))


def paint_discs(canvas: Canvas, cells: Sequence[PlacedCell], looks: Mapping[str, Morphology]) -> None:
    """Cells for coarse canvases: a disc of cytoplasm with a disc of nucleus, of the mean dye of each."""
    for cell in cells:
        look = looks[cell.class_name]
        window = canvas.window(cell.x, cell.y, cell.radius + canvas.mpp)
        if window is None:
            continue
        x, y = canvas.points(*window, cell.x, cell.y)
        distance = np.sqrt(x * x + y * y)
        mask = _ramp(np.float32(cell.radius) - distance, canvas.mpp)
        ratio = 0.5 * (look.ratio[0] + look.ratio[1])
        nucleus = _ramp(np.float32(cell.radius * np.sqrt(ratio)) - distance, canvas.mpp)
        cytoplasm = np.array(look.cytoplasm, dtype=np.float32)
        for granules in look.granules:
            cytoplasm = cytoplasm + mean_cover(granules.texture) * np.array(granules.dyes, dtype=np.float32)
        dye = cytoplasm + nucleus[..., None] * (np.array(look.nucleus, dtype=np.float32) - cytoplasm)
        region = canvas.dye[window]
        region *= (1.0 - 0.9 * mask)[..., None]
        region += dye * mask[..., None]
