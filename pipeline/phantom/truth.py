"""What is known of a synthetic smear: its countable region, tiles, cells and exact count."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.domain import CELL_CLASSES, Box, Cell, Polygon, Region, Tile
from pipeline.phantom.figure import polygon
from pipeline.phantom.layout import Layout, PlacedCell, cells_in
from pipeline.phantom.spec import TILE_UM

_MASK_STEP_UM = 5.0
_BAND = 128  # rows of a mask at a time
_ROI_MPP = 10.0
_SAMPLES = 16  # points a side that decide a tile's label
_MAX_THICK = 0.05  # body, rim or bare glass
_MAX_TAIL = 0.30
_MAX_SPOILED = 0.08
_SPOILT = 0.3  # the strength of a fault from which it shows
NOTE = "Synthetic smear, not for diagnostic use"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlideTruth:
    """The exact answer for one slide.

    Attributes
    ----------
    regions : tuple[Region, ...]
        The body-tail junction, level-0 pixels.
    tiles : tuple[Tile, ...]
        Every whole grid tile of the slide, row by row from (0, 0), with its label.
    cells : tuple[Cell, ...]
        Nucleated cells whose centre is in a countable tile.
    counts : tuple[tuple[str, int], ...]
        How many of each of CELL_CLASSES those are, in that order.

    """

    size: tuple[int, int]
    mpp: float
    seed: int
    centre: str
    fault: str
    regions: tuple[Region, ...]
    tiles: tuple[Tile, ...]
    cells: tuple[Cell, ...]
    counts: tuple[tuple[str, int], ...]


def region_mask(layout: Layout, mpp: float) -> NDArray[np.bool_]:
    """True inside the body-tail junction, on a grid of `mpp` µm over the slide, pixel centres sampled."""
    width, height = (max(1, round(side * layout.spec.mpp / mpp)) for side in layout.spec.size)
    mask = np.zeros((height, width), dtype=bool)
    if layout.spec.fault == "none":
        places = [(np.arange(side) + 0.5) * mpp for side in (width, height)]
        for top in range(0, height, _BAND):  # the whole at once takes half a GiB on a slide of 10 mm
            band = slice(top, top + _BAND)
            mask[band] = layout.smear.countable(*np.meshgrid(places[0], places[1][band]))
    return mask


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unfit:
    """Where a tile may not be counted and why, each (S, S) in 0..1 on an even grid of points.

    `thick` is the weight of body, rim and bare glass, `tail` that of the tail, `spoilt` 1 in a fault area.
    """

    thick: NDArray[np.float32]
    tail: NDArray[np.float32]
    spoilt: NDArray[np.float32]


def unfit(layout: Layout, box: Box, samples: int = _SAMPLES) -> Unfit:
    """What is wrong in a box, at the middles of `samples` by `samples` parts of it."""
    x0, y0, x1, y1 = (edge * layout.mpp for edge in (box.x0, box.y0, box.x1, box.y1))
    steps = (np.arange(samples) + 0.5) / samples
    x, y = np.meshgrid(x0 + steps * (x1 - x0), y0 + steps * (y1 - y0))
    zones = layout.smear.zones(x, y)
    strength = np.full_like(x, layout.spec.fault != "none")
    for spoil in layout.smear.spoils(x0, y0, x1, y1):
        np.maximum(strength, spoil.strength(x, y), out=strength)
    return Unfit(
        thick=(1.0 - zones.junction - zones.tail).astype(np.float32),
        tail=zones.tail.astype(np.float32),
        spoilt=(strength > _SPOILT).astype(np.float32),
    )


def tile_is_countable(layout: Layout, box: Box) -> bool:
    """True for a tile in the junction that no fault area spoils; a strip of tail hardly shows, one of body does."""
    wrong = unfit(layout, box)
    return bool(
        wrong.tail.mean() <= _MAX_TAIL and wrong.thick.mean() <= _MAX_THICK and wrong.spoilt.mean() <= _MAX_SPOILED
    )


def grid(layout: Layout) -> list[Box]:
    """The whole grid tiles of the slide."""
    side = layout.spec.tile_px
    width, height = layout.spec.size
    return [
        Box(x0=x, y0=y, x1=x + side, y1=y + side)
        for y in range(0, height - side + 1, side)
        for x in range(0, width - side + 1, side)
    ]


def survey(layout: Layout) -> SlideTruth:
    """Walk the slide's grid and write everything down."""
    spec = layout.spec
    tiles = tuple(Tile(box=box, probability=1.0, countable=tile_is_countable(layout, box)) for box in grid(layout))
    cells: list[Cell] = []
    for tile in tiles:
        if tile.countable:
            first = len(cells)
            cells.extend(to_cell(layout, cell, first + n) for n, cell in enumerate(cells_in(layout, tile.box)))
    names = [cell.class_name for cell in cells]
    return SlideTruth(
        size=spec.size,
        mpp=spec.mpp,
        seed=spec.seed,
        centre=spec.centre,
        fault=spec.fault,
        regions=_regions(layout),
        tiles=tiles,
        cells=tuple(cells),
        counts=tuple((name, names.count(name)) for name in CELL_CLASSES),
    )


def to_cell(layout: Layout, cell: PlacedCell, number: int, origin: tuple[int, int] = (0, 0)) -> Cell:
    """The domain's cell, certain of its class, in level-0 pixels from `origin`."""
    outline: Polygon = polygon(cell) / layout.mpp - origin
    (x0, y0), (x1, y1) = np.floor(outline.min(axis=0)), np.ceil(outline.max(axis=0))
    return Cell(
        id=number,
        box=Box(x0=int(x0), y0=int(y0), x1=int(x1), y1=int(y1)),
        polygon=outline,
        class_name=cell.class_name,
        probability=1.0,
        probabilities=tuple(float(name == cell.class_name) for name in CELL_CLASSES),
        review=False,
    )


def _regions(layout: Layout) -> tuple[Region, ...]:
    mask = region_mask(layout, _MASK_STEP_UM).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    scale = _MASK_STEP_UM / layout.spec.mpp
    return tuple(
        Region(polygon=(contour[:, 0, :].astype(np.float64) + 0.5) * scale, probability=1.0)
        for contour in contours
        if cv2.contourArea(contour) * _MASK_STEP_UM**2 > TILE_UM**2
    )


def label_image(cells: Sequence[Cell], box: Box) -> NDArray[np.uint16]:
    """Instance labels of a box of level-0 pixels, (h, w): 0 background, else 1 + the cell's id modulo 65535."""
    width, height = box.size
    labels = np.zeros((height, width), dtype=np.uint16)
    for cell in cells:
        points = np.round((cell.polygon - (box.x0, box.y0) - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(labels, [points], cell.id % 65535 + 1, shift=4)
    return labels


def write_truth(truth: SlideTruth, out: Path) -> Path:
    """Write the truth into a folder and return the path of `truth.json`.

    Beside it: `roi.png`, the region at 10 µm/px (255 inside), and `masks/X_Y.png` for each countable tile with its
    corner at (X, Y): 16-bit, 0 background, else 1 + the cell's id modulo 65535.
    """
    (out / "masks").mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out / "roi.png"), _region_image(truth))
    for tile in truth.tiles:
        if tile.countable:
            name = f"{tile.box.x0}_{tile.box.y0}.png"
            cv2.imwrite(str(out / "masks" / name), label_image(_reaching(truth.cells, tile.box), tile.box))
    path = out / "truth.json"
    with path.open("w", encoding="utf-8") as file:  # cell by cell: a large slide has 100,000
        file.write(json.dumps(_document(truth)).removesuffix("}") + ', "cells": [')
        for number, cell in enumerate(truth.cells):
            file.write((",\n" if number else "\n") + json.dumps(_of_cell(cell)))
        file.write("]}\n")
    return path


def _reaching(cells: Sequence[Cell], box: Box) -> tuple[Cell, ...]:
    return tuple(
        cell
        for cell in cells
        if cell.box.x0 < box.x1 and cell.box.x1 > box.x0 and cell.box.y0 < box.y1 and cell.box.y1 > box.y0
    )


def _region_image(truth: SlideTruth) -> NDArray[np.uint8]:
    scale = truth.mpp / _ROI_MPP
    image = np.zeros((max(1, round(truth.size[1] * scale)), max(1, round(truth.size[0] * scale))), dtype=np.uint8)
    for region in truth.regions:
        cv2.fillPoly(image, [np.round((region.polygon * scale - 0.5) * 16).astype(np.int32)], 255, shift=4)
    return image


def _document(truth: SlideTruth) -> dict[str, object]:
    """All but the cells."""
    total = len(truth.cells)
    return {
        "synthetic": True,
        "note": NOTE,
        "seed": truth.seed,
        "centre": truth.centre,
        "fault": truth.fault,
        "size": list(truth.size),
        "mpp": truth.mpp,
        "regions": [region.polygon.round(1).tolist() for region in truth.regions],
        "tiles": [{"box": _corners(tile.box), "countable": tile.countable} for tile in truth.tiles],
        "differential": {
            "total": total,
            "classes": [
                {"name": name, "count": count, "fraction": count / total if total else 0.0}
                for name, count in truth.counts
            ],
        },
    }


def _of_cell(cell: Cell) -> dict[str, object]:
    return {
        "id": cell.id,
        "class": cell.class_name,
        "box": _corners(cell.box),
        "polygon": cell.polygon.round(1).tolist(),
    }


def _corners(box: Box) -> list[int]:
    return [box.x0, box.y0, box.x1, box.y1]
