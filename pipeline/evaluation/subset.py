"""The fast subset that guards the committed weights: a figure may not fall by more than chance.

The same cells, fields and slides each time, so that only code or weights can change a figure; how far it may fall is
the lower 95 % limit of its own number of cases. `marrow-node evaluate` writes the figures to compare with.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import metrics
from pipeline.bundle import Bundle
from pipeline.evaluation.data import (
    SEGPC_MPP,
    ZHENG_MPP,
    Figures,
    Say,
    held_out_few,
    image_paths,
    isolated,
    middles,
    predict,
    read_mask,
    seed_of,
)
from pipeline.evaluation.fields import most_of, real_tiles
from pipeline.geometry import box_of
from pipeline.image import read_image
from pipeline.training.datasets import Crops
from pipeline.training.synthetic import draw_cells, draw_fields, draw_thumbnails, smears

Proportion = dict[str, float]
CELLS, FIELDS, IMAGES, SLIDES, GOOD_DICE = 96, 6, 4, 3, 0.8


def synthetic_subset(bundle: Bundle, say: Say = lambda _done: None) -> Figures:
    """Classes, cells and regions on a few synthetic examples."""
    crops = draw_cells(2, seed_of(900, "a"))
    (field,) = draw_fields(1, seed_of(901, "a"))
    boxes = [box_of(cell.polygon) for cell in bundle.cells.segment(field.image, bundle.cells.mpp)]
    whole = [cell.box for cell in field.cells if min(cell.box.x0, cell.box.y0) >= 0]
    drawn = draw_thumbnails(smears(SLIDES, seed_of(902, "a")), lambda done, _text: say(done))
    regions = [bundle.regions.probability(image) > bundle.regions.config.threshold for image in drawn.images]
    pairs = zip(regions, drawn.masks, drawn.inside, strict=True)
    dices = [metrics.mask_scores(found[inside], mask[inside])["dice"] for found, mask, inside in pairs]
    return {
        "synthetic cells classed": metrics.proportion(_right(bundle, crops)),
        "synthetic cells found": metrics.proportion(metrics.best_overlaps(whole, boxes) >= 0.5),
        "synthetic regions outlined": metrics.proportion(np.array(dices) >= GOOD_DICE),
    }


def real_subset(bundle: Bundle, real: Path, say: Say = lambda _done: None) -> Figures:
    """Classes of mll and pbc, plasma cells and tiles of segpc, white cells of zheng."""
    figures: Figures = {}
    for name in ("mll", "pbc"):
        crops = held_out_few(real / name, CELLS)
        figures[f"{name} cells classed"] = metrics.proportion(_right(bundle, crops))
    overlaps: list[float] = []
    paths = image_paths(real / "segpc" / "images", FIELDS)
    for path in paths:
        boxes = [box_of(cell.polygon) for cell in bundle.cells.segment(read_image(path), SEGPC_MPP)]
        truth = [box for box, _ in isolated(read_mask(path.parents[1] / "masks" / f"{path.stem}.png"))]
        overlaps += metrics.best_overlaps(truth, boxes).tolist()
    figures["plasma cells found"] = metrics.proportion(np.array(overlaps) >= 0.5)
    tiles = real_tiles(bundle, real / "segpc", 4 * FIELDS, say)
    figures["real tiles accepted"] = tiles["accepted"]
    figures |= {f"{fault} tiles refused": figure for fault, figure in tiles["refused"].items()}
    good = []
    for path in image_paths(real / "zheng", IMAGES, "*_image.*"):
        truth_mask = read_mask(path.with_name(path.name.split("_")[0] + "_mask.png"))
        best = most_of(bundle.cells.segment(read_image(path), ZHENG_MPP), truth_mask)
        good.append(metrics.mask_scores(best, truth_mask)["dice"] >= GOOD_DICE)
    figures["white cells outlined"] = metrics.proportion(good)
    return figures


def fallen(committed: Mapping[str, Proportion], measured: Mapping[str, Proportion]) -> dict[str, str]:
    """Each measured figure that lies below the 95 % limits of the committed one, in words."""
    return {
        name: f"{now['value']:.3f} of {now['n']:.0f}, was {committed[name]['value']:.3f}; chance allows {low:.3f}"
        for name, now in measured.items()
        if now["value"] < (low := metrics.wilson(committed[name]["value"], int(committed[name]["n"]))[0])
    }


def _right(bundle: Bundle, crops: Crops) -> NDArray[np.bool_]:
    best = predict(bundle, middles(crops)).argmax(1)
    return np.asarray(crops.allowed[np.arange(len(best)), best], dtype=bool)
