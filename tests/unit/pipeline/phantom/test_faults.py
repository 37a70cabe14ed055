"""Faults put on a field are repeatable and are what they are called."""

import numpy as np
import pytest

from pipeline.domain import RgbImage
from pipeline.phantom.faults import TILE_FAULTS, TileFault, with_fault
from pipeline.phantom.samples import render_field

MPP = 160 / 224


@pytest.fixture(scope="module")
def tile() -> RgbImage:
    return render_field(900_011, mpp=MPP, size_px=224).image


@pytest.mark.parametrize("fault", TILE_FAULTS)
def test_a_seed_gives_one_picture_and_leaves_the_field_alone(tile: RgbImage, fault: TileFault) -> None:
    before = tile.copy()
    once, again = with_fault(tile, MPP, fault, 4), with_fault(tile, MPP, fault, 4)
    assert once.shape == tile.shape
    assert np.array_equal(once, again)
    assert np.array_equal(tile, before)
    assert not np.array_equal(once, tile)


def test_each_fault_does_what_it_is_called(tile: RgbImage) -> None:
    contrast = {fault: with_fault(tile, MPP, fault, 4).std() for fault in TILE_FAULTS}
    mean = {fault: with_fault(tile, MPP, fault, 4).mean() for fault in TILE_FAULTS}
    assert contrast["blank"] < 0.2 * tile.std()
    assert contrast["blurred"] < tile.std()
    for darker in ("overstained", "crowded with red cells", "piled up", "debris"):
        assert mean[darker] < tile.mean()
