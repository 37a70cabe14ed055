"""Active learning: which unlabelled cells are worth an expert's minute."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.bundle import Bundle
from pipeline.classify import classify_crop
from pipeline.domain import CELL_CLASSES
from pipeline.image import read_image


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One cell: its file, the model's class, how sure it is, and its worth, 0..1."""

    path: Path
    class_name: str
    probability: float
    worth: float


def suggest(paths: Sequence[Path], mpp: float | None, bundle: Bundle, most: int = 100) -> tuple[Suggestion, ...]:
    """The `most` cells to label first: small margin between the two best classes, spread over predicted classes."""
    table = np.array([classify_crop(read_image(path), mpp, bundle) for path in paths]).reshape(-1, len(CELL_CLASSES))
    return tuple(
        Suggestion(
            path=paths[i],
            class_name=CELL_CLASSES[int(table[i].argmax())],
            probability=round(float(table[i].max()), 4),
            worth=round(float(1 - margin(table)[i]), 4),
        )
        for i in rank(table)[:most]
    )


def margin(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) best minus second-best probability of (N, 22)."""
    two = np.sort(table, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


def rank(table: NDArray[np.float64]) -> list[int]:
    """Rows by ascending margin, drawn in turn from each predicted class so that no one class fills the list."""
    queues: dict[int, list[int]] = {}
    margins = margin(table)
    for i in sorted(range(len(table)), key=lambda i: (margins[i], i)):
        queues.setdefault(int(table[i].argmax()), []).append(i)
    order: list[int] = []
    while any(queues.values()):
        heads = sorted((queue for queue in queues.values() if queue), key=lambda queue: margins[queue[0]])
        order += [queue.pop(0) for queue in heads]
    return order
