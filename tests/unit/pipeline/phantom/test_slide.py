"""The synthetic smear as a slide: determinism, boxes, resolutions, memory."""

import pickle
import tracemalloc

import numpy as np
import pytest

from pipeline.domain import Box
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.spec import Centre, Fault, PhantomSpec
from pipeline.phantom.stain import optics

SMALL = PhantomSpec(seed=5, size=(6000, 4400), mpp=0.2)


@pytest.fixture(scope="module")
def slide() -> PhantomSlide:
    return PhantomSlide(SMALL)


def test_equal_specs_give_equal_pixels(slide: PhantomSlide) -> None:
    box = Box(x0=900, y0=800, x1=1300, y1=1200)
    assert np.array_equal(slide.read(box, 0.2), PhantomSlide(SMALL).read(box, 0.2))


def test_a_slide_goes_to_another_process(slide: PhantomSlide) -> None:
    box = Box(x0=900, y0=800, x1=1100, y1=900)
    assert np.array_equal(pickle.loads(pickle.dumps(slide)).read(box, 0.2), slide.read(box, 0.2))


def test_another_seed_gives_another_slide(slide: PhantomSlide) -> None:
    box = Box(x0=900, y0=800, x1=1100, y1=1000)
    other = PhantomSlide(PhantomSpec(seed=6, size=(6000, 4400), mpp=0.2))
    assert not np.array_equal(slide.read(box, 0.2), other.read(box, 0.2))


def test_centres_differ_in_mean_colour() -> None:
    box = Box(x0=0, y0=0, x1=6000, y1=4400)
    means = [
        PhantomSlide(PhantomSpec(seed=5, size=(6000, 4400), mpp=0.2, centre=centre)).read(box, 10.0).mean(axis=(0, 1))
        for centre in ("a", "b")
    ]
    assert np.abs(means[0] - means[1]).max() > 8


def test_the_varied_centre_is_another_for_every_seed_and_the_same_for_one() -> None:
    centres: tuple[Centre, ...] = ("a", "varied")
    spread = {
        centre: np.std([optics(_spec(seed, centre)).absorbance for seed in range(40)], axis=0).mean()
        for centre in centres
    }
    assert spread["varied"] > 1.5 * spread["a"]
    assert np.array_equal(optics(_spec(3, "varied")).absorbance, optics(_spec(3, "varied")).absorbance)


def _spec(seed: int, centre: Centre) -> PhantomSpec:
    return PhantomSpec(seed=seed, size=(100, 100), centre=centre)


@pytest.mark.parametrize("mpp", [0.2, 0.4])
def test_a_box_is_the_crop_of_a_larger_read(slide: PhantomSlide, mpp: float) -> None:
    scale = round(mpp / 0.2)
    large = slide.read(Box(x0=800, y0=600, x1=1600, y1=1400), mpp)
    small = slide.read(Box(x0=960, y0=680, x1=1200, y1=1000), mpp)
    x, y = 160 // scale, 80 // scale
    assert np.array_equal(small, large[y : y + small.shape[0], x : x + small.shape[1]])


def test_objects_cross_block_borders_without_a_seam(slide: PhantomSlide) -> None:
    field = slide.read(Box(x0=1024 - 60, y0=400, x1=1024 + 60, y1=1000), 0.2).astype(float)
    steps = np.abs(np.diff(field, axis=1)).mean(axis=(0, 2))
    assert steps[59] < 1.6 * np.median(steps)


def test_shape_follows_the_slide_contract(slide: PhantomSlide) -> None:
    assert slide.read(Box(x0=10, y0=20, x1=110, y1=70), 0.5).shape == (20, 40, 3)
    assert slide.read(Box(x0=0, y0=0, x1=6000, y1=4400), 10.0).shape == (88, 120, 3)


def test_outside_the_slide_is_white(slide: PhantomSlide) -> None:
    field = slide.read(Box(x0=-50, y0=-50, x1=50, y1=50), 0.2)
    assert (field[:50] == 255).all()
    assert (field[50:, 50:] < 255).any()


def test_an_empty_box_is_refused(slide: PhantomSlide) -> None:
    with pytest.raises(ValueError, match="no pixel"):
        slide.read(Box(x0=5, y0=5, x1=5, y1=9), 0.2)


@pytest.mark.parametrize("place", [(0.15, 0.5), (0.5, 0.5), (0.85, 0.5)])
@pytest.mark.parametrize("mpp", [0.5, 3.2])
def test_resolutions_agree_in_mean_colour(slide: PhantomSlide, place: tuple[float, float], mpp: float) -> None:
    x, y = int(place[0] * 5000), int(place[1] * 3400)
    box = Box(x0=x, y0=y, x1=x + 1000, y1=y + 1000)
    fine = slide.read(box, 0.2).reshape(-1, 3).mean(axis=0)
    assert slide.read(box, mpp).reshape(-1, 3).mean(axis=0) == pytest.approx(fine, abs=4.0)


def test_memory_does_not_grow_with_the_slide() -> None:
    def peak(size: tuple[int, int]) -> int:
        slide = PhantomSlide(PhantomSpec(seed=3, size=size, mpp=0.05), cached_blocks=2)
        tracemalloc.start()
        for y in range(0, size[1], 512):
            slide.read(Box(x0=0, y0=y, x1=size[0], y1=min(y + 512, size[1])), 0.05)
        value = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return value

    peak((512, 512))  # textures are made once
    assert peak((1024, 9216)) < 1.2 * peak((1024, 3072))


@pytest.mark.parametrize("fault", ["blurred", "blank", "overstained", "h&e", "magnification"])
def test_a_fault_changes_the_picture_and_leaves_nothing_countable(fault: Fault) -> None:
    spec = PhantomSpec(seed=5, size=(6000, 4400), mpp=0.2, fault=fault)
    slide = PhantomSlide(spec)
    box = Box(x0=2600, y0=2100, x1=2900, y1=2400)
    assert np.abs(slide.read(box, 0.2).astype(int) - PhantomSlide(SMALL).read(box, 0.2)).mean() > 3
    assert slide.truth.cells == ()
    assert not any(tile.countable for tile in slide.truth.tiles)
