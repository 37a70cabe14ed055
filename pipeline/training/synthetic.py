"""Training examples drawn from synthetic smears, kept in one file per kind so that drawing them is done once.

Seeds below 900,000 are for training; evaluation draws from above, so no smear is ever in both.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import phantom
from pipeline.domain import CELL_CLASSES, Box, RgbImage
from pipeline.errors import TrainingError
from pipeline.phantom.samples import FieldSample, render_cell, render_field
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.smear import Zone
from pipeline.phantom.spec import EVEN_MARROW, MYELOMA_MARROW, NORMAL_MARROW, Centre, PhantomSpec
from pipeline.phantom.truth import region_mask, unfit
from pipeline.regions import RegionsConfig, pad
from pipeline.tiles import TILE_UM, TilesConfig
from pipeline.training.datasets import CROP_MPP, STORED_SIDE, Crops, allowed_row
from pipeline.training.loop import Progress, quiet

EVALUATION_SEED = 900_000
ZONES: tuple[Zone, ...] = ("junction", "junction", "body", "tail")
FIELD_MPP = 180.0 / 1024
UNFIT_SIDE = 28
DRAWN_BY = "drawn_by"  # beside the kept arrays: the digest of the code that drew them
ASKED = "asked"  # and the amounts that were asked for
MIXES = (EVEN_MARROW, NORMAL_MARROW)
TRAINING_MIXES = (*MIXES, EVEN_MARROW, MYELOMA_MARROW)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tiles:
    """`images` (N, 224, 224, 3) uint8, `countable` (N,) bool, `slides` (N,) the seed each came from.

    `unfit` (N, 2, 28, 28) says where a tile may not be counted, 0 to 1: as thick smear, bare glass or a fault, and as
    tail. NaN where nobody knows.
    """

    images: NDArray[np.uint8]
    countable: NDArray[np.bool_]
    slides: NDArray[np.int64]
    unfit: NDArray[np.float32]

    def subset(self, keep: NDArray[np.bool_]) -> "Tiles":
        """Those where `keep` (N,) is true."""
        return Tiles(
            images=self.images[keep],
            countable=self.countable[keep],
            slides=self.slides[keep],
            unfit=self.unfit[keep],
        )

    def plus(self, more: "Tiles") -> "Tiles":
        """These, then those."""
        return Tiles(
            images=np.concatenate([self.images, more.images]),
            countable=np.concatenate([self.countable, more.countable]),
            slides=np.concatenate([self.slides, more.slides]),
            unfit=np.concatenate([self.unfit, more.unfit]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Thumbnails:
    """`images` (N, 256, 256, 3) uint8, zero padded; `masks` (N, 256, 256) bool; `inside` true where the slide is."""

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    inside: NDArray[np.bool_]

    def part(self, chosen: slice) -> "Thumbnails":
        """A run of them."""
        return Thumbnails(images=self.images[chosen], masks=self.masks[chosen], inside=self.inside[chosen])

    def subset(self, keep: NDArray[np.bool_]) -> "Thumbnails":
        """Those where `keep` (N,) is true."""
        return Thumbnails(images=self.images[keep], masks=self.masks[keep], inside=self.inside[keep])

    def plus(self, more: "Thumbnails") -> "Thumbnails":
        """These, then those."""
        return Thumbnails(
            images=np.concatenate([self.images, more.images]),
            masks=np.concatenate([self.masks, more.masks]),
            inside=np.concatenate([self.inside, more.inside]),
        )


def draw_cells(
    each: int, seed: int, centre: Centre = "a", *, side: int = STORED_SIDE, progress: Progress = quiet
) -> Crops:
    """`each` crops of every class, neighbours and zone varied."""
    images, names = [], []
    total = each * len(CELL_CLASSES)
    for number in range(total):
        name = CELL_CLASSES[number % len(CELL_CLASSES)]
        zone = ZONES[number // len(CELL_CLASSES) % len(ZONES)]
        mix = NORMAL_MARROW if number % 2 else EVEN_MARROW
        image, _ = render_cell(
            name, seed + number, mpp=CROP_MPP, size_px=side, centre=centre, zone=zone, composition=mix
        )
        images.append(image)
        names.append(name)
        progress((number + 1) / total, "cells")
    return Crops(
        images=np.stack(images),
        allowed=np.stack([allowed_row((name,)) for name in names]),
        names=tuple(f"{centre}{seed + i}" for i in range(total)),
        codes=tuple(names),
        sources=("phantom",) * total,
    )


def draw_tiles(specs: list[PhantomSpec], progress: Progress = quiet) -> Tiles:
    """Every grid tile of the slides, as TCNet sees it."""
    images, countable, slides, wrong = [], [], [], []
    for number, spec in enumerate(specs):
        slide = PhantomSlide(spec)
        for tile in slide.truth.tiles:
            image = slide.read(tile.box, TILE_UM / TilesConfig().side)
            images.append(image[: TilesConfig().side, : TilesConfig().side])
            countable.append(tile.countable)
            slides.append(spec.seed)
            here = unfit(slide.layout, tile.box, UNFIT_SIDE)
            wrong.append(np.stack([np.maximum(here.thick, here.spoilt), here.tail]))
        progress((number + 1) / len(specs), "tiles")
    return Tiles(images=np.stack(images), countable=np.array(countable), slides=np.array(slides), unfit=np.stack(wrong))


def nowhere_unfit(countable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(N, 2, 28, 28) for tiles whose label alone is known: of countable ones 0, of others unknown."""
    known = np.where(countable, np.float32(0), np.float32(np.nan))
    return np.broadcast_to(known[:, None, None, None], (len(countable), 2, UNFIT_SIDE, UNFIT_SIDE)).copy()


def draw_thumbnails(specs: list[PhantomSpec], progress: Progress = quiet) -> Thumbnails:
    """Thumbnails as TextureUNet sees them."""
    config = RegionsConfig()
    images, masks, inside = [], [], []
    for number, spec in enumerate(specs):
        image, mask = thumbnail(PhantomSlide(spec), config)
        images.append(pad(image, config.side))
        masks.append(pad(np.repeat(mask[..., None], 3, axis=2).astype(np.uint8), config.side)[..., 0] > 0)
        inside.append(pad(np.ones_like(image), config.side)[..., 0] > 0)
        progress((number + 1) / len(specs), "thumbnails")
    return Thumbnails(images=np.stack(images), masks=np.stack(masks), inside=np.stack(inside))


def thumbnail(slide: PhantomSlide, config: RegionsConfig) -> tuple[RgbImage, NDArray[np.bool_]]:
    """A slide's thumbnail and the mask of its junction, cut to one size."""
    mpp = max(config.mpp, max(slide.size) * slide.mpp / config.side)
    image = slide.read(Box(x0=0, y0=0, x1=slide.size[0], y1=slide.size[1]), mpp)
    mask = region_mask(slide.layout, mpp)
    height, width = min(image.shape[0], mask.shape[0]), min(image.shape[1], mask.shape[1])
    return image[:height, :width], mask[:height, :width]


def draw_fields(
    count: int,
    seed: int,
    centre: Centre = "a",
    progress: Progress = quiet,
    mixes: Sequence[Mapping[str, float]] = MIXES,
) -> list[FieldSample]:
    """Fields of SAM's width with instance masks, of each mix in turn; every third as crowded as the body."""
    fields = []
    for number in range(count):
        zone: Zone = "body" if number % 3 == 2 else "junction"
        mix = mixes[number % len(mixes)]
        fields.append(
            render_field(seed + number, mpp=FIELD_MPP, centre=centre, zone=zone, composition=mix, artefacts=0.0)
        )
        progress((number + 1) / count, "fields")
    return fields


def smears(count: int, seed: int, centre: Centre = "a") -> list[PhantomSpec]:
    """Slides of different sizes, shapes, density and resolution."""
    random = np.random.default_rng(seed)
    specs = []
    for number in range(count):
        width, height = (round(v) for v in random.uniform([1500, 1000], [3200, 1900]))  # µm
        mpp = float(random.choice([0.2, 0.25]))
        specs.append(
            PhantomSpec(
                seed=seed + number,
                size=(round(width / mpp), round(height / mpp)),
                mpp=mpp,
                centre=centre,
                density=float(random.uniform(0.6, 1.3)),
                artefacts=float(random.uniform(0.6, 1.8)),
            )
        )
    return specs


@cache
def smear_digest() -> str:
    """SHA-256 over the code that draws synthetic smears and puts faults on real fields."""
    files = sorted(path for path in Path(phantom.__path__[0]).iterdir() if path.suffix == ".py")
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def remember(
    path: Path, draw: Callable[[], dict[str, NDArray[Any]]], asked: Mapping[str, int]
) -> dict[str, NDArray[Any]]:
    """The arrays of `path`, drawn and written there first where the file is absent.

    Parameters
    ----------
    asked
        The amounts that `draw` draws.

    Raises
    ------
    TrainingError
        They were drawn by other code than this, or in other amounts.
    """
    amounts = ", ".join(f"{count} {what}" for what, count in asked.items())
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, allow_pickle=False, **draw(), **{DRAWN_BY: np.array(smear_digest()), ASKED: np.array(amounts)})
        part.replace(path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    remedy = "give a new folder, or remove this file and what was trained on it"
    if str(arrays.pop(DRAWN_BY, "")) != smear_digest():
        raise TrainingError(f"{path}: drawn by another version; {remedy}")
    if (held := str(arrays.pop(ASKED, ""))) != amounts:
        raise TrainingError(f"{path}: holds {held or 'unknown amounts'}, not {amounts}; {remedy}")
    return arrays
