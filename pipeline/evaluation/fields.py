"""Stages 1 to 3 measured: regions on thumbnails, tiles, cells of real and synthetic fields."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import metrics
from pipeline.bundle import Bundle
from pipeline.cells import CellMask, Mode
from pipeline.domain import RgbImage
from pipeline.evaluation.data import (
    SEGPC_MPP,
    ZHENG_MPP,
    Figures,
    Say,
    field_as_tile,
    image_paths,
    isolated,
    read_mask,
    seed_of,
)
from pipeline.geometry import box_of, fill
from pipeline.image import read_image
from pipeline.nuclei import azure
from pipeline.phantom.faults import TileFault, with_fault
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.spec import Centre
from pipeline.quality import STRONG_AZURE
from pipeline.tiles import TILE_UM
from pipeline.training.synthetic import draw_fields, draw_thumbnails, smears

LEAST_NUCLEUS = 0.1
REFUSED: Mapping[str, TileFault] = {
    "blurred": "blurred",
    "overstained": "overstained",
    "blank": "blank",
    "crowded": "crowded with red cells",
}


def regions(bundle: Bundle, count: int, centre: Centre, say: Say) -> Figures:
    """Region IoU, Dice and pixel accuracy on unseen smears, mean over the slides."""
    thumbnails = draw_thumbnails(smears(count, seed_of(400, centre), centre), lambda done, _text: say(done))
    rows = []
    for image, mask, inside in zip(thumbnails.images, thumbnails.masks, thumbnails.inside, strict=True):
        found = (bundle.regions.probability(image) > bundle.regions.config.threshold) & inside
        rows.append(metrics.mask_scores(found[inside], mask[inside]))
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return {"n": count, "unit": "slides", **means, "least_dice": min(row["dice"] for row in rows)}


def tiles(bundle: Bundle, count: int, centre: Centre, say: Say) -> Figures:
    """TCNet on every grid tile of unseen smears, and the node's choice: of those in the region that stage 1 found."""
    scores: list[float] = []
    countable: list[bool] = []
    reached: list[bool] = []
    for number, spec in enumerate(smears(count, seed_of(300, centre), centre)):

        def judged(done: float, number: int = number) -> None:
            say((number + done) / count)

        slide = PhantomSlide(spec)
        truth = slide.truth.tiles
        candidates = set(bundle.tiles.candidates(slide, bundle.regions.find(slide)))
        found = bundle.tiles.judge(slide, [tile.box for tile in truth], judged)
        scores += [tile.probability for tile in found]
        countable += [tile.countable for tile in truth]
        reached += [tile.box in candidates for tile in truth]
    threshold, label = bundle.tiles.config.threshold, np.array(countable)
    figures = metrics.decision_scores(np.array(scores), label, threshold)
    accepted = np.array(scores) >= threshold
    chosen = metrics.decision_scores((accepted & reached).astype(np.float64), label)
    return {
        **figures,
        "unit": "tiles",
        "slides": count,
        "accuracy": metrics.proportion(accepted == label),
        "within_the_region": {
            "accuracy": metrics.proportion((accepted & reached) == label),
            "precision": chosen["precision"],
            "recall": chosen["recall"],
        },
    }


def real_tiles(bundle: Bundle, folder: Path, most: int | None, say: Say) -> Figures:
    """TCNet on real fields that experts chose for counting, and on the same fields, each fault put on them.

    How strong a fault is follows from the field's number, so that it is the same in every evaluation.
    """
    paths = image_paths(folder / "images", most)
    scores = []
    for number, path in enumerate(paths):
        view = field_as_tile(read_image(path), SEGPC_MPP)
        spoiled = [with_fault(view, TILE_UM / view.shape[0], fault, number) for fault in REFUSED.values()]
        scores.append(bundle.tiles.probabilities([view, *spoiled]))
        say((number + 1) / len(paths))
    accepted = np.stack(scores) >= bundle.tiles.config.threshold  # (N, 1 + faults)
    return {
        "n": len(paths),
        "unit": "fields",
        "accepted": metrics.proportion(accepted[:, 0]),
        "refused": {name: metrics.proportion(~column) for name, column in zip(REFUSED, accepted[:, 1:].T, strict=True)},
    }


def plasma_cells(bundle: Bundle, folder: Path, most: int | None, say: Say, mode: Mode = "prompted") -> Figures:
    """Boxes of isolated plasma cells (component solidity of 0.9 and more) found in real fields."""
    overlaps: list[float] = []
    nucleated: list[bool] = []
    paths, spent = image_paths(folder / "images", most), 0.0
    for number, path in enumerate(paths):
        image = read_image(path)
        started = time.process_time()
        cells = bundle.cells.segment(image, SEGPC_MPP, mode)
        spent += time.process_time() - started
        boxes = [box_of(cell.polygon) for cell in cells]
        truth = [box for box, _ in isolated(read_mask(folder / "masks" / f"{path.stem}.png"))]
        overlaps += metrics.best_overlaps(truth, boxes).tolist()
        nucleated += with_nucleus(image, cells)
        say((number + 1) / len(paths))
    values = np.array(overlaps)
    return {
        "n": len(values),
        "unit": "plasma cells",
        "fields": len(paths),
        "recall50": metrics.proportion(values >= 0.5),
        "recall75": metrics.proportion(values >= 0.75),
        "mean_iou": float(values.mean()),
        "found_with_nucleus": metrics.proportion(nucleated),
        "cells_a_field": len(nucleated) / len(paths),
        "cpu_s_a_field": spent / len(paths),
    }


def with_nucleus(image: RgbImage, cells: Sequence[CellMask], least: float = LEAST_NUCLEUS) -> list[bool]:
    """Whether at least this share of each mask is strongly azure: what is not is a red cell, platelet or debris."""
    strong = azure(image) > STRONG_AZURE
    labels = fill([cell.polygon for cell in cells], strong.shape)
    areas = np.bincount(labels.ravel(), minlength=len(cells) + 1)[1:]
    inside = np.bincount(labels.ravel(), weights=strong.ravel(), minlength=len(cells) + 1)[1:]
    return [bool(share >= least) for share in inside / areas.clip(1)]


def both_modes(bundle: Bundle, folder: Path, most: int, say: Say) -> Figures:
    """`prompted` beside `everything` on the same real fields, and how many times faster it is."""
    prompted = plasma_cells(bundle, folder, most, lambda done: say(done / 10))
    everything = plasma_cells(bundle, folder, most, lambda done: say(0.1 + 0.9 * done), "everything")
    return {
        "n": prompted["n"],
        "unit": "plasma cells",
        "prompted": prompted,
        "everything": everything,
        "times_faster": everything["cpu_s_a_field"] / prompted["cpu_s_a_field"],
    }


def white_cells(bundle: Bundle, folder: Path, most: int | None, say: Say) -> Figures:
    """Whole-cell Dice (nucleus and cytoplasm) of the white cell in the middle of real images."""
    values = []
    paths = image_paths(folder, most, "*_image.*")
    for number, path in enumerate(paths):
        truth = read_mask(path.with_name(path.name.split("_")[0] + "_mask.png"))
        cells = bundle.cells.segment(read_image(path), ZHENG_MPP)
        values.append(metrics.mask_scores(most_of(cells, truth), truth)["dice"])
        say((number + 1) / len(paths))
    return {"n": len(values), "unit": "cells", "dice": float(np.mean(values)), "least_dice": float(np.min(values))}


def most_of(cells: Sequence[CellMask], truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) the found cell that covers most of a true one; nothing where none does."""
    labels = fill([cell.polygon for cell in cells], truth.shape)
    numbers, counts = np.unique(labels[truth & (labels > 0)], return_counts=True)
    return labels == numbers[counts.argmax()] if len(numbers) else np.zeros_like(truth)


def synthetic_cells(bundle: Bundle, count: int, centre: Centre, say: Say, mode: Mode = "prompted") -> Figures:
    """Recall50, Recall75, precision and Dice of matched cells on unseen fields."""
    overlaps: list[float] = []
    dices: list[float] = []
    matched: list[bool] = []
    for number, sample in enumerate(draw_fields(count, seed_of(500, centre), centre)):
        cells = bundle.cells.segment(sample.image, bundle.cells.mpp, mode)
        side = sample.image.shape[0]
        inner = [c for c in sample.cells if min(c.box.x0, c.box.y0) >= 0 and max(c.box.x1, c.box.y1) <= side]
        boxes = [box_of(cell.polygon) for cell in cells]
        overlaps += metrics.best_overlaps([cell.box for cell in inner], boxes).tolist()
        matched += (metrics.best_overlaps(boxes, [cell.box for cell in sample.cells]) >= 0.5).tolist()
        for cell in inner:
            own = sample.labels == cell.id + 1
            best = most_of(cells, own)
            if best.any():
                dices.append(metrics.mask_scores(best, own)["dice"])
        say((number + 1) / count)
    values = np.array(overlaps)
    return {
        "n": len(values),
        "unit": "cells",
        "fields": count,
        "recall50": metrics.proportion(values >= 0.5),
        "recall75": metrics.proportion(values >= 0.75),
        "precision50": metrics.proportion(matched),
        "dice_of_matched": float(np.mean(dices)) if dices else 0.0,
    }
