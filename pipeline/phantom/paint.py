"""From outlines to dye: nucleated cells, red cells, platelets, vacuoles and precipitate onto a dye canvas."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phantom.chance import FloatArray
from pipeline.phantom.figure import ANGLES, Figure, draw
from pipeline.phantom.layout import PlacedCell
from pipeline.phantom.morphology import Granules
from pipeline.phantom.stain import BLUE, HAEM, PURPLE, Dyes
from pipeline.phantom.textures import Plane, mean_cover, sample

_BATCH = 64
_DISC_BATCH = 4096
_EVEN = 0.94  # uneven stain passes more light than an even one of the same mean
_RED_REACH = 4.8  # µm; the few red cells that are longer are painted apart
_COVER = 0.9  # how much a nucleated cell hides of what lies beneath


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Canvas:
    """Dye amounts on a pixel grid: pixel (0, 0) spans from (x0, y0) µm, `mpp` µm a side."""

    dye: Dyes
    x0: float
    y0: float
    mpp: float

    def window(self, x: float, y: float, reach: float) -> tuple[slice, slice] | None:
        """Rows and columns within `reach` of a point; None when the canvas has none of them."""
        height, width = self.dye.shape[1:]
        left, right = int((x - reach - self.x0) / self.mpp), int((x + reach - self.x0) / self.mpp) + 2
        top, bottom = int((y - reach - self.y0) / self.mpp), int((y + reach - self.y0) / self.mpp) + 2
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None

    def points(self, rows: slice, columns: slice, x: float, y: float) -> tuple[Plane, Plane]:
        """Pixel centres in a window relative to a point, µm, two (h, w) planes."""
        shape = rows.stop - rows.start, columns.stop - columns.start
        xs = (np.arange(columns.start, columns.stop) + 0.5) * self.mpp + (self.x0 - x)
        ys = (np.arange(rows.start, rows.stop) + 0.5) * self.mpp + (self.y0 - y)
        across, down = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        across[...], down[...] = xs, ys[:, None]
        return across, down


def _radius_at(profile: FloatArray, angle: Plane) -> Plane:
    """The profile at angles of 0..2π, linear between its samples."""
    table = np.append(profile, profile[0]).astype(np.float32)[None, :]
    index = angle * np.float32(ANGLES / (2 * np.pi))
    return np.asarray(cv2.remap(table, index, np.zeros_like(angle), cv2.INTER_LINEAR))


def _ramp(distance: Plane, width: float) -> Plane:
    """0 outside to 1 inside over `width` µm around a border; `distance` is positive inside and is overwritten."""
    distance *= np.float32(1.0 / width)
    distance += np.float32(0.5)
    return np.minimum(np.maximum(distance, 0.0, out=distance), 1.0, out=distance)


def _rod_field(rods: FloatArray, x: Plane, y: Plane) -> Plane:
    """Depth inside a union of tapered rods, µm, positive inside."""
    field = np.full(x.shape, -1e3, dtype=np.float32)
    for x0, y0, x1, y1, r0, r1 in rods.astype(np.float32):
        dx, dy = x1 - x0, y1 - y0
        share = np.float32(1.0) / max(dx * dx + dy * dy, np.float32(1e-9))
        px, py = x - x0, y - y0
        t = px * (dx * share)
        t += py * (dy * share)
        np.minimum(np.maximum(t, 0.0, out=t), 1.0, out=t)
        px -= t * dx
        py -= t * dy
        depth = cv2.magnitude(px, py)
        np.subtract(r0, depth, out=depth)
        depth += (r1 - r0) * t
        np.maximum(field, depth, out=field)
    return field


class _Patch:
    """The pixels around one cell: coordinates from its centre, µm, and turned ones for its textures."""

    def __init__(self, figure: Figure, x: Plane, y: Plane, mpp: float) -> None:
        self.figure, self.x, self.y, self.mpp = figure, x, y, mpp
        self.soft = max(0.35, mpp)
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
        gap = cv2.magnitude(self.x - np.float32(x), self.y - np.float32(y))
        return _ramp(np.float32(radius) - gap, soft)


def paint_cell(canvas: Canvas, cell: PlacedCell, relief: float = 1.0) -> None:
    """One nucleated cell over what lies beneath; `relief` scales the contrast of its chromatin."""
    figure = draw(cell)
    look = figure.look
    window = canvas.window(cell.x, cell.y, figure.reach)
    if window is None:
        return
    patch = _Patch(figure, *canvas.points(*window, cell.x, cell.y), canvas.mpp)
    edge = _radius_at(figure.outline, patch.angle) - patch.distance
    tone = _cytoplasm_tone(patch, edge)
    mask = _ramp(edge, patch.soft if look.shape != "bare" else 1.6)
    nucleus, depth = _nucleus(patch)
    nucleus *= mask
    chromatin = _chromatin_tone(patch, depth, relief)
    chromatin *= nucleus
    spots = _spots(patch, nucleus)
    bare = mask * (1.0 - nucleus)
    tone *= bare
    keep = _add_veil(canvas, window, mask, nucleus, look.veil)
    _deposit(canvas, window, keep, [(look.cytoplasm, tone), (look.nucleus, chromatin - 0.35 * spots)])
    canvas.dye[(BLUE, *window)] += 0.22 * spots
    for granules in look.granules:
        _deposit(canvas, window, None, [(granules.dyes, _granule_amount(patch, granules, bare, nucleus))])


def _add_veil(canvas: Canvas, window: tuple[slice, slice], mask: Plane, nucleus: Plane, veil: float) -> Plane:
    """How much of what lies beneath still shows, (h, w)."""
    return np.asarray(1.0 - np.float32(_COVER) * np.maximum(mask * np.float32(veil), nucleus), dtype=np.float32)


def _deposit(
    canvas: Canvas,
    window: tuple[slice, slice],
    keep: Plane | None,
    layers: Sequence[tuple[tuple[float, ...], Plane]],
) -> None:
    """Fade what lies beneath by `keep`, then add each layer's amount times its dyes."""
    for dye in range(4):
        plane = canvas.dye[(dye, *window)]
        if keep is not None:
            plane *= keep
        for dyes, amount in layers:
            if dyes[dye]:
                plane += np.float32(dyes[dye]) * amount


def _nucleus(patch: _Patch) -> tuple[Plane, Plane]:
    """The nuclear mask, 0..1, and the depth below the nuclear border, µm."""
    figure = patch.figure
    rough = patch.texture("mottle", place=2)
    if len(figure.rods):
        depth = _rod_field(figure.rods, patch.x, patch.y)
    else:
        cx, cy = figure.nucleus_centre
        distance, angle = cv2.cartToPolar(patch.x - np.float32(cx), patch.y - np.float32(cy))
        depth = _radius_at(figure.nucleus, angle) - distance
    if figure.look.shape == "bare":
        depth += 0.8 * rough
        return _ramp(depth.copy(), 2.2), depth
    depth += 0.07 * rough
    return _ramp(depth.copy(), patch.soft), depth


def _cytoplasm_tone(patch: _Patch, edge: Plane) -> Plane:
    figure, look = patch.figure, patch.figure.look
    tone = patch.texture("mottle", place=1)
    tone *= np.float32(look.mottle)
    tone += 1.0
    if look.clouds:
        tone += np.float32(look.clouds) * patch.texture("smooth", 0.7, place=3)
    if look.rim:
        tone += np.float32(look.rim) * np.exp(np.maximum(edge, 0.0) * np.float32(-1.1))
    x, y, strength = figure.hof
    if strength:
        squared = (patch.x - np.float32(x)) ** 2 + (patch.y - np.float32(y)) ** 2
        tone *= 1.0 - np.float32(strength) * np.exp(squared * np.float32(-1.0 / (0.42 * figure.radius) ** 2))
    for vx, vy, radius in figure.vacuoles:
        tone *= 1.0 - np.float32(0.85) * patch.disc(vx, vy, radius, 0.35)
    tone *= np.float32(figure.rng.uniform(*look.tint))
    return tone


def _chromatin_tone(patch: _Patch, depth: Plane, relief: float) -> Plane:
    """Amount of nuclear dye: grain, slow unevenness and a slightly denser membrane."""
    figure, look = patch.figure, patch.figure.look
    tone = patch.texture(look.chromatin)
    tone *= np.float32(figure.rng.uniform(*look.contrast) * relief)
    tone += np.float32(0.07) * patch.texture("smooth", 1.6, place=2)
    tone += np.float32(0.10) * np.exp(depth * depth * np.float32(-2.0))
    tone += 1.0
    tone *= np.float32(figure.rng.uniform(0.88, 1.1))
    return tone


def _spots(patch: _Patch, nucleus: Plane) -> Plane:
    """Nucleoli: where chromatin gives way to a paler blue, 0..1."""
    total = np.zeros_like(nucleus)
    for x, y, radius in patch.figure.spots:
        np.maximum(total, patch.disc(x, y, radius, 0.8), out=total)
    total *= nucleus
    return total


def _granule_amount(patch: _Patch, granules: Granules, bare: Plane, nucleus: Plane) -> Plane:
    rng = patch.figure.rng
    amount = patch.texture(granules.texture, rng.uniform(*granules.scale), place=3)
    amount *= bare + np.float32(granules.over_nucleus) * nucleus
    amount *= np.float32(rng.uniform(*granules.cover))
    return amount


def paint_red_cells(canvas: Canvas, rows: FloatArray, pallor: float) -> None:
    """Red cells add up where they overlap, less and less. Rows as in `Parcel.red`."""
    if not len(rows):
        return
    amount = np.zeros(canvas.dye.shape[1:], dtype=np.float32)
    reach = rows[:, 2] * np.sqrt(rows[:, 3]) * 1.12 + 0.5
    for group in (rows[reach <= _RED_REACH], rows[reach > _RED_REACH]):
        side = int(2 * (group[:, 2] * np.sqrt(group[:, 3]) * 1.12 + 0.5).max(initial=0.0) / canvas.mpp) + 3
        for start in range(0, len(group), _BATCH):
            _add_red(amount, group[start : start + _BATCH], canvas, side, pallor)
    _stack_red(canvas, amount)


def paint_red_discs(canvas: Canvas, rows: FloatArray, pallor: float) -> None:
    """Red cells for coarse canvases: discs of their mean amount."""
    if not len(rows):
        return
    hollow = np.minimum(rows[:, 5] * pallor, 0.85)
    amount = _EVEN * rows[:, 6] * (0.98 - 0.33 * hollow)
    _stack_red(canvas, _splat(canvas, rows[:, 0], rows[:, 1], rows[:, 2], amount[:, None])[0])


def _stack_red(canvas: Canvas, amount: Plane) -> None:
    """Overlapping red cells flatten each other: their amounts add less and less."""
    canvas.dye[HAEM] += 2.2 * (1.0 - np.exp(amount * np.float32(-1 / 2.2)))


def _add_red(amount: Plane, rows: FloatArray, canvas: Canvas, side: int, pallor: float) -> None:
    """One batch of red cells, each in a square of `side` pixels."""
    left = np.floor((rows[:, 0] - canvas.x0) / canvas.mpp).astype(int) - side // 2
    top = np.floor((rows[:, 1] - canvas.y0) / canvas.mpp).astype(int) - side // 2
    grid = (np.arange(side) + 0.5) * canvas.mpp
    x = (left * canvas.mpp + canvas.x0 - rows[:, 0])[:, None] + grid
    y = (top * canvas.mpp + canvas.y0 - rows[:, 1])[:, None] + grid
    patches = _red_patches(rows, x.astype(np.float32)[:, None, :], y.astype(np.float32)[:, :, None], canvas.mpp, pallor)
    height, width = amount.shape
    for patch, column, row in zip(patches, left.tolist(), top.tolist(), strict=True):
        if column >= 0 and row >= 0 and column + side <= width and row + side <= height:
            amount[row : row + side, column : column + side] += patch
        elif column < width and row < height and column + side > 0 and row + side > 0:
            x0, y0 = max(column, 0), max(row, 0)
            part = patch[y0 - row : height - row, x0 - column : width - column]
            amount[y0 : row + side, x0 : column + side] += part


def _red_patches(rows: FloatArray, x: Plane, y: Plane, mpp: float, pallor: float) -> NDArray[np.float32]:
    """Haemoglobin amounts, (N, side, side): a disc with a thick rim and a paler middle, a little out of round."""
    radius, stretch, angle, hollow, dye, seed = (rows[:, k].astype(np.float32)[:, None, None] for k in range(2, 8))
    cosine, sine, grow = np.cos(angle), np.sin(angle), np.sqrt(stretch)
    a, b = x * (cosine / grow) + y * (sine / grow), y * (cosine * grow) - x * (sine * grow)
    squared = a * a
    bend = squared - 3.0 * b * b
    squared += b * b
    bend *= a * (0.07 * np.sin(seed))
    bend += (a * b) * b * (0.10 * np.cos(seed * 1.7))
    distance = np.sqrt(squared)
    distance -= bend / np.maximum(squared, 1e-3)
    soft = np.float32(max(0.5, mpp))
    inside = np.minimum(np.maximum((radius - distance) * (1 / soft) + 0.5, 0.0), 1.0)
    share = squared / (radius * radius)
    middle = np.exp(share * share * np.float32(-7.0))  # flat-bottomed
    inside *= dye * (0.9 + 0.18 * np.minimum(share, 1.0))
    inside *= 1.0 - np.minimum(hollow * np.float32(pallor), 0.85) * middle
    return np.asarray(inside, dtype=np.float32)


def paint_platelets(canvas: Canvas, rows: FloatArray) -> None:
    """Small granular discs. Rows as in `Parcel.platelets`."""
    for px, py, radius, seed in rows:
        window = canvas.window(px, py, radius * 1.5 + 0.5)
        if window is None:
            continue
        x, y = canvas.points(*window, px, py)
        grain = sample("mottle", x + np.float32(seed), y + np.float32(seed * 0.37), canvas.mpp)
        mask = _ramp(np.float32(radius) - cv2.magnitude(x, y) + 0.25 * grain, 0.6)
        mask *= 0.7 + 0.3 * np.clip(grain, -1, 2)
        canvas.dye[(PURPLE, *window)] += 0.5 * mask
        canvas.dye[(BLUE, *window)] += 0.15 * mask


def paint_vacuoles(canvas: Canvas, rows: FloatArray) -> None:
    """Fat dissolved by the fixative leaves clear holes with a fine rim. Rows as in `Parcel.vacuoles`."""
    for vx, vy, radius in rows:
        window = canvas.window(vx, vy, radius + 1.0)
        if window is None:
            continue
        x, y = canvas.points(*window, vx, vy)
        depth = np.float32(radius) - cv2.magnitude(x, y)
        rim = 0.10 * np.exp(depth * depth * np.float32(-1.4))
        hole = _ramp(depth, 0.8)
        canvas.dye[(slice(None), *window)] *= 1.0 - np.float32(0.97) * hole
        canvas.dye[(HAEM, *window)] += rim


def paint_clumps(canvas: Canvas, rows: FloatArray) -> None:
    """Stain precipitate: dark ragged grains. Rows as in `Parcel.clumps`."""
    for cx, cy, radius, darkness, seed in rows:
        window = canvas.window(cx, cy, radius * 1.6 + 0.5)
        if window is None:
            continue
        x, y = canvas.points(*window, cx, cy)
        grain = sample("mottle", x + np.float32(seed), y + np.float32(seed * 0.61), canvas.mpp)
        mask = _ramp(np.float32(0.6 * radius) - cv2.magnitude(x, y) + np.float32(0.45 * radius) * grain, 0.4)
        canvas.dye[(PURPLE, *window)] += np.float32(0.9 * darkness) * mask
        canvas.dye[(BLUE, *window)] += np.float32(0.5 * darkness) * mask


def paint_discs(canvas: Canvas, cells: Sequence[PlacedCell]) -> None:
    """Cells for coarse canvases: a disc of cytoplasm with a disc of nucleus, of the mean dye of each."""
    if not cells:
        return
    x, y, radius = np.array([(cell.x, cell.y, cell.radius) for cell in cells]).T
    ratio = np.array([0.5 * sum(cell.look.ratio) for cell in cells])
    cytoplasm = np.array([_mean_cytoplasm(cell) for cell in cells])
    nucleus = np.array([cell.look.nucleus for cell in cells])
    outer = _splat(canvas, x, y, radius, np.column_stack([np.ones(len(cells)), cytoplasm]))
    inner = _splat(canvas, x, y, radius * np.sqrt(ratio), nucleus - cytoplasm)
    crowd = np.maximum(outer[0], 1.0)  # overlapping cells share the space
    keep = 1.0 - np.float32(_COVER) * np.minimum(outer[0], 1.0)
    for dye in range(4):
        canvas.dye[dye] *= keep
        canvas.dye[dye] += np.float32(_EVEN) * (outer[1 + dye] + inner[dye]) / crowd


def _mean_cytoplasm(cell: PlacedCell) -> FloatArray:
    total = np.array(cell.look.cytoplasm)
    for granules in cell.look.granules:
        total = total + mean_cover(granules.texture) * np.mean(granules.cover) * np.array(granules.dyes)
    return total


def _splat(canvas: Canvas, x: FloatArray, y: FloatArray, radius: FloatArray, weights: FloatArray) -> list[Plane]:
    """Sums of soft discs: for each column of `weights` (N, K), a plane of coverage times weight."""
    height, width = canvas.dye.shape[1:]
    side = int(2 * (float(radius.max()) + canvas.mpp) / canvas.mpp) + 2
    totals = np.zeros((weights.shape[1], height * width + 1))
    for start in range(0, len(x), _DISC_BATCH):
        part = slice(start, start + _DISC_BATCH)
        left = np.floor((x[part] - canvas.x0) / canvas.mpp).astype(int) - side // 2
        top = np.floor((y[part] - canvas.y0) / canvas.mpp).astype(int) - side // 2
        columns, rows = left[:, None, None] + np.arange(side), top[:, None, None] + np.arange(side)[:, None]
        dx = (columns + 0.5) * canvas.mpp + canvas.x0 - x[part, None, None]
        dy = (rows + 0.5) * canvas.mpp + canvas.y0 - y[part, None, None]
        share = np.clip((radius[part, None, None] - np.sqrt(dx * dx + dy * dy)) / canvas.mpp + 0.5, 0.0, 1.0)
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        index = np.where(inside, rows * width + columns, height * width).ravel()
        for column, weight in enumerate(weights[part].T):
            amounts = (share * weight[:, None, None]).ravel()
            totals[column] += np.bincount(index, weights=amounts, minlength=height * width + 1)
    return [total[:-1].reshape(height, width).astype(np.float32) for total in totals]
