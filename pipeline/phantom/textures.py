"""Seamless noise: chromatin, granules, mottling. Made once from a fixed seed, sampled by every object.

A texture is float32, square, periodic, `TEXTURE_MPP` µm per texel, with coarser copies (a mip chain) so that a coarse
rendering is the average of a fine one.
"""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]  # (H, W)

TEXTURE_MPP = 0.1
SIDE = 512
_LEVELS = 6

# name: (centre wavelength µm, relative bandwidth, contrast of the squashing; 0 = none)
_BANDS = {
    "fine": (0.75, 0.45, 0.8),
    "granular": (1.05, 0.45, 1.2),
    "coarse": (1.5, 0.5, 1.6),
    "clumped": (2.3, 0.5, 2.4),
    "blocky": (3.1, 0.4, 3.2),
    "smooth": (3.5, 0.8, 0.8),
    "mottle": (1.6, 1.0, 0.6),
    "cloud": (14.0, 1.0, 0.6),
}
# name: (radius µm, radius spread, dots per µm²)
_DOTS = {
    "dust": (0.16, 0.3, 2.2),
    "azurophil": (0.26, 0.35, 0.9),
    "eosinophil": (0.52, 0.15, 0.95),
    "basophil": (0.55, 0.4, 0.42),
    "speck": (0.35, 0.6, 0.012),
}


def _band(seed: int, wavelength_um: float, width: float, squash: float) -> Plane:
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij")) / TEXTURE_MPP
    with np.errstate(divide="ignore"):
        gain = np.exp(-0.5 * (np.log(frequency * wavelength_um) / width) ** 2)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * gain, s=(SIDE, SIDE))
    noise /= noise.std()
    texture = np.tanh(squash * noise) if squash else noise
    texture -= texture.mean()
    return np.asarray(texture / texture.std(), dtype=np.float32)


def _dots(seed: int, radius_um: float, spread: float, density: float) -> Plane:
    """Granules in 0..1: soft discs that wrap around."""
    rng = np.random.default_rng(seed)
    count = int(density * (SIDE * TEXTURE_MPP) ** 2)
    reach = int(np.ceil(3 * radius_um * (1 + spread) / TEXTURE_MPP)) + 1
    canvas = np.zeros((SIDE + 2 * reach, SIDE + 2 * reach), dtype=np.float32)
    grid = np.arange(-reach, reach + 1, dtype=np.float32) * TEXTURE_MPP
    for x, y, jitter in zip(*rng.uniform(0, SIDE, (2, count)), rng.uniform(-1, 1, count), strict=True):
        radius = radius_um * (1 + spread * jitter)
        column, row = int(x), int(y)
        distance = np.hypot(grid[None, :] - (x - column) * TEXTURE_MPP, grid[:, None] - (y - row) * TEXTURE_MPP)
        disc = np.clip((radius - distance) / 0.15 + 0.5, 0, 1)
        window = canvas[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
        np.maximum(window, disc[: window.shape[0], : window.shape[1]], out=window)
    for axis in (0, 1):  # fold the margins onto the other side
        body = np.moveaxis(canvas, axis, 0)
        body[reach : 2 * reach] = np.maximum(body[reach : 2 * reach], body[-reach:])
        body[-2 * reach : -reach] = np.maximum(body[-2 * reach : -reach], body[:reach])
    return canvas[reach:-reach, reach:-reach]


@cache
def texture(name: str) -> tuple[Plane, ...]:
    """The mip chain of a texture, finest first."""
    seed = 7 + sum(name.encode())
    base = _band(seed, *_BANDS[name]) if name in _BANDS else _dots(seed, *_DOTS[name])
    chain = [np.ascontiguousarray(base)]
    for _ in range(_LEVELS - 1):
        finer = chain[-1]
        side = finer.shape[0] // 2
        chain.append(cv2.resize(finer, (side, side), interpolation=cv2.INTER_AREA))
    return tuple(chain)


def sample(name: str, x_um: Plane, y_um: Plane, mpp: float) -> Plane:
    """The texture at points given in µm, band-limited for a rendering at `mpp`; same shape as the points."""
    level = int(np.clip(np.floor(np.log2(max(mpp, 1e-3) * 1.25 / TEXTURE_MPP)), 0, _LEVELS - 1))
    plane = texture(name)[level]
    scale = np.float32(1.0 / (TEXTURE_MPP * 2**level))
    shift = np.float32(0.5 * (1 / 2**level - 1))  # texel centres of a coarser copy
    columns, rows = x_um * scale + shift, y_um * scale + shift
    return np.asarray(cv2.remap(plane, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))


@cache
def mean_cover(name: str) -> float:
    """The mean of a texture: for dots, the share of area they cover."""
    return float(texture(name)[0].mean())
