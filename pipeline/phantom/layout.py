"""Where every object lies. The slide is cut into parcels (one grid tile each); a parcel's objects follow from its
address alone, so any part of a slide of any size is laid out by itself, and always alike. Units are µm.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.domain import CELL_CLASSES, Box
from pipeline.phantom.chance import FloatArray, address, between, uniform
from pipeline.phantom.morphology import MORPHOLOGY
from pipeline.phantom.smear import Smear, Spoil, SpoilKind
from pipeline.phantom.spec import TILE_UM, PhantomSpec

MARGIN_UM = 45.0  # neighbours looked at beyond a parcel
REACH_UM = 32.0  # the farthest an object extends from its parcel
_NUCLEATED, _RED, _STACK, _PLATELET, _VACUOLE, _CLUMP = range(11, 17)
_DIAMETERS = np.array([MORPHOLOGY[name].diameter_um for name in CELL_CLASSES])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlacedCell:
    """One nucleated cell: centre, radius, class, its own random key, and the planes it shares with neighbours.

    `contacts` is (K, 3): outward unit normal and distance of each flattened side from the centre.
    `stretch` is a factor along `axis` (the smearing direction); `crowding` 0..1 is how thick the smear is there.
    """

    x: float
    y: float
    radius: float
    class_name: str
    key: int
    contacts: FloatArray
    stretch: float
    axis: tuple[float, float]
    crowding: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parcel:
    """The objects one parcel owns.

    Rows: red (x, y, radius, elongation, angle, pallor, dye, seed), platelets (x, y, radius, seed), vacuoles
    (x, y, radius), clumps (x, y, radius, darkness, seed).
    """

    cells: tuple[PlacedCell, ...]
    red: FloatArray
    platelets: FloatArray
    vacuoles: FloatArray
    clumps: FloatArray


class Layout:
    """Lays a spec's objects out, parcel by parcel, with the latest parcels kept.

    With `wish` = (class name, x, y), the site nearest to that point holds a cell of that class; the point must be well
    inside a parcel.
    """

    def __init__(self, spec: PhantomSpec, wish: tuple[str, float, float] | None = None) -> None:
        self.spec = spec
        self.wish = wish
        self.smear = Smear(spec)
        self.scale = 0.4 if spec.fault == "magnification" else 1.0
        self._cumulative = np.cumsum(spec.fractions)
        self.parcel = lru_cache(maxsize=400)(self._lay_out)

    def parcels(self, x0: float, y0: float, x1: float, y1: float) -> list[Parcel]:
        """Parcels whose objects may reach the rectangle, in a fixed order."""
        columns = range(int(np.floor((x0 - REACH_UM) / TILE_UM)), int(np.floor((x1 + REACH_UM) / TILE_UM)) + 1)
        rows = range(int(np.floor((y0 - REACH_UM) / TILE_UM)), int(np.floor((y1 + REACH_UM) / TILE_UM)) + 1)
        return [self.parcel(i, j) for j in rows for i in columns]

    def _lay_out(self, i: int, j: int) -> Parcel:
        frame = _Frame(i * TILE_UM, j * TILE_UM)
        if self.spec.fault == "blank":
            return _empty()
        spoils = self.smear.spoils(*frame.reach)
        vacuoles = self._vacuoles(frame, spoils)
        cells, occupied = self._cells(frame, spoils, vacuoles)
        return Parcel(
            cells=cells,
            red=self._red(frame, spoils, occupied, vacuoles),
            platelets=frame.own(self._platelets(frame)),
            vacuoles=frame.own(vacuoles),
            clumps=frame.own(self._clumps(frame, spoils)),
        )

    def _sites(
        self, frame: "_Frame", kind: int, pitch: float, jitter: float
    ) -> tuple[FloatArray, FloatArray, NDArray[np.uint64]]:
        """Jittered lattice points within the frame's reach, with the key of each."""
        x0, y0, x1, y1 = frame.reach
        columns = np.arange(np.floor(x0 / pitch), np.ceil(x1 / pitch) + 1)
        rows = np.arange(np.floor(y0 / pitch), np.ceil(y1 / pitch) + 1)
        i, j = (axis.ravel() for axis in np.meshgrid(columns, rows))
        key = address(self.spec.seed, kind, i, j)
        x = (i + 0.5 * (j % 2) + jitter * (uniform(key, 0) - 0.5)) * pitch
        y = (j + jitter * (uniform(key, 1) - 0.5)) * pitch
        keep = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        return x[keep], y[keep], key[keep]

    def _cells(
        self, frame: "_Frame", spoils: tuple[Spoil, ...], vacuoles: FloatArray
    ) -> tuple[tuple[PlacedCell, ...], FloatArray]:
        """The parcel's nucleated cells, and (x, y, radius, crowding) of those and their neighbours."""
        pitch = 15.0 * self.scale / np.sqrt(self.spec.density)
        x, y, key = self._sites(frame, _NUCLEATED, pitch, 0.75)
        zones = self.smear.zones(x, y)
        crowd = _spoiled(spoils, "crowd", x, y)
        occupancy = 0.80 * zones.body + 0.32 * zones.junction + 0.12 * zones.tail
        occupancy = np.maximum(occupancy, 0.85 * crowd * zones.smear)
        kind = np.searchsorted(self._cumulative, uniform(key, 3), side="right").clip(0, len(CELL_CLASSES) - 1)
        torn = (uniform(key, 4) < 0.25 * zones.tail) & (self.spec.composition.get("smudge cell", 0) > 0)
        kind = np.where(torn, CELL_CLASSES.index("smudge cell"), kind)
        wished = self._wished(x, y)
        if self.wish:
            kind = np.where(wished, CELL_CLASSES.index(self.wish[0]), kind)
        radius = 0.5 * self.scale * between(key, 5, _DIAMETERS[kind, 0], _DIAMETERS[kind, 1])
        crowding = np.maximum(zones.body, crowd)
        radius *= 1.0 - 0.08 * crowding
        keep = ((uniform(key, 2) < occupancy) & ~_inside(x, y, radius, vacuoles)) | wished
        x, y, key, kind, radius = x[keep], y[keep], key[keep], kind[keep], radius[keep]
        crowding, tail = crowding[keep], zones.tail[keep]
        owned = frame.owns(x, y)
        x, y = _repel(x, y, radius, 0.98 - 0.28 * crowding)
        occupied = np.stack([x, y, radius, crowding], axis=1)
        stretch = 1.0 + tail * (0.1 + 0.35 * uniform(key, 6))
        cells = tuple(
            PlacedCell(
                x=float(x[n]), y=float(y[n]), radius=float(radius[n]), class_name=CELL_CLASSES[kind[n]],
                key=int(key[n]), contacts=_contacts(n, x, y, radius), stretch=float(stretch[n]),
                axis=self.smear.direction, crowding=float(crowding[n]),
            )
            for n in np.flatnonzero(owned)
        )  # fmt: skip
        return cells, occupied

    def _wished(self, x: FloatArray, y: FloatArray) -> NDArray[np.bool_]:
        """Which site, if any here, the wish is for."""
        if self.wish is None:
            return np.zeros(x.shape, dtype=bool)
        distance = np.sqrt((x - self.wish[1]) ** 2 + (y - self.wish[2]) ** 2)
        return np.asarray((distance == distance.min()) & (distance < MARGIN_UM / 2))

    def _red(
        self, frame: "_Frame", spoils: tuple[Spoil, ...], occupied: FloatArray, vacuoles: FloatArray
    ) -> FloatArray:
        """Red cells: single ones on two lattices (the second only where the smear is thick) and rouleaux."""
        singles = [self._single_red(frame, spoils, layer) for layer in (0, 1)]
        red = frame.own(np.concatenate([*singles, self._rouleaux(frame, spoils)]))
        zones = self.smear.zones(red[:, 0], red[:, 1])
        gap = np.sqrt((red[:, None, 0] - occupied[None, :, 0]) ** 2 + (red[:, None, 1] - occupied[None, :, 1]) ** 2)
        covered = (gap < occupied[None, :, 2] + 0.45 * red[:, None, 2]).any(axis=1)
        hidden = covered & (zones.body < 0.5)
        return red[~hidden & ~_inside(red[:, 0], red[:, 1], red[:, 2], vacuoles)]

    def _single_red(self, frame: "_Frame", spoils: tuple[Spoil, ...], layer: int) -> FloatArray:
        x, y, key = self._sites(frame, _RED + 100 * layer, 8.4 * self.scale, 0.9)
        zones = self.smear.zones(x, y)
        clustered = _spoiled(spoils, "aggregate", x, y) * zones.smear
        patchy = 0.5 + uniform(address(self.spec.seed, 3, x // 45, y // 45), 0)
        occupancy = (0.9, 0.65)[layer] * zones.body + (0.30, 0.04)[layer] * zones.junction * patchy
        occupancy = np.maximum(occupancy + (0.34, 0.10)[layer] * zones.tail * patchy, (0.9, 0.8)[layer] * clustered)
        keep = uniform(key, 2) < occupancy
        return self._red_rows(x[keep], y[keep], key[keep], zones.tail[keep], 0.0)

    def _rouleaux(self, frame: "_Frame", spoils: tuple[Spoil, ...]) -> FloatArray:
        x, y, key = self._sites(frame, _STACK, 30.0 * self.scale, 0.9)
        zones = self.smear.zones(x, y)
        clustered = _spoiled(spoils, "aggregate", x, y) * zones.smear
        chance = np.maximum(0.55 * zones.body + 0.03 * zones.junction + 0.06 * zones.tail, 0.9 * clustered)
        keep = uniform(key, 2) < chance
        x, y, key = x[keep], y[keep], key[keep]
        step = np.arange(9)[None, :]
        angle = between(key, 3, 0, 2 * np.pi)[:, None] + (step - 4) * between(key, 4, -0.15, 0.15)[:, None]
        spacing = self.scale * between(key, 5, 2.2, 3.6)[:, None]
        xs = x[:, None] + np.cumsum(np.cos(angle) * spacing, axis=1) - 4 * np.cos(angle[:, :1]) * spacing
        ys = y[:, None] + np.cumsum(np.sin(angle) * spacing, axis=1) - 4 * np.sin(angle[:, :1]) * spacing
        present = step < 4 + 6 * uniform(key, 6)[:, None]
        keys = address(key[:, None], step)
        return self._red_rows(xs[present], ys[present], keys[present], np.zeros(int(present.sum())), 1.0)

    def _red_rows(
        self, x: FloatArray, y: FloatArray, key: NDArray[np.uint64], tail: FloatArray, stacked: float
    ) -> FloatArray:
        along = np.arctan2(self.smear.direction[1], self.smear.direction[0])
        loose = between(key, 12, 0, 2 * np.pi)
        return np.stack(
            [
                x,
                y,
                self.scale * between(key, 10, 3.3, 4.1),
                1.0 + between(key, 11, 0.0, 0.22) + tail * between(key, 15, 0.1, 0.7),
                np.where(tail > 0.5, along + 0.3 * (uniform(key, 12) - 0.5), loose),
                between(key, 13, 0.05, 0.5) * (1.0 - 0.6 * stacked),
                between(key, 14, 0.75, 1.2),
                uniform(key, 16) * 1000.0,
            ],
            axis=1,
        )

    def _platelets(self, frame: "_Frame") -> FloatArray:
        x, y, key = self._sites(frame, _PLATELET, 13.0 * self.scale, 0.95)
        zones = self.smear.zones(x, y)
        group = uniform(address(self.spec.seed, 4, x // 60, y // 60), 0)
        keep = uniform(key, 2) < zones.smear * np.where(group < 0.12, 0.45, 0.06)
        radius = self.scale * between(key, 3, 0.7, 1.6)
        return np.stack([x, y, radius, uniform(key, 4) * 1000.0], axis=1)[keep]

    def _vacuoles(self, frame: "_Frame", spoils: tuple[Spoil, ...]) -> FloatArray:
        x, y, key = self._sites(frame, _VACUOLE, 42.0 * self.scale, 0.9)
        zones = self.smear.zones(x, y)
        fat = _spoiled(spoils, "fat", x, y) * zones.smear
        chance = np.maximum(0.10 * zones.body + 0.025 * zones.junction + 0.01 * zones.tail, 0.75 * fat)
        keep = uniform(key, 2) < chance
        radius = self.scale * (3.0 + 17.0 * uniform(key, 3) ** 2)
        return np.stack([x, y, radius], axis=1)[keep]

    def _clumps(self, frame: "_Frame", spoils: tuple[Spoil, ...]) -> FloatArray:
        x, y, key = self._sites(frame, _CLUMP, 24.0, 0.95)
        zones = self.smear.zones(x, y)
        debris = _spoiled(spoils, "debris", x, y)
        keep = uniform(key, 2) < np.maximum(0.012 + 0.01 * zones.smear, 0.75 * debris)
        radius = 0.8 + 5.0 * uniform(key, 3) ** 2 * (0.4 + 0.6 * debris)
        return np.stack([x, y, radius, between(key, 4, 0.6, 2.2), uniform(key, 5) * 1000.0], axis=1)[keep]


def cells_in(layout: Layout, box: Box) -> tuple[PlacedCell, ...]:
    """Nucleated cells whose centre is in a box of level-0 pixels."""
    x0, y0, x1, y1 = (edge * layout.spec.mpp for edge in (box.x0, box.y0, box.x1, box.y1))
    return tuple(
        cell
        for parcel in layout.parcels(x0, y0, x1, y1)
        for cell in parcel.cells
        if x0 <= cell.x < x1 and y0 <= cell.y < y1
    )


class _Frame:
    """A parcel's square and the margin around it."""

    def __init__(self, x0: float, y0: float) -> None:
        self.x0, self.y0 = x0, y0
        self.reach = (x0 - MARGIN_UM, y0 - MARGIN_UM, x0 + TILE_UM + MARGIN_UM, y0 + TILE_UM + MARGIN_UM)

    def owns(self, x: FloatArray, y: FloatArray) -> NDArray[np.bool_]:
        return np.asarray((x >= self.x0) & (x < self.x0 + TILE_UM) & (y >= self.y0) & (y < self.y0 + TILE_UM))

    def own(self, rows: FloatArray) -> FloatArray:
        return rows[self.owns(rows[:, 0], rows[:, 1])]


def _empty() -> Parcel:
    return Parcel(
        cells=(), red=np.zeros((0, 8)), platelets=np.zeros((0, 4)), vacuoles=np.zeros((0, 3)), clumps=np.zeros((0, 5))
    )


def _spoiled(spoils: tuple[Spoil, ...], kind: SpoilKind, x: FloatArray, y: FloatArray) -> FloatArray:
    """The strongest influence of the fault areas of one kind, 0..1."""
    strength = np.zeros_like(x)
    for spoil in spoils:
        if spoil.kind == kind:
            np.maximum(strength, spoil.strength(x, y), out=strength)
    return strength


def _inside(x: FloatArray, y: FloatArray, radius: FloatArray, vacuoles: FloatArray) -> NDArray[np.bool_]:
    """True where an object would overlap a vacuole by more than a third of its radius."""
    gap = np.sqrt((x[:, None] - vacuoles[None, :, 0]) ** 2 + (y[:, None] - vacuoles[None, :, 1]) ** 2)
    return np.asarray((gap < vacuoles[None, :, 2] + 0.7 * radius[:, None]).any(axis=1))


def _repel(x: FloatArray, y: FloatArray, radius: FloatArray, spacing: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Push overlapping cells apart, three small steps; `spacing` 1 asks for no overlap at all."""
    for _ in range(3):
        dx, dy = x[:, None] - x[None, :], y[:, None] - y[None, :]
        gap = np.sqrt(dx * dx + dy * dy)
        np.fill_diagonal(gap, 1e9)
        wanted = (radius[:, None] + radius[None, :]) * np.minimum(spacing[:, None], spacing[None, :])
        push = np.maximum(wanted - gap, 0.0) * 0.45 / np.maximum(gap, 1e-6)
        x, y = x + (push * dx).sum(axis=1), y + (push * dy).sum(axis=1)
    return x, y


def _contacts(n: np.intp, x: FloatArray, y: FloatArray, radius: FloatArray) -> FloatArray:
    """Sides where cell `n` is flattened by a neighbour: (K, 3) of outward normal and distance."""
    dx, dy = x - x[n], y - y[n]
    gap = np.sqrt(dx * dx + dy * dy)
    touching = (gap < radius + radius[n]) & (gap > 0)
    side = np.maximum(gap * radius[n] / (radius + radius[n]) - 0.05, 0.7 * radius[n])
    return np.stack([dx[touching] / gap[touching], dy[touching] / gap[touching], side[touching]], axis=1)
