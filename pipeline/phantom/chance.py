"""Random numbers by address: any object's numbers follow from the seed and its own index (splitmix64)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The splitmix64 finaliser (Steele et al. 2014), elementwise."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def address(*parts: ArrayLike) -> NDArray[np.uint64]:
    """A 64-bit key of integers, broadcast together; negative parts are allowed. Never 0-dimensional."""
    key = np.zeros(1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            number = np.atleast_1d(np.asarray(part))
            word = number if number.dtype == np.uint64 else number.astype(np.int64).view(np.uint64)
            key = mix((key ^ mix(word + _GOLDEN)) + _GOLDEN)
    return key


def uniform(key: NDArray[np.uint64], stream: int) -> FloatArray:
    """Uniform numbers in [0, 1), one per key, different for each stream."""
    bits = address(key, stream) >> np.uint64(11)
    return bits.astype(np.float64) * (1.0 / (1 << 53))


def between(key: NDArray[np.uint64], stream: int, low: ArrayLike, high: ArrayLike) -> FloatArray:
    """Uniform numbers in [low, high)."""
    low = np.asarray(low, dtype=np.float64)
    return np.asarray(low + (np.asarray(high, dtype=np.float64) - low) * uniform(key, stream))


def generator(*parts: int) -> np.random.Generator:
    """A generator for the address."""
    return np.random.Generator(np.random.PCG64(int(address(*parts)[0])))
