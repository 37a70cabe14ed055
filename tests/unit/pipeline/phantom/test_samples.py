"""Training examples: one cell, a field, a thumbnail, tiles."""

import numpy as np
import pytest

from pipeline.domain import CELL_CLASSES
from pipeline.phantom.samples import render_cell, render_field, roi_sample, tile_images
from pipeline.phantom.spec import PhantomSpec


@pytest.mark.parametrize("name", CELL_CLASSES)
def test_every_class_is_visible_in_the_middle_of_its_crop(name: str) -> None:
    image, mask = render_cell(name, 11, mpp=0.2, size_px=128)
    assert image.shape == (128, 128, 3)
    assert mask[48:80, 48:80].mean() > 0.5
    ring = ~mask
    assert image[mask].mean() < image[ring].mean() - 15


def test_classes_look_different() -> None:
    means = {
        name: np.mean(
            [render_cell(name, seed, mpp=0.4, size_px=64)[0][20:44, 20:44].mean((0, 1)) for seed in range(6)], 0
        )
        for name in ("myeloblast", "eosinophil", "late erythroblast", "plasma cell")
    }
    names = list(means)
    for n, first in enumerate(names):
        for second in names[n + 1 :]:
            assert np.abs(means[first] - means[second]).max() > 4, (first, second)


def test_a_cell_is_the_same_each_time() -> None:
    first, second = (render_cell("monocyte", 3, mpp=0.2, size_px=96) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_a_field_has_a_mask_per_cell() -> None:
    field = render_field(4, mpp=0.3, size_px=400)
    assert field.image.shape == (400, 400, 3)
    assert len(field.cells) > 5
    assert set(np.unique(field.labels)) == set(range(len(field.cells) + 1))


def test_thumbnail_and_mask_are_of_one_size() -> None:
    image, mask = roi_sample(PhantomSpec(seed=9, size=(2500, 1600), mpp=0.4))
    assert image.shape[:2] == mask.shape == (64, 100)
    assert 0.1 < mask.mean() < 0.6


def test_tiles_come_with_both_labels() -> None:
    examples = list(tile_images(PhantomSpec(seed=9, size=(8000, 6000), mpp=0.25), side_px=112, limit=6))
    assert {label for _, label in examples} == {True, False}
    assert all(image.shape == (112, 112, 3) for image, _ in examples)
