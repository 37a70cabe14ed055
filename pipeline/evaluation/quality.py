"""Quality control measured: each fault put on synthetic slides and real fields, and what is said of it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline import metrics
from pipeline.domain import Box, RgbImage, Slide
from pipeline.evaluation.data import CENTRES, SEGPC_MPP, Figures, Say, image_paths, seed_of
from pipeline.image import ImageSlide, read_image
from pipeline.phantom.faults import with_fault
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.smear import Smear
from pipeline.phantom.spec import TILE_UM, Fault, PhantomSpec
from pipeline.quality import slide_problem, tiles_problem
from pipeline.regions import RegionsConfig

# what the reason must say of each fault
NAMED = {
    "blurred": "out of focus",
    "blank": "blank",
    "overstained": "overstained",
    "h&e": "not Romanowsky",
    "magnification": "µm per pixel",
}
SIZE_UM = (2000.0, 1400.0)
WRONG_SCALE = 2.5
LEAST_CONTRAST = 12.0  # rows of one colour are bars beside the picture


def quality(slides: int, real: Path | None, most: int | None, say: Say) -> Figures:
    """Faults refused for the right reason, and good slides and fields refused for any.

    Parameters
    ----------
    slides
        Synthetic slides of each centre, each drawn with each fault and without.
    real
        The folder of segpc, or None.
    most
        So many of its fields; None: all.
    """
    said = list(_synthetic(slides, say))
    if real is not None:
        said += _real(real, most)
    refused = {name: [NAMED[name] in reason for fault, reason in said if fault == name] for name in NAMED}
    good = [reason for fault, reason in said if fault == "none"]
    return {
        "n": len(said),
        "unit": "slides and fields",
        "refused": {name: metrics.proportion(hits) for name, hits in refused.items()},
        "false_alarms": metrics.proportion([bool(reason) for reason in good]),
    }


def _synthetic(slides: int, say: Say) -> Iterator[tuple[str, str]]:
    faults: list[Fault] = ["none", "blurred", "blank", "overstained", "h&e", "magnification"]
    total, done = len(CENTRES) * slides * len(faults), 0
    for centre in CENTRES:
        for number in range(slides):
            for fault in faults:
                mpp = 0.2
                size = round(SIZE_UM[0] / mpp), round(SIZE_UM[1] / mpp)
                seed = seed_of(800, centre) + number
                slide = PhantomSlide(PhantomSpec(seed=seed, size=size, mpp=mpp, centre=centre, fault=fault))
                yield fault, _reason(slide, _junction(slide))
                done += 1
                say(done / total)


def _junction(slide: PhantomSlide) -> list[Box]:
    """Two tiles in the middle of the body-tail junction; where it would be on a slide with a fault."""
    smear, side = Smear(slide.spec), round(TILE_UM / slide.mpp)
    tiles = []
    for across in (0.4, 0.6):
        x, y = (v / slide.spec.drawn_mpp for v in smear.point(smear.middle["junction"], across))
        x0, y0 = round(x - side / 2), round(y - side / 2)
        tiles.append(Box(x0=x0, y0=y0, x1=x0 + side, y1=y0 + side))
    return tiles


def _real(folder: Path, most: int | None) -> Iterator[tuple[str, str]]:
    """Fields as they are, spoiled, and claimed to be of another scale."""
    for number, path in enumerate(image_paths(folder / "images", most)):
        image = read_image(path)
        rows = np.flatnonzero(image.astype(np.int16).std(axis=(1, 2)) > LEAST_CONTRAST)
        image = image[rows[0] : rows[-1] + 1] if len(rows) > image.shape[0] / 10 else image
        yield "none", _field_reason(image, SEGPC_MPP)
        for fault in ("blurred", "blank", "overstained"):
            yield fault, _field_reason(with_fault(image, SEGPC_MPP, fault, number), SEGPC_MPP)
        yield "magnification", _field_reason(image, SEGPC_MPP / WRONG_SCALE)


def _field_reason(image: RgbImage, mpp: float) -> str:
    slide = ImageSlide(image, mpp)
    return _reason(slide, [Box(x0=0, y0=0, x1=slide.size[0], y1=slide.size[1])])


def _reason(slide: Slide, tiles: list[Box]) -> str:
    whole = Box(x0=0, y0=0, x1=slide.size[0], y1=slide.size[1])
    longest = max(slide.size) * slide.mpp
    thumbnail = slide.read(whole, min(RegionsConfig().mpp, longest / 64) if longest < 1000 else RegionsConfig().mpp)
    return slide_problem(slide, thumbnail) or tiles_problem(slide, tiles)
