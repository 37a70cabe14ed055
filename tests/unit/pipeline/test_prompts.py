"""Which boxes SAM is asked for."""

import numpy as np

from pipeline.cells import CellsConfig, point_grid
from pipeline.nuclei import Nucleus
from pipeline.prompts import lobes, prompts

CONFIG = CellsConfig()


def nucleus(x: float, y: float, side_um: float) -> Nucleus:
    """A square one at 1 µm/px."""
    half = side_um / 2
    return Nucleus(centre=(x, y), box=(x - half, y - half, x + half, y + half), area_um2=side_um**2)


def test_near_lobes_are_asked_for_together_and_apart() -> None:
    near = [nucleus(10, 10, 4), nucleus(16, 10, 4), nucleus(60, 60, 4)]
    asked = prompts(near, 1.0, CONFIG)
    assert [prompt.nuclei for prompt in asked] == [(0,), (0,), (1,), (1,), (2,), (2,), (0, 1)]
    x0, y0, x1, y1 = asked[-1].box
    assert (x0 + x1) / 2 == 13 and (y0 + y1) / 2 == 10
    assert x1 - x0 == (18 - 8) * (1 + CONFIG.tight)


def test_large_nuclei_and_long_chains_are_no_lobes() -> None:
    assert lobes([nucleus(10, 10, 10), nucleus(21, 10, 10)], 1.0, CONFIG) == []
    assert lobes([nucleus(10 + 6 * i, 10, 4) for i in range(4)], 1.0, CONFIG) == []
    assert lobes([], 1.0, CONFIG) == []


def test_distances_are_in_micrometres() -> None:
    pair = [nucleus(10, 10, 4), nucleus(16, 10, 4)]
    assert lobes(pair, 1.0, CONFIG) == [(0, 1)]
    assert lobes(pair, 4.0, CONFIG) == []


def test_the_grid_of_everything_stays_inside_the_image() -> None:
    points = point_grid((320, 100), 32.0)
    assert points.shape == (10 * 3, 2)
    assert points.min() > 0
    assert np.all(points.max(axis=0) < (320, 100))
