"""What a site's annotation tools write: LabelMe JSON, COCO JSON, YOLO boxes, mask images → fields with outlined cells.

LabelMe: one `<stem>.json` beside each image, polygons with a class as label. COCO: one `annotations.json` in the
folder. YOLO: one `<stem>.txt` beside each image and `classes.txt` in the folder; a box becomes an ellipse. Masks:
`<stem>_mask.png`, 0 background, another value per cell.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.domain import Box, Polygon, RgbImage
from pipeline.errors import TrainingError
from pipeline.geometry import centroid, fill, outline
from pipeline.image import ImageSlide, read_image
from pipeline.training.datasets import (
    CROP_MPP,
    IMAGE_ENDINGS,
    STORED_SIDE,
    Crops,
    allowed_row,
    standard_crop,
)
from pipeline.training.labels import classes_of

UNNAMED = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnnotatedField:
    """One image with the outlines in its pixels; `names` holds the class of each, or "" where none was given."""

    path: Path
    polygons: tuple[Polygon, ...]
    names: tuple[str, ...]

    def image(self) -> RgbImage:
        return read_image(self.path)

    def labels(self, shape: tuple[int, int]) -> NDArray[np.int32]:
        """Instance labels, n + 1 for the n-th outline."""
        return fill(self.polygons, shape)


def load_fields(folder: Path) -> tuple[AnnotatedField, ...]:
    """Every annotated image of a folder, whichever of the formats it is in.

    Raises
    ------
    TrainingError
        The folder is absent, holds no annotation, or one of them is broken; the message names the file.
    """
    if not folder.is_dir():
        raise TrainingError(f"{folder}: no such folder")
    if (folder / "annotations.json").is_file():
        fields = _read_coco(folder / "annotations.json")
    else:
        images = sorted(
            p for p in folder.iterdir() if p.suffix.lower() in IMAGE_ENDINGS and not p.stem.endswith("_mask")
        )
        readers: list[tuple[str, Callable[[Path, Path], AnnotatedField]]] = [
            (".json", _read_labelme),
            (".txt", _read_yolo),
            ("_mask.png", _read_mask),
        ]
        found = [
            read(path, path.with_name(path.stem + ending))
            for path in images
            for ending, read in readers
            if path.with_name(path.stem + ending).is_file()
        ]
        fields = tuple(found)
    if not any(field.polygons for field in fields):
        raise TrainingError(
            f"{folder}: no annotation found; give LabelMe <stem>.json, COCO annotations.json, YOLO <stem>.txt with "
            "classes.txt, or <stem>_mask.png"
        )
    return fields


def crops_of(fields: tuple[AnnotatedField, ...], mpp: float, source: str) -> Crops:
    """The classed cells of fields at `mpp` µm/px as crops, each called `FIELD#NUMBER`, or `SLIDE#FIELD#NUMBER`.

    Raises
    ------
    TrainingError
        A label is no class of ours, or no outline has one.
    """
    images, allowed, names, codes = [], [], [], []
    for field in fields:
        slide = ImageSlide(field.image(), mpp)
        half = round(STORED_SIDE * CROP_MPP / mpp / 2)
        for number, (polygon, name) in enumerate(zip(field.polygons, field.names, strict=True)):
            classes = classes_of(name)
            if not classes:
                raise TrainingError(f"{field.path}: label '{name}' is none of the 22 class names and no MLL code")
            x, y = (round(v) for v in centroid(polygon))
            area = Box(x0=x - half, y0=y - half, x1=x + half, y1=y + half)
            images.append(standard_crop(slide.read(area, mpp), mpp))
            allowed.append(allowed_row(classes))
            names.append(f"{field.path.stem}#{number}")
            codes.append(name)
    if not images:
        raise TrainingError(f"{source}: no outlined cell has a class")
    return Crops(
        images=np.stack(images),
        allowed=np.stack(allowed),
        names=tuple(names),
        codes=tuple(codes),
        sources=(source,) * len(names),
    )


def _read_json(path: Path) -> Any:  # noqa: ANN401 - as parsed
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise TrainingError(f"{path}: not readable as JSON") from exc


def _read_labelme(image: Path, path: Path) -> AnnotatedField:
    try:
        shapes = [shape for shape in _read_json(path)["shapes"] if shape.get("shape_type", "polygon") == "polygon"]
        polygons = tuple(np.array(shape["points"], dtype=np.float64).reshape(-1, 2) for shape in shapes)
        return AnnotatedField(path=image, polygons=polygons, names=tuple(str(shape["label"]) for shape in shapes))
    except (KeyError, TypeError, ValueError) as exc:
        raise TrainingError(f"{path}: not a LabelMe file: {exc}") from exc


def _read_coco(path: Path) -> tuple[AnnotatedField, ...]:
    document = _read_json(path)
    try:
        names = {item["id"]: str(item["name"]) for item in document["categories"]}
        fields = []
        for entry in document["images"]:
            own = [a for a in document["annotations"] if a["image_id"] == entry["id"] and not a.get("iscrowd")]
            polygons = tuple(np.array(a["segmentation"][0], dtype=np.float64).reshape(-1, 2) for a in own)
            classes = tuple(names[a["category_id"]] for a in own)
            fields.append(AnnotatedField(path=path.parent / entry["file_name"], polygons=polygons, names=classes))
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        raise TrainingError(f"{path}: not a COCO file with polygons: {exc}") from exc
    return tuple(fields)


def _read_yolo(image: Path, path: Path) -> AnnotatedField:
    listing = path.parent / "classes.txt"
    if not listing.is_file():
        raise TrainingError(f"{listing}: missing; YOLO boxes need the class names, one a line")
    names = listing.read_text(encoding="utf-8").splitlines()
    height, width = read_image(image).shape[:2]
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1) / 2
    polygons, classes = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            kind, x, y, w, h = line.split()[:5]
            polygons.append((np.array([float(x), float(y)]) + circle * [float(w), float(h)]) * [width, height])
            classes.append(names[int(kind)])
        except (ValueError, IndexError) as exc:
            raise TrainingError(f"{path} line {number}: not a YOLO box of a class in {listing.name}") from exc
    return AnnotatedField(path=image, polygons=tuple(polygons), names=tuple(classes))


def _read_mask(image: Path, path: Path) -> AnnotatedField:
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    shape = read_image(image).shape[:2]
    if mask is None or mask.ndim != 2:
        raise TrainingError(f"{path}: not a one-channel mask image")
    if mask.shape != shape:
        raise TrainingError(f"{path}: mask of {mask.shape}, image of {shape}; give masks of equal size")
    outlines = (outline(mask == value) for value in np.unique(mask[mask > 0]))
    polygons = tuple(polygon for polygon in outlines if polygon is not None)
    return AnnotatedField(path=image, polygons=polygons, names=(UNNAMED,) * len(polygons))
