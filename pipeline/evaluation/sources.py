"""Does the classifier recognise the cell or the data set? Colours swapped between sources, and a linear probe.

Only classes that every source has are looked at, so that a source cannot be told by its classes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import metrics
from pipeline.bundle import Bundle
from pipeline.domain import RgbImage
from pipeline.evaluation.colours import reinhard, stain_of
from pipeline.evaluation.data import Amounts, Figures, Say, held_out, middles, synthetic_cells
from pipeline.evaluation.robustness import accuracy
from pipeline.metrics import Floats
from pipeline.training.datasets import Crops
from pipeline.training.labels import classes_of

SHARED = ("EOS", "LYT", "MON", "NGS")
EACH = 30


def shortcut(bundle: Bundle, real: Path, amounts: Amounts, say: Say) -> Figures:
    """Accuracy of each source in its own colours and in those of the others; how well a source can be told.

    The probe is linear, on the features before the last layer, fitted on half of the cells and judged on the rest.
    """
    names = {name for code in SHARED for name in classes_of(code)}
    drawn = synthetic_cells(max(amounts.each, 2), "a")
    sets = {
        "mll": _each(held_out(real / "mll"), SHARED),
        "pbc": _each(held_out(real / "pbc"), SHARED),
        "synthetic": _each(drawn, tuple(names)),
    }
    images = {name: middles(crops) for name, crops in sets.items()}
    stains = {name: stain_of(views) for name, views in images.items()}
    figures: Figures = {"n": sum(len(crops) for crops in sets.values()), "unit": "cells", "classes": sorted(names)}
    for number, (name, crops) in enumerate(sets.items()):
        rows = {"own colours": accuracy(bundle, images[name], crops)}
        for other in (other for other in sets if other != name):
            rows[f"colours of {other}"] = accuracy(bundle, reinhard(images[name], stains[name], stains[other]), crops)
        figures[name] = {"n": len(crops), **rows}
        say((number + 1) / (len(sets) + 1))
    plain = np.concatenate([features(bundle, views) for views in images.values()])
    matched = np.concatenate(
        [features(bundle, reinhard(views, stains[name], stains["mll"])) for name, views in images.items()]
    )
    labels = np.repeat(np.arange(len(sets)), [len(crops) for crops in sets.values()])
    figures["source_told"] = {
        "chance": float(np.bincount(labels).max() / len(labels)),
        "own colours": metrics.proportion(probe(plain, labels)),
        "colours of mll": metrics.proportion(probe(matched, labels)),
    }
    say(1.0)
    return figures


@torch.inference_mode()
def features(bundle: Bundle, images: Sequence[RgbImage]) -> Floats:
    """(N, D) what the last layer of the classifier sees."""
    classer = bundle.classes
    rows = []
    for start in range(0, len(images), classer.config.batch):
        part = np.stack([classer.fit(image) for image in images[start : start + classer.config.batch]])
        batch = torch.from_numpy(part).to(classer.device).permute(0, 3, 1, 2).float() / 255
        rows.append(classer.model.features(batch).double().cpu().numpy())
    return np.concatenate(rows)


def probe(table: Floats, labels: NDArray[np.int64], ridge: float = 10.0) -> NDArray[np.bool_]:
    """Whether a ridge classifier fitted on half of the rows is right about each of the other half."""
    order = np.random.default_rng(1).permutation(len(table))
    learn, judge = order[: len(order) // 2], order[len(order) // 2 :]
    centred = (table - table[learn].mean(0)) / (table[learn].std(0) + 1e-9)
    x = np.column_stack([centred, np.ones(len(table))])
    targets = np.eye(int(labels.max()) + 1)[labels[learn]]
    weights = np.linalg.solve(x[learn].T @ x[learn] + ridge * np.eye(x.shape[1]), x[learn].T @ targets)
    return np.asarray((x[judge] @ weights).argmax(1) == labels[judge], dtype=bool)


def _each(crops: Crops, codes: Sequence[str], most: int = EACH) -> Crops:
    """At most so many cells of each of these codes."""
    keep = np.zeros(len(crops), dtype=bool)
    labels = np.array(crops.codes)
    for code in codes:
        keep[np.flatnonzero(labels == code)[:most]] = True
    return crops.subset(keep)
