"""The figures of Zhou et al. 2025 as plain functions of arrays."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.domain import CELL_CLASSES, Box

Floats = NDArray[np.float64]


def wilson(share: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % limits of a proportion found in `n` independent cases (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def proportion(hits: NDArray[np.bool_] | Sequence[bool]) -> dict[str, float]:
    """The share of true ones with its number and 95 % limits; NaN of none."""
    values = np.asarray(hits, dtype=bool)
    value = float(values.mean()) if len(values) else math.nan
    low, high = wilson(value, len(values)) if len(values) else (0.0, 1.0)
    return {"value": value, "n": float(len(values)), "low": low, "high": high}


def mask_scores(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    """IoU, Dice and pixel accuracy of two masks of one shape."""
    both, either = int((found & truth).sum()), int((found | truth).sum())
    total = int(found.sum()) + int(truth.sum())
    return {
        "iou": both / either if either else 1.0,
        "dice": 2 * both / total if total else 1.0,
        "pixel_accuracy": float((found == truth).mean()),
    }


def decision_scores(probability: Floats, truth: NDArray[np.bool_], threshold: float = 0.5) -> dict[str, float]:
    """Accuracy, AUROC, precision, recall and F1 of a yes-or-no decision; AUROC is NaN with one kind only."""
    found = probability >= threshold
    hits = int((found & truth).sum())
    precision = hits / int(found.sum()) if found.any() else 0.0
    recall = hits / int(truth.sum()) if truth.any() else 0.0
    return {
        "n": float(len(truth)),
        "accuracy": float((found == truth).mean()),
        "auroc": auroc(probability, truth),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
    }


def auroc(score: Floats, truth: NDArray[np.bool_]) -> float:
    """Area under the receiver operating characteristic: the chance that a true one scores above a false one."""
    if truth.all() or not truth.any():
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = int(truth.sum())
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * (len(truth) - positives)))


def box_iou(a: Sequence[Box], b: Sequence[Box]) -> Floats:
    """(len(a), len(b)) intersection over union."""
    first = np.array([(v.x0, v.y0, v.x1, v.y1) for v in a], dtype=np.float64).reshape(-1, 1, 4)
    second = np.array([(v.x0, v.y0, v.x1, v.y1) for v in b], dtype=np.float64).reshape(1, -1, 4)
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    both = sides.clip(0).prod(-1)
    areas = [(v[..., 2:] - v[..., :2]).prod(-1) for v in (first, second)]
    return np.asarray(both / np.maximum(areas[0] + areas[1] - both, 1e-9))


def best_overlaps(truth: Sequence[Box], found: Sequence[Box]) -> Floats:
    """(len(truth),) the best IoU any found box has with each true one."""
    return box_iou(truth, found).max(axis=1) if truth and found else np.zeros(len(truth))


def reliability(probability: Floats, right: NDArray[np.bool_], bins: int = 15) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and number of cells in each occupied of equal bins of confidence."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    return [
        (float(probability[own].mean()), float(right[own].mean()), int(own.sum()))
        for own in (place == i for i in range(bins))
        if own.any()
    ]


def calibration_error(probability: Floats, right: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over equal bins of confidence."""
    rows = reliability(probability, right, bins)
    return sum(abs(confidence - accuracy) * n for confidence, accuracy, n in rows) / max(1, len(right))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassReport:
    """How well N cells were classed. `confusion` is (K, 22): true group by predicted class."""

    n: int
    accuracy: float
    calibration_error: float
    per_group: Mapping[str, Mapping[str, float]]
    groups: tuple[str, ...]
    confusion: NDArray[np.int64]


def class_report(probabilities: Floats, allowed: NDArray[np.bool_], groups: Sequence[str]) -> ClassReport:
    """Judge (N, 22) probabilities against (N, 22) allowed classes; `groups` names each cell's true group.

    Precision of a group counts, among all cells predicted as any of its classes, those of the group.
    """
    best = probabilities.argmax(1)
    right = allowed[np.arange(len(best)), best]
    names = tuple(sorted(set(groups)))
    labels = np.array(groups)
    confusion = np.zeros((len(names), len(CELL_CLASSES)), dtype=np.int64)
    per_group = {}
    for row, name in enumerate(names):
        own = labels == name
        np.add.at(confusion[row], best[own], 1)
        classes = allowed[own].any(0)
        called = classes[best]
        hits = int((right & own).sum())
        recall = hits / int(own.sum())
        precision = int((called & right).sum()) / int(called.sum()) if called.any() else 0.0
        score = probabilities[:, classes].sum(1)
        per_group[name] = {
            "n": float(own.sum()),
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
            "auroc": auroc(score, np.asarray(allowed[:, classes].any(1), dtype=bool)),
        }
    return ClassReport(
        n=len(best),
        accuracy=float(right.mean()),
        calibration_error=calibration_error(probabilities.max(1), right),
        per_group=per_group,
        groups=names,
        confusion=confusion,
    )


def pearson(a: Floats, b: Floats) -> float:
    """Correlation; NaN where one side does not vary."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() and b.std() else float("nan")


def concordance(a: Floats, b: Floats) -> float:
    """Lin's concordance correlation coefficient."""
    spread = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    return float(2 * ((a - a.mean()) * (b - b.mean())).mean() / spread) if spread else float("nan")


def bland_altman(a: Floats, b: Floats) -> dict[str, float]:
    """Bias of a - b and its 95 % limits of agreement."""
    gap = a - b
    reach = 1.96 * float(gap.std(ddof=1)) if len(gap) > 1 else float("nan")
    return {"bias": float(gap.mean()), "low": float(gap.mean()) - reach, "high": float(gap.mean()) + reach}
