"""Where every object lies. The slide is cut into parcels (one grid tile each); a parcel's objects follow from its
address alone, so any part of a slide of any size is laid out by itself, and always alike. Units are µm.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.domain import CELL_CLASSES, Box
from pipeline.phantom.chance import FloatArray, Keys, address, between, patchwork, uniform
from pipeline.phantom.morphology import LOOKS, TISSUE, Look
from pipeline.phantom.smear import Smear, Spoil, SpoilKind, Zones
from pipeline.phantom.spec import TILE_UM, PhantomSpec

MARGIN_UM = 45.0  # neighbours looked at beyond a parcel
REACH_UM = 32.0  # the farthest an object extends from its parcel
_PITCH_UM = 15.0  # of the lattice nucleated cells are placed on
_CROWDED = 0.85  # share of its sites taken in a crowd,
_CROWD_DENSITY = 1.4  # which is as dense as this, however sparse the smear
_NUCLEATED, _RED, _STACK, _PLATELET, _VACUOLE, _CLUMP = range(11, 17)
_DIAMETERS = np.array([look.diameter_um for look in LOOKS])
_CLASS_OF_LOOK = np.array([CELL_CLASSES.index(look.class_name) for look in LOOKS])
_SMUDGE = next(n for n, look in enumerate(LOOKS) if look.class_name == "smudge cell")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlacedCell:
    """One nucleated cell: centre, radius, look, its own random key, and the planes it shares with neighbours.

    `contacts` is (K, 3): outward unit normal and distance of each flattened side from the centre.
    `stretch` is a factor along `axis` (the smearing direction); `crowding` 0..1 is how thick the smear is there.
    """

    x: float
    y: float
    radius: float
    look: Look
    key: int
    contacts: FloatArray
    stretch: float
    axis: tuple[float, float]
    crowding: float

    @property
    def class_name(self) -> str:
        return self.look.class_name


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
        self.mpp = spec.drawn_mpp
        self.smear = Smear(spec)
        self._wish = wish
        weights = np.array([look.weight for look in LOOKS])
        self._cumulative = np.cumsum(np.array(spec.fractions)[_CLASS_OF_LOOK] * weights)
        self._cumulative /= self._cumulative[-1]
        self.parcel = lru_cache(maxsize=400)(self._lay_out)

    def parcels(self, x0: float, y0: float, x1: float, y1: float) -> list[Parcel]:
        """Parcels whose objects may reach the rectangle, in a fixed order."""
        columns = range(int(np.floor((x0 - REACH_UM) / TILE_UM)), int(np.floor((x1 + REACH_UM) / TILE_UM)) + 1)
        rows = range(int(np.floor((y0 - REACH_UM) / TILE_UM)), int(np.floor((y1 + REACH_UM) / TILE_UM)) + 1)
        return [self.parcel(i, j) for j in rows for i in columns]

    def _lay_out(self, i: int, j: int) -> Parcel:
        frame = _Frame(self.smear, i * TILE_UM, j * TILE_UM)
        if self.spec.fault == "blank" or not frame.on_smear:
            return _empty(frame.own(self._clumps(frame)))
        if self.spec.fault == "h&e":
            cells, _ = self._cells(frame, np.zeros((0, 3)))
            return Parcel(cells=cells, red=_none(8), platelets=_none(4), vacuoles=_none(3), clumps=_none(5))
        vacuoles = self._vacuoles(frame)
        cells, occupied = self._cells(frame, vacuoles)
        return Parcel(
            cells=cells,
            red=self._red(frame, occupied, vacuoles),
            platelets=frame.own(self._platelets(frame)),
            vacuoles=frame.own(vacuoles),
            clumps=frame.own(self._clumps(frame)),
        )

    def _sites(self, frame: "_Frame", kind: int, pitch: float, jitter: float) -> "_Sites":
        """Jittered lattice points within the frame's reach."""
        x0, y0, x1, y1 = frame.reach
        columns = np.arange(np.floor(x0 / pitch), np.ceil(x1 / pitch) + 1)
        rows = np.arange(np.floor(y0 / pitch), np.ceil(y1 / pitch) + 1)
        i, j = (axis.ravel() for axis in np.meshgrid(columns, rows))
        key = address(self.spec.seed, kind, i, j)
        x = (i + 0.5 * (j % 2) + jitter * (uniform(key, 0) - 0.5)) * pitch
        y = (j + jitter * (uniform(key, 1) - 0.5)) * pitch
        keep = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        return _Sites(x[keep], y[keep], key[keep], self.smear, frame.spoils)

    def _cells(self, frame: "_Frame", vacuoles: FloatArray) -> tuple[tuple[PlacedCell, ...], FloatArray]:
        """The parcel's nucleated cells, and (x, y, radius, crowding) of those and their neighbours."""
        sites, chance = self._nucleated(frame)
        x, y, key, zones = sites.x, sites.y, sites.key, sites.zones
        crowding = np.maximum(zones.body, sites.spoiled("crowd"))
        wished = self._wished(x, y)
        look = self._looks(sites, wished)
        radius = 0.5 * between(key, 5, _DIAMETERS[look, 0], _DIAMETERS[look, 1]) * (1.0 - 0.08 * crowding)
        keep = (uniform(key, 2) < chance) & ~_inside(x, y, radius, vacuoles) | wished
        x, y, key, look, radius = x[keep], y[keep], key[keep], look[keep], radius[keep]
        crowding, tail = crowding[keep], zones.tail[keep]
        owned = frame.owns(x, y)
        x, y = _repel(x, y, radius, 0.98 - 0.28 * crowding)
        stretch = 1.0 + tail * (0.1 + 0.35 * uniform(key, 6))
        tissue = self.spec.fault == "h&e"
        cells = tuple(
            PlacedCell(
                x=float(x[n]), y=float(y[n]), radius=float(radius[n]), look=TISSUE if tissue else LOOKS[look[n]],
                key=int(key[n]), contacts=_contacts(n, x, y, radius), stretch=float(stretch[n]),
                axis=self.smear.direction, crowding=float(crowding[n]),
            )
            for n in np.flatnonzero(owned)
        )  # fmt: skip
        return cells, np.stack([x, y, radius, crowding], axis=1)

    def _nucleated(self, frame: "_Frame") -> tuple["_Sites", FloatArray]:
        """Where nucleated cells may lie, and the chance of each; more sites fill the crowds of a sparse smear."""
        sites = self._sites(frame, _NUCLEATED, _PITCH_UM / np.sqrt(self.spec.density), 0.8)
        chance = self._occupancy(sites)
        if self.spec.density >= _CROWD_DENSITY or not any(spoil.kind == "crowd" for spoil in frame.spoils):
            return sites, chance
        more = self._sites(frame, _NUCLEATED + 100, _PITCH_UM, 0.8)
        extra = _CROWDED * (_CROWD_DENSITY - self.spec.density) * more.spoiled("crowd") * more.zones.smear
        x, y = np.concatenate([sites.x, more.x]), np.concatenate([sites.y, more.y])
        both = _Sites(x, y, np.concatenate([sites.key, more.key]), self.smear, frame.spoils)
        return both, np.concatenate([chance, extra])

    def _looks(self, sites: "_Sites", wished: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Index into LOOKS by site: drawn from the composition; more smudges where the tail tears cells."""
        look = np.searchsorted(self._cumulative, uniform(sites.key, 3), side="right").clip(0, len(LOOKS) - 1)
        if self.spec.composition.get("smudge cell", 0.0) > 0:
            look = np.where(uniform(sites.key, 4) < 0.25 * sites.zones.tail, _SMUDGE, look)
        if self._wish is not None:
            options = [n for n, option in enumerate(LOOKS) if option.class_name == self._wish[0]]
            shares = np.cumsum([LOOKS[n].weight for n in options])
            choice = np.searchsorted(shares / shares[-1], uniform(sites.key, 7), side="right").clip(0, len(options) - 1)
            look = np.where(wished, np.array(options)[choice], look)
        return look

    def _occupancy(self, sites: "_Sites") -> FloatArray:
        """Chance that a site holds a nucleated cell."""
        zones = sites.zones
        if self.spec.fault == "h&e":
            return 0.5 * zones.smear
        body = 0.74 + 0.22 * self.smear.particles(sites.x, sites.y)
        even = body * zones.body + 0.38 * zones.junction + 0.12 * zones.tail
        return np.maximum(even * self.smear.streaks(sites.x, sites.y), _CROWDED * sites.spoiled("crowd") * zones.smear)

    def _wished(self, x: FloatArray, y: FloatArray) -> NDArray[np.bool_]:
        """Which site, if any here, the wish is for."""
        if self._wish is None:
            return np.zeros(x.shape, dtype=bool)
        distance = np.sqrt((x - self._wish[1]) ** 2 + (y - self._wish[2]) ** 2)
        return np.asarray((distance == distance.min()) & (distance < MARGIN_UM / 2))

    def _red(self, frame: "_Frame", occupied: FloatArray, vacuoles: FloatArray) -> FloatArray:
        """Red cells: single ones on two lattices (the second only where the smear is thick) and rouleaux."""
        singles = [self._single_red(frame, layer) for layer in (0, 1)]
        red = frame.own(np.concatenate([*singles, self._rouleaux(frame)]))
        zones = self.smear.zones(red[:, 0], red[:, 1])
        gap = np.sqrt((red[:, None, 0] - occupied[None, :, 0]) ** 2 + (red[:, None, 1] - occupied[None, :, 1]) ** 2)
        covered = (gap < occupied[None, :, 2] + 0.45 * red[:, None, 2]).any(axis=1)
        hidden = covered & (zones.body < 0.5)
        return red[~hidden & ~_inside(red[:, 0], red[:, 1], red[:, 2], vacuoles)]

    def _single_red(self, frame: "_Frame", layer: int) -> FloatArray:
        sites = self._sites(frame, _RED + 100 * layer, 8.4, 1.3)
        zones, clustered = sites.zones, sites.spoiled("aggregate") * sites.zones.smear
        uneven = 0.55 + 0.9 * patchwork(self.spec.seed, 3, sites.x, sites.y, 55.0)
        occupancy = (0.92, 0.75)[layer] * zones.body + (0.34, 0.05)[layer] * zones.junction * uneven
        occupancy = np.maximum(occupancy + (0.36, 0.10)[layer] * zones.tail * uneven, (0.95, 0.85)[layer] * clustered)
        keep = uniform(sites.key, 2) < occupancy
        return self._red_rows(sites.x[keep], sites.y[keep], sites.key[keep], zones.tail[keep], 0.0)

    def _rouleaux(self, frame: "_Frame") -> FloatArray:
        """Rows of stacked red cells, mostly in the body and in aggregates."""
        sites = self._sites(frame, _STACK, 30.0, 0.9)
        zones, clustered = sites.zones, sites.spoiled("aggregate") * sites.zones.smear
        chance = np.maximum(0.45 * zones.body + 0.03 * zones.junction + 0.06 * zones.tail, 0.9 * clustered)
        keep = uniform(sites.key, 2) < chance
        x, y, key = sites.x[keep], sites.y[keep], sites.key[keep]
        step = np.arange(9)[None, :]
        angle = between(key, 3, 0, 2 * np.pi)[:, None] + (step - 4) * between(key, 4, -0.15, 0.15)[:, None]
        spacing = between(key, 5, 2.2, 3.8)[:, None]
        xs = x[:, None] + np.cumsum(np.cos(angle) * spacing, axis=1) - 4 * np.cos(angle[:, :1]) * spacing
        ys = y[:, None] + np.cumsum(np.sin(angle) * spacing, axis=1) - 4 * np.sin(angle[:, :1]) * spacing
        present = step < 4 + 6 * uniform(key, 6)[:, None]
        keys = address(key[:, None], step)
        return self._red_rows(xs[present], ys[present], keys[present], np.zeros(int(present.sum())), 1.0)

    def _red_rows(self, x: FloatArray, y: FloatArray, key: Keys, tail: FloatArray, stacked: float) -> FloatArray:
        along = np.arctan2(self.smear.direction[1], self.smear.direction[0])
        loose = between(key, 12, 0, 2 * np.pi)
        return np.stack(
            [
                x,
                y,
                between(key, 10, 3.2, 4.1),
                1.0 + 0.45 * uniform(key, 11) ** 3 + tail * between(key, 15, 0.1, 0.7),
                np.where(tail > 0.5, along + 0.3 * (uniform(key, 12) - 0.5), loose),
                between(key, 13, 0.2, 1.0) * (1.0 - 0.6 * stacked),
                between(key, 14, 0.75, 1.2),
                uniform(key, 16) * 1000.0,
            ],
            axis=1,
        )

    def _platelets(self, frame: "_Frame") -> FloatArray:
        sites = self._sites(frame, _PLATELET, 13.0, 0.95)
        group = patchwork(self.spec.seed, 4, sites.x, sites.y, 40.0)
        keep = uniform(sites.key, 2) < sites.zones.smear * np.where(group > 0.72, 0.4, 0.04)
        radius = 0.7 + 1.0 * uniform(sites.key, 3) ** 2
        return np.stack([sites.x, sites.y, radius, uniform(sites.key, 4) * 1000.0], axis=1)[keep]

    def _vacuoles(self, frame: "_Frame") -> FloatArray:
        sites = self._sites(frame, _VACUOLE, 42.0, 0.9)
        zones, fat = sites.zones, sites.spoiled("fat") * sites.zones.smear
        particles = self.smear.particles(sites.x, sites.y)
        chance = (0.08 + 0.3 * particles) * zones.body + 0.025 * zones.junction + 0.01 * zones.tail
        keep = uniform(sites.key, 2) < np.maximum(chance, 0.75 * fat)
        radius = 2.5 + 4.5 * fat + 17.0 * uniform(sites.key, 3) ** 2
        return np.stack([sites.x, sites.y, radius], axis=1)[keep]

    def _clumps(self, frame: "_Frame") -> FloatArray:
        sites = self._sites(frame, _CLUMP, 24.0, 0.95)
        debris = sites.spoiled("debris")
        keep = uniform(sites.key, 2) < np.maximum(0.008 + 0.01 * sites.zones.smear, 0.8 * debris)
        radius = 0.5 + 1.5 * debris + 5.0 * uniform(sites.key, 3) ** 2 * (0.3 + 0.7 * debris)
        rows = [sites.x, sites.y, radius, between(sites.key, 4, 0.6, 2.2), uniform(sites.key, 5) * 1000.0]
        return np.stack(rows, axis=1)[keep]


def cells_in(layout: Layout, box: Box) -> tuple[PlacedCell, ...]:
    """Nucleated cells whose centre is in a box of level-0 pixels."""
    x0, y0, x1, y1 = (edge * layout.mpp for edge in (box.x0, box.y0, box.x1, box.y1))
    return tuple(
        cell
        for parcel in layout.parcels(x0, y0, x1, y1)
        for cell in parcel.cells
        if x0 <= cell.x < x1 and y0 <= cell.y < y1
    )


class _Frame:
    """A parcel's square, the margin around it and the fault areas that reach it."""

    def __init__(self, smear: Smear, x0: float, y0: float) -> None:
        self.x0, self.y0 = x0, y0
        self.reach = (x0 - MARGIN_UM, y0 - MARGIN_UM, x0 + TILE_UM + MARGIN_UM, y0 + TILE_UM + MARGIN_UM)
        self.spoils = smear.spoils(*self.reach)
        x, y = np.meshgrid(*(np.linspace(low, low + TILE_UM, 5) for low in (x0, y0)))
        self.on_smear = bool((smear.distances(x, y)[2] > -50.0).any())

    def owns(self, x: FloatArray, y: FloatArray) -> NDArray[np.bool_]:
        return np.asarray((x >= self.x0) & (x < self.x0 + TILE_UM) & (y >= self.y0) & (y < self.y0 + TILE_UM))

    def own(self, rows: FloatArray) -> FloatArray:
        return rows[self.owns(rows[:, 0], rows[:, 1])]


class _Sites:
    """Candidate places with their keys and what the smear is like there."""

    def __init__(self, x: FloatArray, y: FloatArray, key: Keys, smear: Smear, spoils: tuple[Spoil, ...]) -> None:
        self.x, self.y, self.key = x, y, key
        self.zones: Zones = smear.zones(x, y)
        self._spoils = spoils

    def spoiled(self, kind: SpoilKind) -> FloatArray:
        """The strongest influence of the fault areas of one kind, 0..1."""
        strength = np.zeros_like(self.x)
        for spoil in self._spoils:
            if spoil.kind == kind:
                np.maximum(strength, spoil.strength(self.x, self.y), out=strength)
        return strength


def _none(columns: int) -> FloatArray:
    return np.zeros((0, columns))


def _empty(clumps: FloatArray) -> Parcel:
    return Parcel(cells=(), red=_none(8), platelets=_none(4), vacuoles=_none(3), clumps=clumps)


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
