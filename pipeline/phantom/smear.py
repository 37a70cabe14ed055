"""The smear as a whole: body, body-tail junction, tail, glass, and the areas that spoil tiles. Units are µm."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.phantom.chance import FloatArray, address, generator, patchwork, uniform
from pipeline.phantom.spec import PhantomSpec

SpoilKind = Literal["defocus", "overstain", "debris", "aggregate", "crowd", "fat"]
Zone = Literal["body", "junction", "tail"]
SPOIL_KINDS: tuple[SpoilKind, ...] = ("defocus", "overstain", "debris", "aggregate", "crowd", "fat")
_SPOIL_PITCH_UM = 400.0
_SPOIL_REACH_UM = 190.0


def smoothstep(low: float, high: float, value: FloatArray) -> FloatArray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoil:
    """A round area of one fault; strength falls from 1 to 0 over `soft_um` outside `radius_um`."""

    kind: SpoilKind
    x: float
    y: float
    radius_um: float
    soft_um: float = 25.0

    def strength(self, x: FloatArray, y: FloatArray) -> FloatArray:
        distance = np.sqrt((x - self.x) ** 2 + (y - self.y) ** 2)
        return 1.0 - smoothstep(self.radius_um, self.radius_um + self.soft_um, distance)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Zones:
    """Weights at points: body + junction + tail = `smear` (1 on the smear, 0 on bare glass)."""

    body: FloatArray
    junction: FloatArray
    tail: FloatArray
    smear: FloatArray


class Smear:
    """Where the zones lie. The smear runs along the longer side of the slide, either way by seed."""

    def __init__(self, spec: PhantomSpec) -> None:
        self.width = spec.size[0] * spec.drawn_mpp
        self.height = spec.size[1] * spec.drawn_mpp
        self._seed = spec.seed
        self._artefacts = spec.artefacts
        rng = generator(spec.seed, 1)
        self.lengthwise = self.width >= self.height
        self.reversed = bool(rng.random() < 0.5)
        self.length = max(self.width, self.height)
        self.breadth = min(self.width, self.height)
        self._start = rng.uniform(0.02, 0.05)
        self._body_end = rng.uniform(0.28, 0.36)
        self._tail_start = self._body_end + rng.uniform(0.34, 0.40)
        self._end = rng.uniform(0.93, 0.97)
        self._side = rng.uniform(0.025, 0.05, 2)
        self._waves = rng.uniform(-1, 1, (5, 4))  # amplitude per harmonic of each of five borders
        self._phases = rng.uniform(0, 2 * np.pi, (5, 4))

    def _border(self, index: int, along: FloatArray, amplitude: float) -> FloatArray:
        """A wavy border's displacement, as a fraction of the length."""
        total = np.zeros_like(along)
        for harmonic in range(4):
            weight = self._waves[index, harmonic] / (1 + harmonic)
            total += weight * np.sin((harmonic + 1) * 4.2 * along + self._phases[index, harmonic])
        return amplitude * total

    def axes(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Position along (0 at the body) and across the smear, each 0..1 over the slide."""
        u, v = (x / self.width, y / self.height) if self.lengthwise else (y / self.height, x / self.width)
        return (1.0 - u if self.reversed else u), v

    @property
    def direction(self) -> tuple[float, float]:
        """Unit vector from body to tail in slide coordinates."""
        sign = -1.0 if self.reversed else 1.0
        return (sign, 0.0) if self.lengthwise else (0.0, sign)

    def point(self, u: float, v: float) -> tuple[float, float]:
        """The inverse of `axes` for one point."""
        u = 1.0 - u if self.reversed else u
        return (u * self.width, v * self.height) if self.lengthwise else (v * self.width, u * self.height)

    @property
    def middle(self) -> dict[Zone, float]:
        """Position along the smear of the middle of each zone."""
        return {
            "body": (self._start + self._body_end) / 2,
            "junction": (self._body_end + self._tail_start) / 2,
            "tail": (self._tail_start + self._end) / 2,
        }

    def distances(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """µm past the body's end, past the tail's start, and inside the smear's outline (negative on glass)."""
        u, v = self.axes(x, y)
        past_body = (u - self._body_end - self._border(0, v, 0.03)) * self.length
        past_tail = (u - self._tail_start - self._border(1, v, 0.03)) * self.length
        past_body = past_body + 70.0 * (patchwork(self._seed, 12, x, y, 150.0) - 0.5)
        past_tail = past_tail + 90.0 * (patchwork(self._seed, 13, x, y, 170.0) - 0.5)
        side = np.minimum(
            (v - self._side[0] - self._border(2, u, 0.012)) * self.breadth,
            (1.0 - v - self._side[1] - self._border(3, u, 0.012)) * self.breadth,
        )
        ends = np.minimum((u - self._start) * self.length, (self._end - u + self._border(4, v, 0.02)) * self.length)
        return past_body, past_tail, np.minimum(side, ends)

    def zones(self, x: FloatArray, y: FloatArray) -> Zones:
        """Weights of the zones at points in µm; the lateral rim is thick like the body."""
        past_body, past_tail, inside = self.distances(x, y)
        smear = smoothstep(-6.0, 6.0, inside)
        tail = smoothstep(-30.0, 30.0, past_tail)
        rim = (1.0 - smoothstep(25.0, 45.0, inside)) * (1.0 - tail)
        body = np.maximum(1.0 - smoothstep(-35.0, 30.0, past_body), rim)
        tail = np.minimum(tail, 1.0 - body)
        return Zones(body=body * smear, junction=(1.0 - body - tail) * smear, tail=tail * smear, smear=smear)

    def particles(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """0..1: marrow particles in the body, dense clumps of cells and fat a few hundred µm wide."""
        noise = 0.6 * patchwork(self._seed, 6, x, y, 260.0) + 0.4 * patchwork(self._seed, 7, x, y, 90.0)
        return smoothstep(0.58, 0.70, noise)

    def streaks(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """0.6..1.4: unevenness of the spread, drawn out along the smear."""
        along, across = (x, y) if self.lengthwise else (y, x)
        return (
            0.6
            + 0.5 * patchwork(self._seed, 8, along, across * 3.0, 220.0)
            + 0.3 * patchwork(self._seed, 9, x, y, 70.0)
        )

    def countable(self, x: FloatArray, y: FloatArray) -> NDArray[np.bool_]:
        """True inside the body-tail junction."""
        past_body, past_tail, inside = self.distances(x, y)
        return np.asarray((past_body > 0) & (past_tail < 0) & (inside > 35.0))

    def spoils(self, x0: float, y0: float, x1: float, y1: float) -> tuple[Spoil, ...]:
        """Fault areas whose influence may reach the rectangle."""
        lattice = [
            np.arange(
                np.floor((low - _SPOIL_REACH_UM) / _SPOIL_PITCH_UM), (high + _SPOIL_REACH_UM) // _SPOIL_PITCH_UM + 1
            )
            for low, high in ((x0, x1), (y0, y1))
        ]
        found = (self._spoil(int(i), int(j)) for j in lattice[1] for i in lattice[0])
        return tuple(spoil for spoil in found if spoil and _reaches(spoil, x0, y0, x1, y1))

    def _spoil(self, i: int, j: int) -> Spoil | None:
        return _place_spoil(self._seed, self._artefacts, i, j)


@cache
def _place_spoil(seed: int, artefacts: float, i: int, j: int) -> Spoil | None:
    key = address(seed, 2, i, j)
    chance, kind, dx, dy, size = (float(uniform(key, stream)[0]) for stream in range(5))
    if chance >= 0.42 * artefacts:
        return None
    return Spoil(
        kind=SPOIL_KINDS[int(kind * len(SPOIL_KINDS))],
        x=(i + dx) * _SPOIL_PITCH_UM,
        y=(j + dy) * _SPOIL_PITCH_UM,
        radius_um=60.0 + 90.0 * size,
    )


def _reaches(spoil: Spoil, x0: float, y0: float, x1: float, y1: float) -> bool:
    dx = max(x0 - spoil.x, 0.0, spoil.x - x1)
    dy = max(y0 - spoil.y, 0.0, spoil.y - y1)
    return dx * dx + dy * dy < (spoil.radius_um + spoil.soft_um) ** 2
