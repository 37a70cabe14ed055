"""What a label says is there to be seen: fault areas show, however sparse the smear; a nucleus stays in its cell."""

import numpy as np
import pytest

from pipeline.phantom.chance import FloatArray
from pipeline.phantom.figure import draw
from pipeline.phantom.layout import Layout, Parcel
from pipeline.phantom.smear import Spoil, SpoilKind
from pipeline.phantom.spec import PhantomSpec

_SIZE_UM = (3000, 2000)
_SEEDS = range(3)


def _layout(seed: int, density: float) -> Layout:
    size = tuple(side * 4 for side in _SIZE_UM)
    return Layout(PhantomSpec(seed=seed, size=(size[0], size[1]), mpp=0.25, density=density, artefacts=1.8))


def _faults(layout: Layout, kind: SpoilKind) -> list[Spoil]:
    """Those that lie in the junction."""

    def junction(spoil: Spoil) -> float:
        return float(layout.smear.zones(np.array([spoil.x]), np.array([spoil.y])).junction[0])

    return [spoil for spoil in layout.smear.spoils(0, 0, *_SIZE_UM) if spoil.kind == kind and junction(spoil) > 0.95]


def _seen(parcel: Parcel, kind: SpoilKind) -> FloatArray:
    """(N, 2) what makes a fault area one: cells, holes of 14 µm and more, grains of 4 µm and more."""
    if kind == "crowd":
        return np.array([(cell.x, cell.y) for cell in parcel.cells]).reshape(-1, 2)
    rows, least = (parcel.vacuoles, 7.0) if kind == "fat" else (parcel.clumps, 2.0)
    return rows[rows[:, 2] >= least, :2]


@pytest.mark.parametrize("density", [0.6, 1.3])
@pytest.mark.parametrize(("kind", "least"), [("crowd", 0.8), ("fat", 0.05), ("debris", 0.2)])
def test_a_fault_area_shows_however_sparse_the_smear(kind: SpoilKind, least: float, density: float) -> None:
    """`least` is the number on the 225 µm² of one cell's place; a countable place has 0.4 cells."""
    found = []
    for layout in (_layout(seed, density) for seed in _SEEDS):
        for fault in _faults(layout, kind):
            corners = fault.x - fault.radius_um, fault.y - fault.radius_um
            parcels = layout.parcels(*corners, *(corner + 2 * fault.radius_um for corner in corners))
            places = np.concatenate([_seen(parcel, kind) for parcel in parcels])
            inside = np.hypot(places[:, 0] - fault.x, places[:, 1] - fault.y) < fault.radius_um
            found.append(inside.sum() / (np.pi * fault.radius_um**2) * 225)
    assert len(found) >= 3
    assert min(found) > least


def test_a_nucleus_that_bulges_stays_within_its_cell() -> None:
    layout = _layout(1, 1.0)
    cells = [cell for parcel in layout.parcels(900, 500, 2100, 1500) for cell in parcel.cells]
    plasma = [draw(cell) for cell in cells if cell.class_name == "plasma cell"]
    bulging = 0
    for figure in plasma:
        angles = np.arange(len(figure.outline)) * (2 * np.pi / len(figure.outline))
        x, y = (
            centre + figure.nucleus * side(angles)
            for centre, side in zip(figure.nucleus_centre, (np.cos, np.sin), strict=True)
        )
        limit = np.interp(np.arctan2(y, x), angles, figure.outline, period=2 * np.pi)
        assert (np.hypot(x, y) <= limit + 0.15).all()
        bulging += bool((np.hypot(x, y) > figure.radius).any())
    assert bulging > len(plasma) / 4
