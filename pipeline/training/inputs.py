"""What a site has → what a stage trains on, all of it read and checked before the first step.

Thumbnails and tiles validate by the hash of their names, a third of them; cells as `labels.split_of` says. What stands
before a `#` in a file's name is the slide, which no split parts.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.domain import Box, RgbImage
from pipeline.errors import TrainingError
from pipeline.image import ImageSlide, read_image
from pipeline.models.sam import SAM_SIDE
from pipeline.regions import RegionsConfig, pad
from pipeline.tiles import TilesConfig
from pipeline.training import synthetic
from pipeline.training.annotations import UNNAMED, AnnotatedField, crops_of, load_fields
from pipeline.training.datasets import (
    IMAGE_ENDINGS,
    CellFolder,
    Crops,
    demand_two_classes,
    join,
    read_cells,
    refuse_leaks,
)
from pipeline.training.labels import split_of
from pipeline.training.loop import Progress

SEED = 500_000
REGION_LABELS = ("region", "roi", "junction", UNNAMED)
COARSEST = 200.0  # µm per pixel of a thumbnail
SQUARE = 0.02  # a tile's sides may differ by this share


def folder_and_mpp(text: str, coarsest: float = 5.0) -> tuple[Path, float]:
    """`FOLDER:MPP` as given on the command line.

    Raises
    ------
    TrainingError
        There is no number after the last colon, or it is no resolution of a microscope.
    """
    folder, _, mpp = text.rpartition(":")
    try:
        value = float(mpp)
    except ValueError:
        value = 0.0
    if not folder or not 0.01 < value < coarsest:
        raise TrainingError(f"{text}: give FOLDER:MPP, such as cells:0.1 for 0.1 µm per pixel")
    return Path(folder), value


def cell_sources(folders: Sequence[str]) -> Crops:
    """Every `FOLDER:MPP` of cells: a sub-folder per class, or annotated fields.

    Raises
    ------
    TrainingError
        A folder or label cannot be used, or a split would part equal pictures.
    """
    parts: list[Crops] = []
    for text in folders:
        folder, mpp = folder_and_mpp(text)
        if folder.is_dir() and any(path.is_dir() for path in folder.iterdir()):
            parts.append(read_cells(CellFolder(root=folder, mpp=mpp)))
        else:
            parts.append(crops_of(load_fields(folder), mpp, folder.name))
    if not parts:
        raise TrainingError("no cells to train on; give --cells or --synthetic")
    cells = join(parts)
    refuse_leaks(cells)
    return cells


def training_cells(folders: Sequence[str], each: int, say: Progress, *, classed: bool = True) -> tuple[Crops, Crops]:
    """Training and validation cells, `each` synthetic ones of every class among them; the test split is left out.

    Raises
    ------
    TrainingError
        As `cell_sources`; or, where they are to be `classed`, cells of one class only, or too few to split.
    """
    parts = [cell_sources(folders)] if folders or not each else []
    if classed and parts and not each:
        demand_two_classes(parts[0], ", ".join(folders))
    if each:
        parts.append(synthetic.draw_cells(each, SEED, progress=say))
    cells = join(parts)
    train, validation = cells.part("train"), cells.part("validation")
    if not len(train) or not len(validation):
        raise TrainingError(f"{len(cells)} cells are too few to split into training and validation; give more")
    return train, validation


def site_thumbnails(folders: Sequence[str]) -> tuple[synthetic.Thumbnails, synthetic.Thumbnails]:
    """Slides' thumbnails with their outlined regions (`FOLDER:MPP`) to train on, and those that validate.

    Raises
    ------
    TrainingError
        A label is no region's, or no thumbnail is left to train on.
    """
    names, views = [], []
    for text in folders:
        folder, mpp = folder_and_mpp(text, COARSEST)
        for field in load_fields(folder):
            if unknown := set(field.names) - set(REGION_LABELS):
                raise TrainingError(
                    f"{field.path}: label '{min(unknown)}' is no region; call it region, roi or junction"
                )
            names.append(field.path.stem)
            views.append(_thumbnail(field, mpp))
    images, masks, inside = (np.stack([view[i] for view in views]) for i in range(3))
    drawn = synthetic.Thumbnails(images=images, masks=masks > 0, inside=inside > 0)
    train = _learnt_from(names, "thumbnails")
    return drawn.subset(train), drawn.subset(~train)


def site_tiles(folder: Path) -> tuple[synthetic.Tiles, synthetic.Tiles]:
    """Tile images of 160 µm in sub-folders `countable` and `other` to train on, and those that validate.

    Raises
    ------
    TrainingError
        A sub-folder is absent or empty, an image is no square, or none is left to train on.
    """
    side = TilesConfig().side
    names: list[str] = []
    images: list[RgbImage] = []
    labels: list[bool] = []
    for name in ("countable", "other"):
        paths = sorted(p for p in (folder / name).glob("*") if p.suffix.lower() in IMAGE_ENDINGS)
        if not paths:
            raise TrainingError(f"{folder / name}: no images; give tiles of 160 µm in folders countable and other")
        for path in paths:
            image = read_image(path)
            height, width = image.shape[:2]
            if abs(height - width) > SQUARE * width:
                raise TrainingError(f"{path}: {width} x {height} px; a tile is a square of 160 µm: cut it to one")
            images.append(np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)))
        names += [path.stem for path in paths]
        labels += [name == "countable"] * len(paths)
    countable = np.array(labels)
    tiles = synthetic.Tiles(
        images=np.stack(images),
        countable=countable,
        slides=np.zeros(len(labels), np.int64),
        unfit=synthetic.nowhere_unfit(countable),
    )
    train = _learnt_from(names, "tiles")
    if len(set(tiles.countable[train].tolist())) < 2:
        raise TrainingError(f"{folder}: the tiles to train on, about two thirds, are of one kind; give more of both")
    return tiles.subset(train), tiles.subset(~train)


def sam_fields(folders: Sequence[str], target: float) -> list[tuple[RgbImage, NDArray[np.int32]]]:
    """Annotated fields (`FOLDER:MPP`) as squares of SAM's side at `target` µm/px, with their labels."""
    squares = []
    for text in folders:
        folder, mpp = folder_and_mpp(text)
        for field in load_fields(folder):
            squares += _squares(field, mpp / target)
    return squares


def _learnt_from(names: Sequence[str], what: str) -> NDArray[np.bool_]:
    """(N,) true for those to train on; the others validate."""
    train = np.array([split_of(name) == "train" for name in names], dtype=bool)
    if not train.any():
        raise TrainingError(f"{len(names)} {what} are too few to split into training and validation; give more")
    return train


def _thumbnail(field: AnnotatedField, mpp: float) -> tuple[RgbImage, RgbImage, RgbImage]:
    """Image, region and slide area as `RegionFinder` sees them, each (256, 256, ...) uint8."""
    config, image = RegionsConfig(), field.image()
    own = (field.labels((image.shape[0], image.shape[1])) > 0).astype(np.uint8) * 255
    coarse = max(config.mpp, max(own.shape) * mpp / config.side)
    whole = Box(x0=0, y0=0, x1=own.shape[1], y1=own.shape[0])
    views = [ImageSlide(part, mpp).read(whole, coarse) for part in (image, np.repeat(own[..., None], 3, axis=2))]
    thumbnail, mask, inside = (pad(part, config.side) for part in (*views, np.ones_like(views[0])))
    return thumbnail, (mask[..., 0] > 127).astype(np.uint8), inside[..., 0]


def _squares(field: AnnotatedField, factor: float) -> list[tuple[RgbImage, NDArray[np.int32]]]:
    """The field enlarged by `factor`, cut into squares, padded at the right and below; empty ones are left out."""
    image = field.image()
    labels = field.labels((image.shape[0], image.shape[1]))
    width, height = (max(1, round(side * factor)) for side in image.shape[1::-1])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(image, (width, height), interpolation=method)
    marks = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    found = []
    for y in range(0, height, SAM_SIDE):
        for x in range(0, width, SAM_SIDE):
            part = marks[y : y + SAM_SIDE, x : x + SAM_SIDE]
            if part.any():
                square = np.zeros((SAM_SIDE, SAM_SIDE, 3), np.uint8)
                own = np.zeros((SAM_SIDE, SAM_SIDE), np.int32)
                square[: part.shape[0], : part.shape[1]] = scaled[y : y + SAM_SIDE, x : x + SAM_SIDE]
                own[: part.shape[0], : part.shape[1]] = part
                found.append((square, own))
    return found
