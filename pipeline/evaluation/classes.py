"""Stage 4 measured: real cells of the test split, synthetic cells of unseen seeds, calibration, saliency."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline import metrics
from pipeline.bundle import Bundle
from pipeline.domain import CELL_CLASSES, RgbImage
from pipeline.evaluation import plots
from pipeline.evaluation.data import Figures, Say, held_out, middles, plasma_crops, predict, some, synthetic_cells
from pipeline.phantom.spec import Centre
from pipeline.training.datasets import Crops
from pipeline.training.synthetic import EVALUATION_SEED, FIELD_MPP, draw_fields

SEVEN = ("BLA", "EOS", "LYT", "MON", "NGS", "NIF", "PMO")
OFF_UM = (-3.5, 3.5)


def real(bundle: Bundle, folder: Path, most: int | None, out: Path, say: Say) -> Figures:
    """Cells of the held-out quarter of a folder-per-class set; of mll also those of its seven large classes."""
    crops = some(held_out(folder), most)
    probabilities = predict(bundle, middles(crops), say)
    figures = report(probabilities, crops, out, folder.name)
    seven = np.array([code in SEVEN for code in crops.codes])
    if folder.name == "mll" and seven.any():
        part = crops.subset(seven)
        rows = metrics.class_report(probabilities[seven], part.allowed, part.codes).per_group
        recalls = {code: values["recall"] for code, values in rows.items()}
        least = min(recalls, key=lambda code: recalls[code])
        right = part.allowed[np.arange(len(part)), probabilities[seven].argmax(1)]
        own = np.array([code == least for code in part.codes])
        figures["seven_classes"] = {
            "n": len(part),
            "accuracy": metrics.proportion(right),
            "least_recall": metrics.proportion(right[own]),
            "least_recalled": least,
        }
    return figures


def synthetic(bundle: Bundle, each: int, centre: Centre, out: Path, say: Say) -> Figures:
    """The 22 classes on synthetic cells of unseen seeds."""
    crops = synthetic_cells(each, centre)
    return report(predict(bundle, middles(crops), say), crops, out, f"synthetic_{centre}")


def plasma(bundle: Bundle, folder: Path, most: int | None, say: Say) -> Figures:
    """How many of the isolated plasma cells of real fields (segpc) are called so, and what the others are called."""
    best = predict(bundle, [image for image, _ in plasma_crops(folder, most)], say).argmax(1)
    return {
        "n": len(best),
        "unit": "plasma cells",
        "recall": metrics.proportion(best == CELL_CLASSES.index("plasma cell")),
        "called": dict(Counter(CELL_CLASSES[i] for i in best).most_common()),
    }


def report(probabilities: metrics.Floats, crops: Crops, out: Path, name: str) -> Figures:
    """Accuracy, calibration and the figures of each class; draws confusion and reliability."""
    found = metrics.class_report(probabilities, crops.allowed, crops.codes)
    best = probabilities.argmax(1)
    right = np.asarray(crops.allowed[np.arange(len(best)), best], dtype=bool)
    plots.confusion(out / f"confusion_{name}.png", found)
    plots.reliability(out / f"reliability_{name}.png", probabilities.max(1), right)
    return {
        "n": found.n,
        "unit": "cells",
        "accuracy": metrics.proportion(right),
        "calibration_error": found.calibration_error,
        "sure": metrics.proportion(right[probabilities.max(1) > 0.8]),
        "doubted": float((probabilities.max(1) < 0.6).mean()),
        "per_class": found.per_group,
    }


def saliency(bundle: Bundle, most: int, real_fields: Path | None, out: Path, say: Say) -> Figures:
    """Share of the saliency on the cell beside the cell's share of the crop: in the middle, and off it.

    Off the middle says more: a map that always lights up the middle would do well on cells that lie there.
    """
    figures: Figures = {"unit": "cells"}
    shown: list[tuple[RgbImage, NDArray[np.uint8]]] = []
    for name, off in (("middle", (0.0, 0.0)), ("off the middle", OFF_UM)):
        sets = {"synthetic": _synthetic_crops(most, off)}
        if real_fields is not None:
            sets["segpc"] = [(image, own, None) for image, own in plasma_crops(real_fields, most, off)]
        for source, samples in sets.items():
            figures[f"{source}, {name}"], maps = _looked(bundle, samples)
            shown += list(zip([image for image, _, _ in samples[:8]], maps[:8], strict=True))
            say(0.5 if name == "middle" else 1.0)
    plots.overlays(out / "saliency.png", [image for image, _ in shown], [looked for _, looked in shown])
    return {"n": sum(row["n"] for key, row in figures.items() if key != "unit"), **figures}


Sample = tuple[RgbImage, NDArray[np.bool_], NDArray[np.bool_] | None]  # crop, its cell, its neighbours where known


def _synthetic_crops(most: int, off_um: tuple[float, float], field_um: float = 21.6) -> list[Sample]:
    half = round(field_um / 2 / FIELD_MPP)
    right, down = (round(v / FIELD_MPP) for v in off_um)
    found: list[Sample] = []
    seed = EVALUATION_SEED + 800
    while len(found) < most:
        (field,) = draw_fields(1, seed)
        seed += 1
        for cell in field.cells:
            own = field.labels == cell.id + 1
            if not own.any():
                continue
            y, x = (round(float(v.mean())) for v in np.nonzero(own))
            top, left = y + down - half, x + right - half
            if min(top, left) >= 0 and max(top, left) + 2 * half <= own.shape[0]:
                window = slice(top, top + 2 * half), slice(left, left + 2 * half)
                found.append((field.image[window], own[window], (field.labels[window] > 0) & ~own[window]))
    return found[:most]


def _looked(bundle: Bundle, samples: list[Sample]) -> tuple[Figures, NDArray[np.uint8]]:
    _, maps = bundle.classes.explained([bundle.classes.fit(image) for image, _, _ in samples])
    inside, areas, beside, beside_areas = [], [], [], []
    for (image, own, others), looked in zip(samples, maps, strict=True):
        fine = cv2.resize(looked, image.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(np.float64)
        weight = fine / max(float(fine.sum()), 1.0)
        inside.append(float(weight[own].sum()))
        areas.append(float(own.mean()))
        if others is not None:
            beside.append(float(weight[others].sum()))
            beside_areas.append(float(others.mean()))
    figures: Figures = {"n": len(samples), "on_the_cell": float(np.mean(inside)), "area_of_cell": float(np.mean(areas))}
    if beside:
        figures |= {"on_neighbours": float(np.mean(beside)), "area_of_neighbours": float(np.mean(beside_areas))}
    return figures, maps
