"""Another centre: hue, saturation and scale of real cells shifted, the second stain, stain normalisation for each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from pipeline import metrics
from pipeline.bundle import Bundle
from pipeline.domain import RgbImage
from pipeline.evaluation import plots
from pipeline.evaluation.colours import NORMALISATIONS, Stain, stain_of
from pipeline.evaluation.data import Amounts, Figures, Say, held_out, middle, predict, some, synthetic_cells
from pipeline.training.augment import hue_rotation
from pipeline.training.datasets import CROP_SIDE, Crops


def hue(image: RgbImage, radians: float) -> RgbImage:
    """Colours turned about the grey axis."""
    turn = hue_rotation(torch.tensor([radians]))[0].double().numpy()
    return np.asarray((image @ turn.T).clip(0, 255), dtype=np.uint8)


def saturation(image: RgbImage, factor: float) -> RgbImage:
    """Colours nearer to or farther from grey."""
    grey = image.mean(axis=2, keepdims=True)
    return np.asarray((grey + (image - grey) * factor).clip(0, 255), dtype=np.uint8)


def scale(image: RgbImage, factor: float) -> RgbImage:
    """The cell larger or smaller in its crop; beyond the stored image it is reflected."""
    side = round(CROP_SIDE / factor)
    reach = max(0, -(-(side - image.shape[0]) // 2))
    wide = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.resize(middle(wide, side), (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_LINEAR))


SHIFTS: Mapping[str, Callable[[RgbImage], RgbImage]] = {
    "as it is": middle,
    "hue -0.3": lambda image: hue(middle(image), -0.3),
    "hue +0.3": lambda image: hue(middle(image), 0.3),
    "saturation 0.6": lambda image: saturation(middle(image), 0.6),
    "saturation 1.5": lambda image: saturation(middle(image), 1.5),
    "scale 0.85": lambda image: scale(image, 0.85),
    "scale 1.15": lambda image: scale(image, 1.15),
}


def robustness(bundle: Bundle, real: Path | None, amounts: Amounts, out: Path, say: Say) -> Figures:
    """Accuracy of the same cells under each shift, as they come and normalised to the stain of centre a.

    Normalisation sees all cells of a set together, as it would those of one slide.
    """
    sets = {"synthetic b": some(synthetic_cells(amounts.each, "b"), amounts.shifted_cells)}
    if real is not None:
        sets |= {name: some(held_out(real / name), amounts.shifted_cells) for name in ("mll", "pbc")}
    wanted = stain_of([middle(image) for image in synthetic_cells(amounts.each, "a").images])
    figures: Figures = {"n": sum(len(crops) for crops in sets.values()), "unit": "cells"}
    for number, (name, crops) in enumerate(sets.items()):
        shifts = {"as it is": SHIFTS["as it is"]} if name == "synthetic b" else SHIFTS
        table = {shift: _accuracies(bundle, crops, change, wanted) for shift, change in shifts.items()}
        figures[name] = table
        say((number + 1) / len(sets))
        if len(shifts) > 1:
            lines = {way: {shift: row[way]["value"] for shift, row in table.items()} for way in NORMALISATIONS}
            plots.curves(out / f"robustness_{name}.png", f"{name}: {len(crops)} cells", lines)
    return figures


def _accuracies(
    bundle: Bundle, crops: Crops, change: Callable[[RgbImage], RgbImage], wanted: Stain
) -> dict[str, dict[str, float]]:
    images = [change(image) for image in crops.images]
    own = stain_of(images)
    return {way: accuracy(bundle, normalise(images, own, wanted), crops) for way, normalise in NORMALISATIONS.items()}


def accuracy(bundle: Bundle, images: Sequence[RgbImage], crops: Crops) -> dict[str, float]:
    """Share of the images whose best class is one their crop may be."""
    best = predict(bundle, images).argmax(1)
    return metrics.proportion(crops.allowed[np.arange(len(crops)), best])
