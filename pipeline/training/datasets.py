"""Cell crops from a folder per class, at one scale, as arrays in memory or, where they are many, in a file.

A crop is stored 27 µm wide (200 px), wider than the 21.6 µm (160 px) the classifier sees, so that turning and shifting
do not run out of picture; smaller originals are continued by reflection.
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.domain import CELL_CLASSES, RgbImage
from pipeline.errors import TrainingError
from pipeline.image import read_image
from pipeline.training.labels import Split, classes_of, split_of

CROP_MPP = 21.6 / 160
CROP_SIDE = 160
STORED_SIDE = 200
IN_MEMORY = 2 * 1024**3  # bytes; crops beyond lie in a temporary file (in $TMPDIR)
SYNTHETIC = "phantom"
IMAGE_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFolder:
    """A folder with one sub-folder per class (our names or MLL codes); `mpp` of its images."""

    root: Path
    mpp: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crops:
    """Cells ready to train on.

    `images` (N, 200, 200, 3) uint8; `allowed` (N, 22) bool, the classes each may be; `names`, `codes` and `sources`
    of length N say the file, the folder and the data set of each.
    """

    images: NDArray[np.uint8]
    allowed: NDArray[np.bool_]
    names: tuple[str, ...]
    codes: tuple[str, ...]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def tensor(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """(B, 3, 200, 200) float32 in [0, 1]."""
        return torch.from_numpy(self.images[np.asarray(indices)]).permute(0, 3, 1, 2).float() / 255

    def subset(self, keep: NDArray[np.bool_]) -> "Crops":
        """Those where `keep` (N,) is true."""
        chosen = np.flatnonzero(keep)
        images = room(len(chosen), self.images.shape[1])
        for place, i in enumerate(chosen):
            images[place] = self.images[i]
        return Crops(
            images=images,
            allowed=self.allowed[chosen],
            names=tuple(self.names[i] for i in chosen),
            codes=tuple(self.codes[i] for i in chosen),
            sources=tuple(self.sources[i] for i in chosen),
        )

    def part(self, split: Split) -> "Crops":
        """The crops whose file name falls into the split."""
        return self.subset(np.array([split_of(name) == split for name in self.names], dtype=bool))


def room(count: int, side: int = STORED_SIDE) -> NDArray[np.uint8]:
    """Place for `count` crops, (count, side, side, 3): memory, or a temporary file that ends with the process.

    Raises
    ------
    TrainingError
        The disk has no room for the file.
    """
    shape = (count, side, side, 3)
    size = count * side * side * 3
    if size <= IN_MEMORY:
        return np.empty(shape, dtype=np.uint8)
    try:
        with tempfile.TemporaryFile() as file:  # the mapping keeps the file when its name and handle are gone
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error now, not a crash later
            return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)
    except OSError as exc:
        place = tempfile.gettempdir()
        raise TrainingError(f"{place}: no room for {size >> 20} MiB of crops; set TMPDIR to a larger disk") from exc


def standard_crop(image: RgbImage, mpp: float, side: int = STORED_SIDE) -> RgbImage:
    """The middle of an image at CROP_MPP, (side, side, 3); what lies beyond its edge is reflected."""
    factor = mpp / CROP_MPP
    height, width = (max(1, round(n * factor)) for n in image.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(image, (width, height), interpolation=method)
    pad_y, pad_x = max(0, side - height), max(0, side - width)
    edges = (pad_y // 2, pad_y - pad_y // 2, pad_x // 2, pad_x - pad_x // 2)
    scaled = cv2.copyMakeBorder(
        scaled, *edges, cv2.BORDER_REFLECT_101 if min(height, width) > 1 else cv2.BORDER_REPLICATE
    )
    top, left = (scaled.shape[0] - side) // 2, (scaled.shape[1] - side) // 2
    return np.ascontiguousarray(scaled[top : top + side, left : left + side])


def load_cells(folders: Sequence[CellFolder]) -> Crops:
    """Read every class folder.

    Raises
    ------
    TrainingError
        As `read_cells`, or fewer than two classes are found in all.

    """
    crops = join([read_cells(folder) for folder in folders])
    demand_two_classes(crops, ", ".join(str(folder.root) for folder in folders))
    return crops


def demand_two_classes(crops: Crops, where: str) -> None:
    """Raise TrainingError where cells of one class only are to be told apart."""
    if len({tuple(row) for row in crops.allowed.tolist()}) < 2:
        raise TrainingError(f"{where}: cells of one class only; give at least two classes")


def refuse_leaks(crops: Crops) -> None:
    """Raise TrainingError where one picture has two names that the split parts, or two classes."""
    first: dict[bytes, int] = {}
    for i, image in enumerate(crops.images):
        k = first.setdefault(hashlib.sha256(image).digest(), i)
        one, other = (f"{crops.sources[n]}/{crops.codes[n]}/{crops.names[n]}" for n in (k, i))
        if split_of(crops.names[k]) != split_of(crops.names[i]):
            raise TrainingError(f"{other}: the same picture as {one}, on the other side of the split; remove one")
        if (crops.allowed[k] != crops.allowed[i]).any():
            raise TrainingError(f"{other}: the same picture as {one}, in another class; remove the wrong one")


def join(parts: Sequence[Crops]) -> Crops:
    """All crops of the parts, in order."""
    if len(parts) == 1:
        return parts[0]
    images, start = room(sum(map(len, parts)), parts[0].images.shape[1]), 0
    for part in parts:
        images[start : start + len(part)] = part.images
        start += len(part)
    return Crops(
        images=images,
        allowed=np.concatenate([part.allowed for part in parts]),
        names=tuple(name for part in parts for name in part.names),
        codes=tuple(code for part in parts for code in part.codes),
        sources=tuple(source for part in parts for source in part.sources),
    )


def allowed_row(classes: Sequence[str]) -> NDArray[np.bool_]:
    """(22,) true at each class named."""
    return np.array([name in classes for name in CELL_CLASSES], dtype=bool)


def read_cells(folder: CellFolder, part: Split | None = None, most: int | None = None) -> Crops:
    """The crops of one folder, or of each class the first `most` of a part of the split; others are not read.

    Raises
    ------
    TrainingError
        The folder or one of its classes is absent or empty, or a class name is unknown.
    ImageError
        A file is no image.
    """
    if not folder.root.is_dir():
        raise TrainingError(f"{folder.root}: no such folder; give a folder with one sub-folder of images per class")
    found: list[tuple[Path, str, NDArray[np.bool_]]] = []
    for sub in sorted(path for path in folder.root.iterdir() if path.is_dir()):
        classes = classes_of(sub.name)
        if not classes:
            known = "one of our 22 class names or an MLL code such as BLA"
            raise TrainingError(f"{sub}: unknown class name '{sub.name}'; rename the folder to {known}")
        paths = sorted(path for path in sub.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)
        if not paths:
            endings = ", ".join(sorted(IMAGE_ENDINGS))
            raise TrainingError(f"{sub}: no images found; remove the folder or fill it ({endings})")
        chosen = [path for path in paths if part is None or split_of(path.name) == part][:most]
        found += [(path, sub.name, allowed_row(classes)) for path in chosen]
    if not found:
        raise TrainingError(f"{folder.root}: no images found; give one sub-folder of PNG or JPEG crops per class")
    images = room(len(found))
    for place, (path, _, _) in enumerate(found):
        images[place] = standard_crop(read_image(path), folder.mpp)
    return Crops(
        images=images,
        allowed=np.stack([row for _, _, row in found]),
        names=tuple(path.name for path, _, _ in found),
        codes=tuple(code for _, code, _ in found),
        sources=(folder.root.name,) * len(found),
    )
