"""The outlines of one nucleated cell and its nucleus, drawn from its class's look. Units are µm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.domain import Polygon
from pipeline.phantom.chance import FloatArray
from pipeline.phantom.layout import PlacedCell
from pipeline.phantom.morphology import Look, Span

ANGLES = 128
_THETA = np.arange(ANGLES) * (2 * np.pi / ANGLES)
_COS, _SIN = np.cos(_THETA), np.sin(_THETA)
_ORDERS = np.arange(1, 9)[:, None]
_LARGEST = 1.5  # of the cell's radius: what its outline may reach
_COSINES, _SINES = np.cos(_ORDERS * _THETA), np.sin(_ORDERS * _THETA)  # (8, ANGLES)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Figure:
    """Everything that is drawn of a cell, relative to its centre.

    `outline` is the radius at ANGLES angles. The nucleus is either star-shaped (`nucleus` radii around
    `nucleus_centre`) or a union of tapered rods, rows of (x0, y0, x1, y1, radius0, radius1). `spots` are nucleoli and
    `vacuoles` discs, rows of (x, y, radius). `rng` continues the cell's own random numbers.
    """

    look: Look
    radius: float
    outline: FloatArray
    nucleus_centre: tuple[float, float]
    nucleus: FloatArray
    rods: FloatArray
    spots: FloatArray
    vacuoles: FloatArray
    hof: tuple[float, float, float]
    rng: np.random.Generator

    @property
    def reach(self) -> float:
        """No part of the cell is farther than this from its centre."""
        return float(self.outline.max()) + 1.0


def draw(cell: PlacedCell) -> Figure:
    """The cell's outlines; always the same for the same cell."""
    rng = np.random.Generator(np.random.PCG64(cell.key))
    look = cell.look
    outline = _outline(cell, look, rng)
    nuclear_radius = cell.radius * np.sqrt(_draw(rng, look.ratio))
    direction = rng.uniform(0, 2 * np.pi)
    room = max(cell.radius - nuclear_radius, 0.0) * _draw(rng, look.offset) * 0.92
    centre = room * np.cos(direction), room * np.sin(direction)
    rods = np.zeros((0, 6))
    nucleus = np.zeros(ANGLES)
    if look.shape in ("round", "indented", "folded"):
        nucleus = _star_nucleus(look, nuclear_radius, direction, rng)
        if look.offset[1] > 1.0:
            outline = np.maximum(outline, np.minimum(_bulge(nucleus, centre), _room(cell)))
        nucleus = np.minimum(nucleus, _room_inside(outline, centre))
    elif look.shape == "bare":
        nucleus = outline * rng.uniform(0.86, 0.97)
        centre = 0.0, 0.0
    else:
        rods = _RODS[look.shape](look, cell.radius, nuclear_radius, centre, rng)
    return Figure(
        look=look,
        radius=cell.radius,
        outline=outline,
        nucleus_centre=centre,
        nucleus=nucleus,
        rods=rods,
        spots=_spots(look, nuclear_radius, centre, rng),
        vacuoles=_vacuoles(look, cell.radius, rng),
        hof=(
            (room - 0.85 * nuclear_radius) * np.cos(direction),
            (room - 0.85 * nuclear_radius) * np.sin(direction),
            _draw(rng, look.hof),
        ),
        rng=rng,
    )


def polygon(cell: PlacedCell) -> Polygon:
    """The cell's outline in slide coordinates, µm, (64, 2)."""
    outline = draw(cell).outline
    return np.stack([cell.x + outline * _COS, cell.y + outline * _SIN], axis=1)[::2]


def _draw(rng: np.random.Generator, span: Span) -> float:
    return float(rng.uniform(*span))


def _wobble(rng: np.random.Generator, first: int, last: int) -> FloatArray:
    """A smooth random function of the angle, about unit amplitude."""
    parts = slice(first - 1, last)
    weights = rng.normal(size=last - first + 1) / np.arange(1, last - first + 2) ** 0.7
    phases = rng.uniform(0, 2 * np.pi, last - first + 1)
    return np.asarray((weights * np.cos(phases)) @ _COSINES[parts] - (weights * np.sin(phases)) @ _SINES[parts])


def _outline(cell: PlacedCell, look: Look, rng: np.random.Generator) -> FloatArray:
    """Round, roughened, with blebs, stretched by smearing, flattened against neighbours."""
    radius = cell.radius * (
        1.0 + rng.uniform(0.015, 0.06) * _wobble(rng, 2, 3) + _draw(rng, look.irregular) * _wobble(rng, 3, 8)
    )
    for _ in range(rng.poisson(1.5 * look.pseudopods)):
        width, height = rng.uniform(0.2, 0.5), rng.uniform(0.05, 0.16)
        radius = radius + cell.radius * height * _bump(rng.uniform(0, 2 * np.pi), width)
    if cell.stretch > 1.0:
        along = (_COS * cell.axis[0] + _SIN * cell.axis[1]) ** 2
        radius = radius / np.sqrt(along / cell.stretch + (1.0 - along) * cell.stretch)
    radius = np.minimum(radius, _room(cell))
    return np.asarray(np.clip(radius, 0.45 * cell.radius, _LARGEST * cell.radius))


def _room(cell: PlacedCell) -> FloatArray:
    """How far the cell may reach, by angle, before it meets a neighbour or is too large."""
    room = np.full(ANGLES, _LARGEST * cell.radius)
    if len(cell.contacts):
        facing = cell.contacts[:, :1] * _COS + cell.contacts[:, 1:2] * _SIN
        limits = np.where(facing > 0.05, cell.contacts[:, 2:] / np.maximum(facing, 0.05), 1e9)
        room = np.minimum(room, limits.min(axis=0))
    return np.asarray(room)


def _bulge(nucleus: FloatArray, centre: tuple[float, float]) -> FloatArray:
    """Distance from the cell's centre to just outside its nucleus, by angle; 0 where that does not reach."""
    x, y = centre[0] + (nucleus + 0.3) * _COS, centre[1] + (nucleus + 0.3) * _SIN
    place = np.rint(np.arctan2(y, x) * (ANGLES / (2 * np.pi))).astype(int) % ANGLES
    reach = np.zeros(ANGLES)
    np.maximum.at(reach, place, np.hypot(x, y))
    return reach


def _bump(angle: float, width: float) -> FloatArray:
    """A smooth bump around an angle, height 1."""
    return np.asarray(np.exp((np.cos(_THETA - angle) - 1.0) / width**2))


def _room_inside(outline: FloatArray, centre: tuple[float, float]) -> FloatArray:
    """Distance from the nucleus' centre to 0.25 µm inside the cell's outline, by angle."""
    x, y = outline * _COS - centre[0], outline * _SIN - centre[1]
    angle = np.arctan2(y, x)
    order = np.argsort(angle)
    room = np.interp(_THETA, angle[order], np.hypot(x, y)[order], period=2 * np.pi)
    return np.asarray(np.maximum(room - 0.25, 0.6))


def _star_nucleus(look: Look, radius: float, direction: float, rng: np.random.Generator) -> FloatArray:
    """Round to kidney-shaped to folded, with the area of a disc of `radius`."""
    elongation = _draw(rng, look.elongation)
    axis = direction + np.pi / 2 + rng.normal(0, 0.25)
    along = np.cos(_THETA - axis) ** 2
    profile = 1.0 / np.sqrt(along / elongation + (1.0 - along) * elongation)
    profile *= 1.0 + rng.uniform(0.008, 0.02) * _wobble(rng, 2, 6)
    depth = _draw(rng, look.indentation)
    hilus = direction + np.pi + rng.normal(0, 0.35)
    profile *= 1.0 - depth * _bump(hilus, rng.uniform(0.4, 0.65))
    if look.shape == "folded":
        for _ in range(rng.integers(1, 4)):
            profile *= 1.0 - depth * rng.uniform(0.25, 0.7) * _bump(rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.4))
        profile *= 1.0 + 0.03 * _wobble(rng, 3, 6)
    return np.asarray(profile * radius / np.sqrt(np.mean(profile**2)))


def _band_rods(
    look: Look, cell: float, nucleus: float, centre: tuple[float, float], rng: np.random.Generator
) -> FloatArray:
    """A C, U or S of even width."""
    count, turn = 7, rng.uniform(2.6, 4.4)
    heading = rng.uniform(0, 2 * np.pi) + np.linspace(-0.5, 0.5, count + 1) * turn * rng.choice([1.0, -1.0])
    if rng.random() < 0.15:
        heading[count // 2 :] = 2 * heading[count // 2] - heading[count // 2 :]
    length = rng.uniform(1.25, 1.55) * cell
    width = min(np.pi * nucleus**2 / length / 2.0, 0.27 * cell) * (1.0 + 0.12 * rng.normal(0, 1, count + 1))
    waist = 1.0 - rng.uniform(0.0, 0.3) * np.exp(-((np.linspace(-1, 1, count + 1) / 0.4) ** 2))
    return _chain(heading, length / count, width * waist, centre, 0.9 * cell)


def _chain(heading: FloatArray, step: float, width: FloatArray, centre: tuple[float, float], room: float) -> FloatArray:
    """Rods end to end along the headings, centred, kept within `room` of the cell's centre."""
    x = np.concatenate([[0.0], np.cumsum(np.cos(heading[:-1]) * step)])
    y = np.concatenate([[0.0], np.cumsum(np.sin(heading[:-1]) * step)])
    x, y = x - (x.max() + x.min()) / 2, y - (y.max() + y.min()) / 2
    spread = np.max(np.hypot(x, y) + width)
    shrink = min(1.0, room / spread)
    slack = max(room - spread * shrink, 0.0)
    shift = min(1.0, slack / max(np.hypot(*centre), 1e-6))
    x, y, width = x * shrink + centre[0] * shift, y * shrink + centre[1] * shift, np.maximum(width * shrink, 0.3)
    return np.stack([x[:-1], y[:-1], x[1:], y[1:], width[:-1], width[1:]], axis=1)


def _segmented_rods(
    look: Look, cell: float, nucleus: float, centre: tuple[float, float], rng: np.random.Generator
) -> FloatArray:
    """Lobes of unequal size on a bent line, joined by thin strands."""
    count = int(rng.integers(look.lobes[0], look.lobes[1] + 1))
    size = rng.uniform(0.8, 1.2, count)
    lobe = nucleus * size / np.sqrt(np.sum(size**2)) * 0.86
    turn = rng.uniform(1.0, 2.6) * rng.choice([1.0, -1.0])
    heading = rng.uniform(0, 2 * np.pi) + turn * np.arange(count) + rng.normal(0, 0.25, count)
    x, y = [0.0], [0.0]
    for n in range(1, count):
        gap = (lobe[n - 1] + lobe[n]) * rng.uniform(1.0, 1.25)
        x.append(x[-1] + np.cos(heading[n]) * gap)
        y.append(y[-1] + np.sin(heading[n]) * gap)
    xs, ys = np.array(x) - np.mean(x), np.array(y) - np.mean(y)
    shrink = min(1.0, 0.92 * cell / np.max(np.hypot(xs, ys) + 1.1 * lobe))
    xs, ys, lobe = xs * shrink + centre[0] * 0.4, ys * shrink + centre[1] * 0.4, lobe * shrink**0.5
    tilt = heading + rng.normal(0, 0.5, count)
    length = rng.uniform(0.25, 0.75, count) * lobe
    dx, dy = np.cos(tilt) * length, np.sin(tilt) * length
    lobe = lobe / np.sqrt(1.0 + 1.27 * length / lobe)  # the area of a disc of the old radius
    lobes = np.stack([xs - dx, ys - dy, xs + dx, ys + dy, lobe * rng.uniform(0.8, 1.0, count), lobe * 0.95], axis=1)
    strand = np.full(count - 1, rng.uniform(0.28, 0.5))
    strands = np.stack([xs[:-1], ys[:-1], xs[1:], ys[1:], strand, strand], axis=1)
    return np.concatenate([lobes, strands])


def _fragment_rods(
    look: Look, cell: float, nucleus: float, centre: tuple[float, float], rng: np.random.Generator
) -> FloatArray:
    """Round dense globules of different sizes (karyorrhexis)."""
    count = int(rng.integers(look.lobes[0], look.lobes[1] + 1))
    size = rng.uniform(0.35, 1.2, count)
    radius = nucleus * size / np.sqrt(np.sum(size**2))
    angle = rng.uniform(0, 2 * np.pi) + np.arange(count) * 2.4
    distance = (0.88 * cell - radius).clip(0) * rng.uniform(0.3, 0.85, count) * (count > 1)
    x, y = distance * np.cos(angle), distance * np.sin(angle)
    return np.stack([x, y, x + 0.01, y, radius, radius], axis=1)


def _mitosis_rods(
    look: Look, cell: float, nucleus: float, centre: tuple[float, float], rng: np.random.Generator
) -> FloatArray:
    """Metaphase plate or anaphase: one ragged bar, or two."""
    bars = int(rng.integers(1, 3))
    tilt = rng.uniform(0, np.pi)
    along, across = np.array([np.cos(tilt), np.sin(tilt)]), np.array([-np.sin(tilt), np.cos(tilt)])
    rows = []
    for bar in range(bars):
        middle = across * (bar - (bars - 1) / 2) * cell * 0.75
        for offset in np.linspace(-0.5, 0.5, 9):
            base = middle + along * offset * cell * 0.95 + rng.normal(0, 0.3, 2)
            arm = across * rng.uniform(0.3, 1.5) * rng.choice([-1.0, 1.0])
            rows.append([*(base - arm * 0.4), *(base + arm * 0.6), rng.uniform(0.65, 1.0), rng.uniform(0.45, 0.85)])
    return np.array(rows)


_RODS = {
    "band": _band_rods,
    "segmented": _segmented_rods,
    "fragments": _fragment_rods,
    "mitosis": _mitosis_rods,
}


def _spots(look: Look, nucleus: float, centre: tuple[float, float], rng: np.random.Generator) -> FloatArray:
    """Nucleoli inside the nucleus."""
    count = int(rng.integers(look.nucleoli[0], look.nucleoli[1] + 1))
    angle, distance = rng.uniform(0, 2 * np.pi, count), nucleus * 0.6 * np.sqrt(rng.uniform(0, 1, count))
    radius = rng.uniform(0.7, 1.25, count) * (1.25 if count == 1 else 1.0)
    return np.stack([centre[0] + distance * np.cos(angle), centre[1] + distance * np.sin(angle), radius], axis=1)


def _vacuoles(look: Look, cell: float, rng: np.random.Generator) -> NDArray[np.float64]:
    count = int(rng.integers(look.vacuoles[0], look.vacuoles[1] + 1))
    angle, distance = rng.uniform(0, 2 * np.pi, count), cell * rng.uniform(0.3, 0.85, count)
    return np.stack([distance * np.cos(angle), distance * np.sin(angle), rng.uniform(0.3, 0.8, count)], axis=1)
