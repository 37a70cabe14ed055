"""What is measured on: real images beside the project and synthetic smears of seeds no training drew."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from pipeline.bundle import Bundle
from pipeline.domain import Box, RgbImage
from pipeline.errors import ImageError
from pipeline.image import read_image
from pipeline.metrics import Floats
from pipeline.phantom.spec import Centre
from pipeline.training.datasets import (
    CROP_SIDE,
    IMAGE_ENDINGS,
    CellFolder,
    Crops,
    allowed_row,
    load_cells,
    standard_crop,
)
from pipeline.training.labels import classes_of, split_of
from pipeline.training.recipe import MLL_MPP, PBC_MPP
from pipeline.training.synthetic import EVALUATION_SEED, draw_cells

Figures = dict[str, Any]
Say = Callable[[float], None]  # how much of a part is done, 0..1
SEGPC_MPP = 0.19
ZHENG_MPP = 0.1
SOURCES = {"mll": MLL_MPP, "pbc": PBC_MPP}
CENTRES: tuple[Centre, ...] = ("a", "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How much is measured: fields and images of real sets (None: all), cells of a class, fields and slides drawn."""

    real_cells: int | None = None
    real_fields: int | None = None
    real_images: int | None = 60
    everything_fields: int = 8
    each: int = 40
    fields: int = 8
    thumbnails: int = 8
    tile_slides: int = 6
    count_slides: int = 3
    shifted_cells: int = 150
    explained_cells: int = 110
    quality_slides: int = 2
    quality_fields: int | None = 60


FAST = Amounts(
    real_cells=200,
    real_fields=10,
    real_images=8,
    everything_fields=1,
    each=2,
    fields=1,
    thumbnails=2,
    tile_slides=1,
    count_slides=1,
    shifted_cells=40,
    explained_cells=22,
    quality_slides=1,
    quality_fields=4,
)


@lru_cache(maxsize=4)
def held_out(folder: Path) -> Crops:
    """The test quarter, by file name, of a folder-per-class set that `SOURCES` names."""
    return load_cells([CellFolder(root=folder, mpp=SOURCES[folder.name])]).part("test")


def held_out_few(folder: Path, most: int) -> Crops:
    """The first files of the test quarter, classes in turn, read without the rest."""
    paths = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in IMAGE_ENDINGS)
    places: dict[str, int] = {}
    turns = []
    for path in (path for path in paths if split_of(path.name) == "test"):
        places[path.parent.name] = places.get(path.parent.name, 0) + 1
        turns.append((places[path.parent.name], path))
    chosen = [path for _, path in sorted(turns)[:most]]
    if not chosen:
        raise ImageError(f"{folder}: no images; give a folder with one sub-folder of cells per class")
    codes = tuple(path.parent.name for path in chosen)
    return Crops(
        images=np.stack([standard_crop(read_image(path), SOURCES[folder.name]) for path in chosen]),
        allowed=np.stack([allowed_row(classes_of(code)) for code in codes]),
        names=tuple(path.name for path in chosen),
        codes=codes,
        sources=(folder.name,) * len(chosen),
    )


def some(crops: Crops, most: int | None, seed: int = 1) -> Crops:
    """At most so many of them, drawn evenly."""
    if most is None or len(crops) <= most:
        return crops
    return crops.subset(np.random.default_rng(seed).permutation(len(crops)) < most)


@lru_cache(maxsize=4)
def synthetic_cells(each: int, centre: Centre) -> Crops:
    """Cells of every class on smears no training drew, as wide as training keeps them."""
    return draw_cells(each, seed_of(0, centre), centre)


def seed_of(part: int, centre: Centre) -> int:
    """The first seed of one part of the evaluation."""
    return EVALUATION_SEED + part + (10_000 if centre == "b" else 0)


def middles(crops: Crops) -> list[RgbImage]:
    """What the classifier sees of each crop, before it is brought to the model's size."""
    return [middle(image) for image in crops.images]


def middle(image: RgbImage, side: int = CROP_SIDE) -> RgbImage:
    """The (side, side, 3) in the middle of an image."""
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def predict(bundle: Bundle, images: Sequence[RgbImage], say: Say = lambda _done: None) -> Floats:
    """(N, 22) probabilities of crops of the classifier's field."""
    size, rows = bundle.classes.config.batch, []
    for start in range(0, len(images), size):
        rows.append(bundle.classes.probabilities([bundle.classes.fit(v) for v in images[start : start + size]]))
        say(min(1.0, (start + size) / len(images)))
    return np.concatenate(rows)


def image_paths(folder: Path, most: int | None, pattern: str = "*") -> list[Path]:
    """The first images of a folder by name.

    Raises
    ------
    ImageError
        There is none.
    """
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise ImageError(f"{folder}: no images; give the folder that holds them")
    return paths[:most]


def read_mask(path: Path) -> NDArray[np.bool_]:
    """(H, W) true where a mask image is not black.

    Raises
    ------
    ImageError
        It cannot be read.
    """
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise ImageError(f"{path}: the mask of this field is missing or unreadable")
    return np.asarray(mask > 0)


def isolated(
    mask: NDArray[np.bool_], least_solidity: float = 0.9, least_area: int = 300
) -> list[tuple[Box, NDArray[np.bool_]]]:
    """Box and mask (H, W) of each component that is one whole cell, not touching the left or right side."""
    found = []
    labels = label(mask)
    for region in regionprops(labels):
        y0, x0, y1, x1 = region.bbox
        whole = x0 > 1 and x1 < mask.shape[1] - 1
        if whole and region.area >= least_area and region.solidity >= least_solidity:
            found.append((Box(x0=x0, y0=y0, x1=x1, y1=y1), labels == region.label))
    return found


def plasma_crops(
    folder: Path, most: int | None, off_um: tuple[float, float] = (0.0, 0.0), field_um: float = 21.6
) -> list[tuple[RgbImage, NDArray[np.bool_]]]:
    """Fields of `field_um` around isolated plasma cells of segpc, with the mask of the cell, at the fields' scale.

    `off_um` moves the field right and down, so that the cell lies left and up of its middle.
    """
    half = round(field_um / 2 / SEGPC_MPP)
    right, down = (round(v / SEGPC_MPP) for v in off_um)
    found: list[tuple[RgbImage, NDArray[np.bool_]]] = []
    for path in image_paths(folder / "images", None):
        image = read_image(path)
        for _, own in isolated(read_mask(folder / "masks" / f"{path.stem}.png")):
            y, x = (round(float(v.mean())) for v in np.nonzero(own))
            top, left = y + down - half, x + right - half
            if min(top, left) >= 0 and top + 2 * half <= own.shape[0] and left + 2 * half <= own.shape[1]:
                window = slice(top, top + 2 * half), slice(left, left + 2 * half)
                found.append((image[window], own[window]))
            if len(found) == most:
                return found
    return found


def field_as_tile(image: RgbImage, mpp: float) -> RgbImage:
    """A field smaller than a tile at the tile's resolution, continued by reflection; bars of one colour are cut off."""
    rows = np.flatnonzero(image.astype(np.int16).std(axis=(1, 2)) > 12)
    cut = image[rows[0] : rows[-1] + 1] if len(rows) > 50 else image
    factor = mpp / (160.0 / 224)
    small = cv2.resize(cut, (round(cut.shape[1] * factor), round(cut.shape[0] * factor)), interpolation=cv2.INTER_AREA)
    return np.pad(
        small, [(0, max(0, 224 - small.shape[0])), (0, max(0, 224 - small.shape[1])), (0, 0)], mode="symmetric"
    )[:224, :224]
