"""Seamless noise: chromatin, granules, mottling. Made once from a fixed seed, sampled by every object.

A texture is float32, square, periodic, `TEXTURE_MPP` µm per texel, with coarser copies (a mip chain) so that a coarse
rendering is the average of a fine one.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]  # (H, W)

TEXTURE_MPP = 0.1
SIDE = 512
PERIOD_UM = SIDE * TEXTURE_MPP
_LEVELS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noise:
    """Octaves of (wavelength µm, weight); `warp` µm of displacement draws grains into streaks; `squash` sharpens
    grains towards two tones; `lean` < 0 makes sparse light gaps in dark matter, > 0 sparse dark clumps."""  # noqa: D209

    octaves: tuple[tuple[float, float], ...]
    width: float = 0.55
    warp: float = 0.0
    squash: float = 0.0
    lean: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dots:
    """Granules: radius µm and its relative spread, number per µm², relative spread of strength."""

    radius: float
    spread: float
    density: float
    fade: float = 0.4


_NOISES = {
    "fine": _Noise(octaves=((0.6, 0.5), (1.3, 0.6), (3.5, 0.7)), width=0.6, warp=0.35, squash=0.4, lean=-0.3),
    "granular": _Noise(octaves=((0.7, 0.6), (1.6, 0.8), (4.0, 0.5)), width=0.6, warp=0.35, squash=0.6, lean=-0.2),
    "coarse": _Noise(octaves=((0.8, 0.5), (2.0, 1.0), (4.5, 0.5)), warp=0.35, squash=0.7, lean=-0.2),
    "clumped": _Noise(octaves=((0.9, 0.4), (2.4, 1.0), (5.0, 0.4)), warp=0.3, squash=1.0, lean=-0.15),
    "blocky": _Noise(octaves=((0.9, 0.35), (3.0, 1.0), (6.0, 0.3)), warp=0.3, squash=1.3, lean=-0.15),
    "spoked": _Noise(octaves=((1.0, 0.5), (2.2, 1.0), (4.5, 0.5)), warp=0.25, squash=0.9, lean=-0.6),
    "smooth": _Noise(octaves=((2.0, 0.3), (5.0, 1.0)), width=0.8, warp=0.4, squash=0.4),
    "mottle": _Noise(octaves=((0.6, 0.5), (1.3, 0.7), (3.0, 0.5)), width=0.7, squash=0.3),
    "smear": _Noise(octaves=((0.8, 0.6), (2.2, 0.7), (8.0, 1.2)), width=0.7, warp=0.4, squash=0.4, lean=-0.3),
    "film": _Noise(octaves=((1.5, 0.5), (5.0, 0.6), (17.0, 1.0)), width=0.7, warp=2.0, squash=0.3),
}
_DOTS = {
    "dust": _Dots(radius=0.17, spread=0.4, density=2.4, fade=0.7),
    "azurophil": _Dots(radius=0.20, spread=0.5, density=2.6, fade=0.7),
    "eosinophil": _Dots(radius=0.36, spread=0.2, density=3.4, fade=0.3),
    "basophil": _Dots(radius=0.40, spread=0.5, density=1.7, fade=0.4),
    "speck": _Dots(radius=0.16, spread=0.7, density=0.11, fade=0.9),
}


def _band(rng: np.random.Generator, wavelength_um: float, width: float) -> Plane:
    """Periodic noise around a wavelength, zero mean, unit variance."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij")) / TEXTURE_MPP
    with np.errstate(divide="ignore"):
        gain = np.exp(-0.5 * (np.log(frequency * wavelength_um) / width) ** 2)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * gain, s=(SIDE, SIDE))
    return np.asarray(noise / noise.std(), dtype=np.float32)


def _noise(seed: int, recipe: _Noise) -> Plane:
    rng = np.random.default_rng(seed)
    total = sum((weight * _band(rng, length, recipe.width) for length, weight in recipe.octaves), np.float32(0))
    texture = np.asarray(total, dtype=np.float32)
    texture /= texture.std()
    if recipe.warp:
        columns, rows = np.meshgrid(np.arange(SIDE, dtype=np.float32), np.arange(SIDE, dtype=np.float32))
        shift = np.float32(recipe.warp / TEXTURE_MPP)
        columns, rows = columns + shift * _band(rng, 5.0, 0.5), rows + shift * _band(rng, 5.0, 0.5)
        texture = np.asarray(cv2.remap(texture, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP))
    if recipe.squash:
        texture = np.tanh(recipe.squash * (texture - recipe.lean))
    texture -= texture.mean()
    return np.asarray(texture / texture.std(), dtype=np.float32)


def _dots(seed: int, recipe: _Dots) -> Plane:
    """Granules in 0..1: soft discs that wrap around."""
    rng = np.random.default_rng(seed)
    count = int(recipe.density * PERIOD_UM**2)
    reach = int(np.ceil((recipe.radius * (1 + recipe.spread) + 0.2) / TEXTURE_MPP)) + 1
    canvas = np.zeros((SIDE, SIDE), dtype=np.float32)
    grid = np.arange(-reach, reach + 1)
    x, y = rng.uniform(0, SIDE, (2, count, 1, 1))
    size, strength = rng.random((2, count, 1, 1))
    rows, columns = y.astype(int) + grid[:, None], x.astype(int) + grid
    radius = recipe.radius * (1 + recipe.spread * (2 * size - 1))
    distance = np.hypot(columns - x, rows - y) * TEXTURE_MPP
    discs = np.clip((radius - distance) / 0.2 + 0.5, 0, 1) * (1 - recipe.fade * strength)
    np.maximum.at(canvas, (rows % SIDE, columns % SIDE), discs.astype(np.float32))
    return canvas


@cache
def texture(name: str) -> tuple[Plane, ...]:
    """The mip chain of a texture, finest first."""
    seed = 7 + sum(name.encode())
    base = _noise(seed, _NOISES[name]) if name in _NOISES else _dots(seed, _DOTS[name])
    chain = [np.ascontiguousarray(base)]
    for _ in range(_LEVELS - 1):
        finer = chain[-1]
        side = finer.shape[0] // 2
        chain.append(np.asarray(cv2.resize(finer, (side, side), interpolation=cv2.INTER_AREA)))
    return tuple(chain)


def sample(name: str, x_um: Plane, y_um: Plane, mpp: float) -> Plane:
    """The texture at points given in µm, band-limited for a rendering at `mpp`; same shape as the points."""
    level = min(max(int(np.floor(np.log2(mpp * 1.25 / TEXTURE_MPP))), 0), _LEVELS - 1)
    plane = texture(name)[level]
    scale = np.float32(1.0 / (TEXTURE_MPP * 2**level))
    shift = np.float32(0.5 * (1 / 2**level - 1))  # texel centres of a coarser copy
    columns, rows = x_um * scale + shift, y_um * scale + shift
    return np.asarray(cv2.remap(plane, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))


@lru_cache(maxsize=16)
def tiled(name: str, mpp: float, scale: float = 1.0) -> Plane:
    """One period of a texture, enlarged by `scale`, on a pixel grid of `mpp` µm; (P, P), to be repeated."""
    side = max(round(PERIOD_UM * scale / mpp), 1)
    steps = (np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(PERIOD_UM / side)
    x, y = np.meshgrid(steps, steps)
    return sample(name, x, y, mpp / scale)


def repeat(plane: Plane, column: int, row: int, width: int, height: int) -> Plane:
    """A window of the endlessly repeated plane whose first pixel is (column, row)."""
    rows = np.arange(row, row + height) % plane.shape[0]
    columns = np.arange(column, column + width) % plane.shape[1]
    return np.asarray(plane[rows[:, None], columns])


@cache
def mean_cover(name: str) -> float:
    """The mean of a texture: for dots, the share of area they cover."""
    return float(texture(name)[0].mean())
