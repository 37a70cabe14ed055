"""Training examples cut from synthetic smears: single cells, fields with instance masks, thumbnails and tiles."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.domain import CELL_CLASSES, Box, Cell, RgbImage
from pipeline.phantom.chance import generator
from pipeline.phantom.figure import polygon
from pipeline.phantom.layout import Layout, cells_in
from pipeline.phantom.scene import render
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.smear import Zone
from pipeline.phantom.spec import NORMAL_MARROW, TILE_UM, Centre, PhantomSpec
from pipeline.phantom.stain import optics
from pipeline.phantom.truth import grid, label_image, region_mask, tile_is_countable, to_cell

_STAGE_UM = (5000.0, 4000.0)  # the virtual slide single examples are cut from
THUMBNAIL_MPP = 10.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldSample:
    """A field with its truth.

    `labels` is (H, W) uint16: 0 background, n + 1 the n-th of `cells`; polygons are in field pixels. A cell that the
    border cuts is kept when its centre is inside.
    """

    image: RgbImage
    labels: NDArray[np.uint16]
    cells: tuple[Cell, ...]


def _stage_size(mpp: float) -> tuple[int, int]:
    return round(_STAGE_UM[0] / mpp), round(_STAGE_UM[1] / mpp)


def _parcel_middle(layout: Layout, zone: Zone, rng: np.random.Generator) -> tuple[float, float]:
    """The centre of a parcel somewhere along the middle of a zone, µm."""
    x, y = layout.smear.point(layout.smear.middle[zone], rng.uniform(0.25, 0.75))
    return (np.floor(x / TILE_UM) + 0.5) * TILE_UM, (np.floor(y / TILE_UM) + 0.5) * TILE_UM


def render_cell(
    class_name: str,
    seed: int,
    *,
    mpp: float = 0.1,
    size_px: int = 224,
    centre: Centre = "a",
    zone: Zone = "junction",
    composition: Mapping[str, float] = NORMAL_MARROW,
) -> tuple[RgbImage, NDArray[np.bool_]]:
    """One cell of a class in the middle of a crop, among its neighbours and red cells.

    Parameters
    ----------
    class_name : str
        One of CELL_CLASSES.
    seed : int
        Another seed gives another slide, stain and cell.
    mpp : float
        Resolution, µm/px.
    size_px : int
        Side of the crop.
    centre : {"a", "b"}
        Stain and scanner.
    zone : {"body", "junction", "tail"}
        Where on the smear the cell lies.
    composition : Mapping[str, float]
        Of the neighbours.

    Returns
    -------
    image : (size_px, size_px, 3) uint8
    mask : (size_px, size_px) bool
        The whole cell.

    Raises
    ------
    ValueError
        The class is unknown.

    """
    if class_name not in CELL_CLASSES:
        raise ValueError(f"unknown cell class: {class_name}")
    rng = generator(seed, 201, CELL_CLASSES.index(class_name))
    spec = PhantomSpec(
        seed=int(rng.integers(1 << 62)),
        size=_stage_size(mpp),
        mpp=mpp,
        centre=centre,
        composition=composition,
        density=rng.uniform(0.7, 2.0),
        artefacts=0.0,
    )
    x, y = _parcel_middle(Layout(spec), zone, rng)
    layout = Layout(spec, wish=(class_name, x, y))
    wanted = [cell for cell in layout.parcels(x - 1, y - 1, x + 1, y + 1)[0].cells if cell.class_name == class_name]
    cell = min(wanted, key=lambda cell: (cell.x - x) ** 2 + (cell.y - y) ** 2)
    jitter = rng.uniform(-0.6, 0.6, 2)
    left = (round((cell.x + jitter[0]) / mpp) - size_px // 2) * mpp
    top = (round((cell.y + jitter[1]) / mpp) - size_px // 2) * mpp
    image = render(layout, optics(spec), (left, top), size_px, mpp, native=True)
    mask = np.zeros((size_px, size_px), dtype=np.uint8)
    points = (polygon(cell) - (left, top)) / mpp - 0.5
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    return image, mask.astype(bool)


def render_field(
    seed: int,
    *,
    mpp: float = 0.156,
    size_px: int = 1024,
    centre: Centre = "a",
    zone: Zone = "junction",
    composition: Mapping[str, float] = NORMAL_MARROW,
    artefacts: float = 0.0,
) -> FieldSample:
    """A square field of one zone with an instance mask for each nucleated cell."""
    spec = PhantomSpec(
        seed=seed, size=_stage_size(mpp), mpp=mpp, centre=centre, composition=composition, artefacts=artefacts
    )
    layout = Layout(spec)
    x, y = _parcel_middle(layout, zone, generator(seed, 202))
    left, top = (round(middle / mpp) - size_px // 2 for middle in (x, y))
    box = Box(x0=left, y0=top, x1=left + size_px, y1=top + size_px)
    image = render(layout, optics(spec), (left * mpp, top * mpp), size_px, mpp, native=True)
    placed = cells_in(layout, box)
    cells = tuple(to_cell(layout, cell, number, origin=(left, top)) for number, cell in enumerate(placed))
    return FieldSample(image=image, labels=label_image(cells, Box(x0=0, y0=0, x1=size_px, y1=size_px)), cells=cells)


def roi_sample(spec: PhantomSpec, mpp: float = THUMBNAIL_MPP) -> tuple[RgbImage, NDArray[np.bool_]]:
    """The slide's thumbnail and the mask of its body-tail junction, of equal size."""
    slide = PhantomSlide(spec)
    image = slide.read(Box(x0=0, y0=0, x1=spec.size[0], y1=spec.size[1]), mpp)
    return image, region_mask(slide.layout, mpp)


def tile_images(spec: PhantomSpec, *, side_px: int = 224, limit: int | None = None) -> Iterator[tuple[RgbImage, bool]]:
    """Grid tiles of a slide with their labels, (side_px, side_px, 3), in an order mixed by the seed.

    Countable and other tiles alternate until one kind runs out; `limit` stops earlier.
    """
    slide = PhantomSlide(spec)
    boxes = grid(slide.layout)
    generator(spec.seed, 203).shuffle(boxes)
    labelled = [(box, tile_is_countable(slide.layout, box)) for box in boxes]
    countable = [box for box, label in labelled if label]
    others = [box for box, label in labelled if not label]
    order = [pair for pairs in zip(countable, others, strict=False) for pair in pairs]
    for number, box in enumerate(order):
        if limit is not None and number >= limit:
            return
        image = slide.read(box, spec.tile_px * spec.mpp / side_px)
        yield image, number % 2 == 0
