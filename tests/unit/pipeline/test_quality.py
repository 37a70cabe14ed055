"""Faults of a slide are named before anything is counted."""

import cv2
import numpy as np
import pytest

from pipeline import quality
from pipeline.domain import Box
from pipeline.image import ImageSlide
from pipeline.phantom.faults import with_fault
from pipeline.phantom.samples import FieldSample
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.spec import PhantomSpec

MPP = 180 / 1024


def thumbnail_of(slide: ImageSlide) -> np.ndarray:
    return slide.read(Box(x0=0, y0=0, x1=slide.size[0], y1=slide.size[1]), slide.mpp * 4)


def problem(image: np.ndarray, mpp: float = MPP) -> str:
    slide = ImageSlide(image.astype(np.uint8), mpp)
    box = Box(x0=0, y0=0, x1=slide.size[0], y1=slide.size[1])
    return quality.slide_problem(slide, thumbnail_of(slide)) or quality.tiles_problem(slide, [box])


def test_a_good_field_has_no_problem(field: FieldSample) -> None:
    assert problem(field.image) == ""


@pytest.mark.parametrize(("mpp", "word"), [(0.5, "0.500 µm per pixel"), (0.01, "0.010 µm per pixel")])
def test_wrong_magnification_is_named(field: FieldSample, mpp: float, word: str) -> None:
    assert word in problem(field.image, mpp)


def test_a_blank_slide_is_named(field: FieldSample) -> None:
    assert "blank" in problem(np.full_like(field.image, 235))


def test_another_stain_is_named(field: FieldSample) -> None:
    grey = field.image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    assert "Romanowsky" in problem(grey)


def test_a_blurred_slide_is_named(field: FieldSample) -> None:
    assert "focus" in problem(cv2.GaussianBlur(field.image, (0, 0), 5))


def test_an_overstained_slide_is_named(field: FieldSample) -> None:
    assert "overstained" in problem(with_fault(field.image, MPP, "overstained", 1))


def test_haematoxylin_and_eosin_is_named() -> None:
    slide = PhantomSlide(PhantomSpec(seed=900_021, size=(6000, 4000), mpp=0.2, fault="h&e"))
    assert "Romanowsky" in quality.tiles_problem(slide, [Box(x0=2600, y0=1600, x1=3400, y1=2400)])


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_a_wrong_scale_shows_in_the_nuclei(field: FieldSample, factor: float) -> None:
    measured = quality.measure(field.image, MPP * factor)
    assert quality.problem([measured]).startswith("Nuclei measure")
