"""Random numbers by address: any object's numbers follow from the seed and its own index (splitmix64)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Keys = NDArray[np.uint64]
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def _mix(value: Keys) -> Keys:
    """The splitmix64 finaliser (Steele et al. 2014), elementwise."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def address(*parts: ArrayLike) -> Keys:
    """A 64-bit key of integers, broadcast together; negative parts are allowed. Never 0-dimensional."""
    key = np.zeros(1, dtype=np.uint64)
    for part in parts:
        number = np.atleast_1d(np.asarray(part))
        word = number if number.dtype == np.uint64 else number.astype(np.int64).view(np.uint64)
        key = _mix((key * np.uint64(0x2545F4914F6CDD1D) ^ word) + np.uint64(_GOLDEN))
    return key


def uniform(key: Keys, stream: int) -> FloatArray:
    """Uniform numbers in [0, 1), one per key, different for each stream."""
    bits = _mix(key + np.uint64((stream + 1) * _GOLDEN & _MASK)) >> np.uint64(11)
    return bits.astype(np.float64) * (1.0 / (1 << 53))


def between(key: Keys, stream: int, low: ArrayLike, high: ArrayLike) -> FloatArray:
    """Uniform numbers in [low, high)."""
    low = np.asarray(low, dtype=np.float64)
    return np.asarray(low + (np.asarray(high, dtype=np.float64) - low) * uniform(key, stream))


def patchwork(seed: int, kind: int, x: FloatArray, y: FloatArray, pitch: float) -> FloatArray:
    """Smooth noise in [0, 1): random values on a lattice of `pitch`, blended between."""
    i, j = np.floor(x / pitch), np.floor(y / pitch)
    tx, ty = x / pitch - i, y / pitch - j
    tx, ty = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty)
    corners = [uniform(address(seed, kind, (i + di).ravel(), (j + dj).ravel()), 0).reshape(x.shape)
               for dj in (0, 1) for di in (0, 1)]  # fmt: skip
    top = corners[0] + tx * (corners[1] - corners[0])
    bottom = corners[2] + tx * (corners[3] - corners[2])
    return np.asarray(top + ty * (bottom - top))


def generator(*parts: int) -> np.random.Generator:
    """A generator for the address."""
    return np.random.Generator(np.random.PCG64(int(address(*parts)[0])))
