"""What a site's annotation tools write: LabelMe JSON, COCO JSON, YOLO boxes, mask images → fields with outlined cells.

LabelMe: one `<stem>.json` beside each image, polygons with a class as label. COCO: one `annotations.json` in the
folder. YOLO: one `<stem>.txt` beside each image and `classes.txt` in the folder; a box becomes an ellipse. Masks:
`<stem>_mask.png`, 0 background, another value per cell.
"""

import json
from collections.abc import Callable, Sequence
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
SLACK = 0.01  # a YOLO box may reach this share of the image beyond its edge: tools round


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
        images = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_ENDINGS and not _is_mask(p)]
        _refuse_strays(folder, {path.stem for path in images})
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
                known = "one of the 22 class names or an MLL code such as BLA"
                raise TrainingError(f"{field.path}: unknown class name '{name}'; label the cell with {known}")
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


def _is_mask(path: Path) -> bool:
    return path.stem.endswith("_mask")


def _refuse_strays(folder: Path, stems: set[str]) -> None:
    """Raise TrainingError for an annotation whose image is absent: its cells would be missing without a word."""
    for path in sorted((*folder.glob("*.json"), *folder.glob("*_mask.png"))):
        if path.stem.removesuffix("_mask") not in stems:
            endings = ", ".join(sorted(IMAGE_ENDINGS))
            raise TrainingError(f"{path}: no image beside it; give one of that name ({endings})")


def _field(annotation: Path, image: Path, outlines: Sequence[tuple[str, Polygon]], stated: object) -> AnnotatedField:
    """A field whose outlines are such and lie on its image, which is of the `stated` (width, height) where given."""
    if not image.is_file():
        raise TrainingError(f"{annotation}: its image {image} does not exist; put it there")
    height, width = read_image(image).shape[:2]
    if isinstance(stated, tuple) and None not in stated and stated != (width, height):
        raise TrainingError(
            f"{annotation}: drawn on {stated[0]} x {stated[1]} px, but {image.name} has {width} x {height} px; "
            "give the image that was annotated"
        )
    for number, (name, polygon) in enumerate(outlines, start=1):
        if len(polygon) < 3:
            raise TrainingError(f"{annotation}: outline {number} ({name}) has {len(polygon)} points; draw polygons")
        x, y = centroid(polygon)
        if not (0 <= x <= width and 0 <= y <= height):
            raise TrainingError(f"{annotation}: outline {number} ({name}) lies outside of {image.name}; annotate anew")
    names, polygons = tuple(name for name, _ in outlines), tuple(polygon for _, polygon in outlines)
    return AnnotatedField(path=image, polygons=polygons, names=names)


def _points(values: Any) -> Polygon:  # noqa: ANN401 - as parsed
    return np.array(values, dtype=np.float64).reshape(-1, 2)


def _read_json(path: Path) -> Any:  # noqa: ANN401 - as parsed
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise TrainingError(f"{path}: not readable as JSON; export it again") from exc


def _read_labelme(image: Path, path: Path) -> AnnotatedField:
    document = _read_json(path)
    try:
        shapes = document["shapes"]
        if others := {shape.get("shape_type", "polygon") for shape in shapes} - {"polygon"}:
            raise TrainingError(f"{path}: holds a {min(others)}; draw polygons")
        outlines = [(str(shape["label"]), _points(shape["points"])) for shape in shapes]
        stated = document.get("imageWidth"), document.get("imageHeight")
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise TrainingError(f"{path}: not a LabelMe file: {exc}; export it again") from exc
    return _field(path, image, outlines, stated)


def _read_coco(path: Path) -> tuple[AnnotatedField, ...]:
    document = _read_json(path)
    try:
        names = {item["id"]: str(item["name"]) for item in document["categories"]}
        fields = []
        for entry in document["images"]:
            own = [a for a in document["annotations"] if a["image_id"] == entry["id"] and not a.get("iscrowd")]
            outlines = [(names[a["category_id"]], _points(a["segmentation"][0])) for a in own]
            stated = entry.get("width"), entry.get("height")
            fields.append(_field(path, path.parent / entry["file_name"], outlines, stated))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as exc:
        raise TrainingError(f"{path}: not a COCO file with polygons: {exc}; export it again with polygons") from exc
    return tuple(fields)


def _read_yolo(image: Path, path: Path) -> AnnotatedField:
    listing = path.parent / "classes.txt"
    if not listing.is_file():
        raise TrainingError(f"{listing}: missing; YOLO boxes need the class names, one a line")
    names = listing.read_text(encoding="utf-8").splitlines()
    height, width = read_image(image).shape[:2]
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1) / 2
    outlines = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            kind, x, y, w, h = line.split()[:5]
            name, middle, size = names[int(kind)], np.array([float(x), float(y)]), np.array([float(w), float(h)])
        except (ValueError, IndexError) as exc:
            raise TrainingError(f"{path} line {number}: not a YOLO box of a class in {listing.name}") from exc
        if (size <= 0).any() or (middle - size / 2 < -SLACK).any() or (middle + size / 2 > 1 + SLACK).any():
            raise TrainingError(
                f"{path} line {number}: the box leaves the image; give its middle and size as shares, 0 to 1, of "
                "the image's width and height"
            )
        outlines.append((name, (middle + circle * size) * [width, height]))
    return _field(path, image, outlines, None)


def _read_mask(image: Path, path: Path) -> AnnotatedField:
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    shape = read_image(image).shape[:2]
    if mask is None or mask.ndim != 2:
        raise TrainingError(f"{path}: not a readable one-channel image; save the mask as 8- or 16-bit grey PNG")
    if mask.shape != shape:
        raise TrainingError(f"{path}: mask of {mask.shape}, image of {shape}; give masks of equal size")
    outlines = (outline(mask == value) for value in np.unique(mask[mask > 0]))
    polygons = tuple(polygon for polygon in outlines if polygon is not None)
    return AnnotatedField(path=image, polygons=polygons, names=(UNNAMED,) * len(polygons))
