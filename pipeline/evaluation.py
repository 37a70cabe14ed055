"""Measure a bundle: every figure of its model card, as JSON, tables and plots.

Real cells are those of the test split by file name (`training.labels.split_of`); synthetic smears have seeds no
training drew. Each function measures one thing and returns plain numbers; `evaluate` runs those whose data are given.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from pipeline import metrics
from pipeline.bundle import Bundle
from pipeline.cells import Mode
from pipeline.domain import CELL_CLASSES, COUNTED_CLASSES, Box, RgbImage
from pipeline.errors import ImageError, PipelineError
from pipeline.geometry import box_of, fill
from pipeline.image import read_image
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.spec import Centre
from pipeline.run import AnalysisSettings, analyse
from pipeline.training.datasets import CROP_SIDE, CellFolder, Crops, load_cells
from pipeline.training.synthetic import EVALUATION_SEED, draw_cells, draw_fields, draw_thumbnails, draw_tiles, smears

matplotlib.use("Agg")
from matplotlib import pyplot

Figures = dict[str, Any]
SEVEN = ("BLA", "EOS", "LYT", "MON", "NGS", "NIF", "PMO")
SHARED_CODES = ("EOS", "LYT", "MON", "NGS")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationData:
    """Where the data beside the project lie (`mll`, `pbc`, `segpc`, `zheng` in `real`), and how much is drawn."""

    real: Path | None = None
    synthetic: bool = True
    each: int = 12
    fields: int = 6
    slides: int = 2
    real_fields: int | None = None


def evaluate(
    bundle: Bundle, data: EvaluationData, out: Path, progress: Callable[[str], None] = lambda _text: None
) -> Figures:
    """Run every measurement the data allow and write `evaluation.json` and plots into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    figures: Figures = {
        "bundle": {"name": bundle.info.name, "version": bundle.info.version, "digest": bundle.info.digest}
    }
    steps: list[tuple[str, Callable[[], Figures]]] = []
    if data.real is not None:
        real = data.real
        steps += [
            ("classes_mll", lambda: real_classes(bundle, real / "mll", 21.6 / 250, out)),
            ("classes_pbc", lambda: real_classes(bundle, real / "pbc", 0.145, out)),
            ("cells_segpc", lambda: plasma_cells(bundle, real / "segpc", data.real_fields)),
            ("tiles_segpc", lambda: real_tiles(bundle, real / "segpc", data.real_fields)),
            ("cells_zheng", lambda: white_cells(bundle, real / "zheng", data.real_fields)),
        ]
    if data.synthetic:
        for centre in ("a", "b"):
            steps += _synthetic_steps(bundle, data, centre, out)
    for name, measure in steps:
        progress(name)
        started = time.monotonic()
        figures[name] = {**measure(), "seconds": round(time.monotonic() - started, 1)}
        (out / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def _synthetic_steps(
    bundle: Bundle, data: EvaluationData, centre: Centre, out: Path
) -> list[tuple[str, Callable[[], Figures]]]:
    return [
        (f"regions_{centre}", lambda: synthetic_regions(bundle, data.slides, centre)),
        (f"tiles_{centre}", lambda: synthetic_tiles(bundle, data.slides, centre)),
        (f"cells_{centre}", lambda: synthetic_cells(bundle, data.fields, centre)),
        (f"classes_{centre}", lambda: synthetic_classes(bundle, data.each, centre, out)),
        (f"count_{centre}", lambda: synthetic_counts(bundle, data.slides, centre, out)),
    ]


def predict(bundle: Bundle, crops: Crops) -> metrics.Floats:
    """(N, 22) probabilities of the middle of each stored crop."""
    edge = (crops.images.shape[1] - CROP_SIDE) // 2
    return bundle.classes.probabilities(list(crops.images[:, edge : edge + CROP_SIDE, edge : edge + CROP_SIDE]))


def real_classes(bundle: Bundle, folder: Path, mpp: float, out: Path) -> Figures:
    """Accuracy on the held-out quarter of a folder-per-class set; for mll also over its seven classes."""
    crops = load_cells([CellFolder(root=folder, mpp=mpp)]).part("test")
    probabilities = predict(bundle, crops)
    figures = _report(probabilities, crops, out / f"confusion_{folder.name}.png")
    seven = np.array([code in SEVEN for code in crops.codes])
    if folder.name == "mll" and seven.any():
        report = metrics.class_report(
            probabilities[seven], crops.allowed[seven], [c for c, own in zip(crops.codes, seven, strict=True) if own]
        )
        figures["seven_classes"] = {
            "n": report.n,
            "accuracy": report.accuracy,
            "least_recall": min(values["recall"] for values in report.per_group.values()),
        }
    return figures


def synthetic_classes(bundle: Bundle, each: int, centre: Centre, out: Path) -> Figures:
    """22-class accuracy on synthetic cells of unseen seeds."""
    crops = draw_cells(each, EVALUATION_SEED + (10_000 if centre == "b" else 0), centre, side=CROP_SIDE)
    return _report(predict(bundle, crops), crops, out / f"confusion_synthetic_{centre}.png")


def plasma_cells(
    bundle: Bundle, folder: Path, most: int | None = None, mode: Mode = "prompted", mpp: float = 0.19
) -> Figures:
    """Boxes of isolated plasma cells (component solidity of 0.9 and more) found in real fields."""
    overlaps: list[float] = []
    found = 0
    paths = _images(folder / "images", most)
    started = time.monotonic()
    for path in paths:
        image = read_image(path)
        cells = bundle.cells.segment(image, mpp, mode)
        found += len(cells)
        boxes = [box_of(cell.polygon) for cell in cells]
        overlaps += metrics.best_overlaps(isolated(read_mask(folder / "masks" / f"{path.stem}.png")), boxes).tolist()
    values = np.array(overlaps)
    return {
        "mode": mode,
        "fields": len(paths),
        "plasma_cells": len(values),
        "recall50": float((values >= 0.5).mean()),
        "recall75": float((values >= 0.75).mean()),
        "mean_iou": float(values.mean()),
        "cells_found": found,
        "seconds_per_field": round((time.monotonic() - started) / len(paths), 2),
    }


def isolated(mask: NDArray[np.bool_], least_solidity: float = 0.9, least_area: int = 300) -> list[Box]:
    """Boxes of the components of a mask that are one whole cell, not touching the image's sides."""
    boxes = []
    for region in regionprops(label(mask)):
        y0, x0, y1, x1 = region.bbox
        whole = x0 > 1 and x1 < mask.shape[1] - 1
        if whole and region.area >= least_area and region.solidity >= least_solidity:
            boxes.append(Box(x0=x0, y0=y0, x1=x1, y1=y1))
    return boxes


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


def real_tiles(bundle: Bundle, folder: Path, most: int | None = None, mpp: float = 0.19) -> Figures:
    """TCNet on real fields that experts chose for counting, and on the same fields spoiled."""
    fields = [_field_as_tile(read_image(path), mpp) for path in _images(folder / "images", most)]
    views: dict[str, list[RgbImage]] = {
        "as they are": fields,
        "blurred": [np.asarray(cv2.GaussianBlur(view, (0, 0), 4.0)) for view in fields],
        "overstained": [((view / 255.0) ** 3.5 * 255).astype(np.uint8) for view in fields],
        "blank": [np.full_like(view, np.median(view[:8].reshape(-1, 3), axis=0)) for view in fields],
    }
    accepted = {
        name: float((bundle.tiles.probabilities(images) >= bundle.tiles.config.threshold).mean())
        for name, images in views.items()
    }
    return {
        "fields": len(fields),
        "accepted": accepted["as they are"],
        "refused": {name: 1 - share for name, share in accepted.items() if name != "as they are"},
    }


def _field_as_tile(image: RgbImage, mpp: float) -> RgbImage:
    """A field smaller than a tile at the tile's resolution, continued by reflection; bars of one colour are cut off."""
    rows = np.flatnonzero(image.astype(np.int16).std(axis=(1, 2)) > 12)
    cut = image[rows[0] : rows[-1] + 1] if len(rows) > 50 else image
    factor = mpp / (160.0 / 224)
    small = cv2.resize(cut, (round(cut.shape[1] * factor), round(cut.shape[0] * factor)), interpolation=cv2.INTER_AREA)
    return np.pad(
        small, [(0, max(0, 224 - small.shape[0])), (0, max(0, 224 - small.shape[1])), (0, 0)], mode="symmetric"
    )[:224, :224]


def white_cells(bundle: Bundle, folder: Path, most: int | None = None, mpp: float = 0.1) -> Figures:
    """Whole-cell Dice (nucleus and cytoplasm) of the white cell in the middle of real images."""
    values = []
    for path in _images(folder, None, "*_image.*")[:most]:
        image = read_image(path)
        truth = read_mask(path.with_name(path.name.split("_")[0] + "_mask.png"))
        cells = bundle.cells.segment(image, mpp)
        labels = fill([cell.polygon for cell in cells], truth.shape)
        numbers, counts = np.unique(labels[truth & (labels > 0)], return_counts=True)
        best = labels == numbers[counts.argmax()] if len(numbers) else np.zeros_like(truth)
        values.append(metrics.mask_scores(best, truth)["dice"])
    return {"images": len(values), "dice": float(np.mean(values)), "least": float(np.min(values))}


def synthetic_regions(bundle: Bundle, count: int, centre: Centre) -> Figures:
    """Region IoU, Dice and pixel accuracy on unseen smears."""
    thumbnails = draw_thumbnails(smears(count, _seed(400, centre), centre))
    rows = []
    for image, mask, inside in zip(thumbnails.images, thumbnails.masks, thumbnails.inside, strict=True):
        found = (bundle.regions.probability(image) > bundle.regions.config.threshold) & inside
        rows.append(metrics.mask_scores(found[inside], mask[inside]))
    return {"slides": count, **_means(rows)}


def synthetic_tiles(bundle: Bundle, count: int, centre: Centre) -> Figures:
    """Tile decisions on unseen smears."""
    tiles = draw_tiles(smears(count, _seed(300, centre), centre))
    return metrics.decision_scores(
        bundle.tiles.probabilities(list(tiles.images)), tiles.countable, bundle.tiles.config.threshold
    )


def synthetic_cells(bundle: Bundle, count: int, centre: Centre, mode: Mode = "prompted") -> Figures:
    """Recall50, Recall75, precision and Dice of matched cells on unseen fields; smudges have no outline to find."""
    overlaps: list[float] = []
    dices: list[float] = []
    found = matched = 0
    for sample in draw_fields(count, EVALUATION_SEED + (500 if centre == "a" else 600), centre):
        cells = bundle.cells.segment(sample.image, bundle.cells.mpp, mode)
        inner = [c for c in sample.cells if c.box.x0 >= 0 and c.box.y0 >= 0 and max(c.box.x1, c.box.y1) <= 1024]
        boxes = [box_of(cell.polygon) for cell in cells]
        overlaps += metrics.best_overlaps([cell.box for cell in inner], boxes).tolist()
        found += len(cells)
        matched += int((metrics.best_overlaps(boxes, [cell.box for cell in sample.cells]) >= 0.5).sum())
        labels = fill([cell.polygon for cell in cells], sample.labels.shape)
        for cell in inner:
            own = sample.labels == cell.id + 1
            numbers, counts = np.unique(labels[own & (labels > 0)], return_counts=True)
            if len(numbers):
                dices.append(metrics.mask_scores(labels == numbers[counts.argmax()], own)["dice"])
    values = np.array(overlaps)
    return {
        "fields": count,
        "mode": mode,
        "cells": len(values),
        "recall50": float((values >= 0.5).mean()),
        "recall75": float((values >= 0.75).mean()),
        "precision50": matched / found if found else 0.0,
        "dice_of_matched": float(np.mean(dices)) if dices else 0.0,
    }


def synthetic_counts(bundle: Bundle, count: int, centre: Centre, out: Path) -> Figures:
    """The whole chain against the exact differential of unseen smears: Pearson, CCC, Bland-Altman."""
    rows, pairs = [], []
    for spec in smears(count, _seed(700, centre), centre):
        slide = PhantomSlide(spec)
        truth = dict(slide.truth.counts)
        true = np.array([truth[name] for name in COUNTED_CLASSES], dtype=np.float64)
        try:
            analysis = analyse(slide, bundle, AnalysisSettings(), lambda _stage, _done: None)
        except PipelineError as exc:
            rows.append({"seed": spec.seed, "failed": str(exc)})
            continue
        own = np.array([component.percent for component in analysis.differential.components])
        percent = 100 * true / max(true.sum(), 1)
        pairs += list(zip(own, percent, strict=True))
        rows.append(
            {
                "seed": spec.seed,
                "cells": analysis.differential.total,
                "true_cells": int(true.sum()),
                "pearson": metrics.pearson(own, percent),
                "ccc": metrics.concordance(own, percent),
            }
        )
    if not pairs:
        return {"slides": rows}
    table = np.array(pairs)
    _plot_agreement(out / f"bland_altman_{centre}.png", table[:, 0], table[:, 1])
    good = [row for row in rows if "ccc" in row]
    return {
        "slides": rows,
        "mean_ccc": float(np.mean([row["ccc"] for row in good])),
        "mean_pearson": float(np.mean([row["pearson"] for row in good])),
        "bland_altman": metrics.bland_altman(table[:, 0], table[:, 1]),
    }


def _seed(part: int, centre: Centre) -> int:
    return EVALUATION_SEED + part + (10_000 if centre == "b" else 0)


def _report(probabilities: metrics.Floats, crops: Crops, plot: Path) -> Figures:
    report = metrics.class_report(probabilities, crops.allowed, crops.codes)
    _plot_confusion(plot, report)
    return {
        "n": report.n,
        "accuracy": report.accuracy,
        "calibration_error": report.calibration_error,
        "per_class": report.per_group,
    }


def _images(folder: Path, most: int | None, pattern: str = "*") -> list[Path]:
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise ImageError(f"{folder}: no images; give the folder that holds them")
    return paths[:most]


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _plot_confusion(path: Path, report: metrics.ClassReport) -> None:
    share = report.confusion / report.confusion.sum(1, keepdims=True).clip(1)
    figure, axis = pyplot.subplots(figsize=(9, 0.3 * len(report.groups) + 3.5))
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.set_xticks(range(len(CELL_CLASSES)), CELL_CLASSES, rotation=90, fontsize=7)
    axis.set_yticks(range(len(report.groups)), report.groups, fontsize=7)
    axis.set(xlabel="predicted", ylabel="true", title=f"accuracy {report.accuracy:.3f}, {report.n} cells")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _plot_agreement(path: Path, own: metrics.Floats, true: metrics.Floats) -> None:
    limits = metrics.bland_altman(own, true)
    figure, axis = pyplot.subplots(figsize=(5, 4))
    axis.scatter((own + true) / 2, own - true, s=10)
    for value in limits.values():
        axis.axhline(value, linestyle="--", linewidth=0.8)
    axis.set(xlabel="mean of model and truth, %", ylabel="model - truth, %", title="Bland-Altman, 16 components")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
