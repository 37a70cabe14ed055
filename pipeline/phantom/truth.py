"""What is known of a synthetic smear: its countable region, tiles, cells and exact count."""

import json
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
_SAMPLES = 16  # points a side that decide a tile's label
_MIN_INSIDE = 0.95
_MAX_SPOILED = 0.08
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
    x, y = np.meshgrid((np.arange(width) + 0.5) * mpp, (np.arange(height) + 0.5) * mpp)
    if layout.spec.fault != "none":
        return np.zeros((height, width), dtype=bool)
    return layout.smear.countable(x, y)


def tile_is_countable(layout: Layout, box: Box) -> bool:
    """True for a tile in the junction that no fault area spoils."""
    if layout.spec.fault != "none":
        return False
    x0, y0, x1, y1 = (edge * layout.mpp for edge in (box.x0, box.y0, box.x1, box.y1))
    steps = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    x, y = np.meshgrid(x0 + steps * (x1 - x0), y0 + steps * (y1 - y0))
    if layout.smear.countable(x, y).mean() < _MIN_INSIDE:
        return False
    spoiled = np.zeros_like(x)
    for spoil in layout.smear.spoils(x0, y0, x1, y1):
        np.maximum(spoiled, spoil.strength(x, y), out=spoiled)
    return bool((spoiled > 0.3).mean() <= _MAX_SPOILED)


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


def label_image(cells: tuple[Cell, ...], box: Box, scale: float = 1.0) -> NDArray[np.int32]:
    """Instance labels of a box, (h, w): 0 background, n + 1 the n-th of `cells`; `scale`: output px per level-0 px."""
    width, height = (round(side * scale) for side in box.size)
    labels = np.zeros((height, width), dtype=np.int32)
    for number, cell in enumerate(cells, start=1):
        points = (cell.polygon - (box.x0, box.y0)) * scale - 0.5
        cv2.fillPoly(labels, [np.round(points * 16).astype(np.int32)], number, shift=4)
    return labels


def write_truth(truth: SlideTruth, out: Path) -> Path:
    """Write `truth.json` into the folder; returns its path."""
    out.mkdir(parents=True, exist_ok=True)
    total = len(truth.cells)
    document = {
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
        "cells": [
            {
                "id": cell.id,
                "class": cell.class_name,
                "box": _corners(cell.box),
                "polygon": cell.polygon.round(1).tolist(),
            }
            for cell in truth.cells
        ],
    }
    path = out / "truth.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _corners(box: Box) -> list[int]:
    return [box.x0, box.y0, box.x1, box.y1]
