"""Area averaging at any scale, from fractional source positions."""

import numpy as np
from numpy.typing import NDArray


def area_mean(image: NDArray[np.uint8], columns: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The mean of `image` between consecutive edges: (len(rows) - 1, len(columns) - 1, C), rounded.

    Edges are in source pixels, rising, within 0..width and 0..height.
    """
    tall = _between(image.astype(np.float32), rows)
    both = _between(tall.swapaxes(0, 1), columns).swapaxes(0, 1)
    return np.asarray(np.clip(both + 0.5, 0, 255), dtype=np.uint8)


def _between(values: NDArray[np.float32], edges: NDArray[np.float64]) -> NDArray[np.float32]:
    """Means over intervals of the first axis."""
    total = np.zeros((values.shape[0] + 1, *values.shape[1:]), dtype=np.float64)
    np.cumsum(values, axis=0, dtype=np.float64, out=total[1:])
    whole = np.minimum(np.floor(edges).astype(int), values.shape[0] - 1)
    part = (edges - whole).reshape(-1, *([1] * (values.ndim - 1)))
    at_edges = total[whole] + part * values[whole]
    width = np.diff(edges).reshape(-1, *([1] * (values.ndim - 1)))
    return np.asarray(np.diff(at_edges, axis=0) / width, dtype=np.float32)
