"""Leave one source out: what a classifier is worth on cells of a centre it has never seen.

The cells of one source (a folder given to training: one laboratory's stain, scanner and habits) are classed by a model
trained on the others, and on synthetic cells where there are any. Only classes that real cells of both sides name
without doubt are asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.domain import CELL_CLASSES
from pipeline.errors import TrainingError
from pipeline.models.mae import CellClassifier
from pipeline.training.classes import ClassesConfig, predict, train_classes
from pipeline.training.datasets import SYNTHETIC, Crops
from pipeline.training.loop import Progress, quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Figures on the test split of a source left out: over all 22 classes, and choosing among the shared ones."""

    source: str
    trained_on: int
    tested_on: int
    accuracy: float
    accuracy_among_shared: float
    recall: dict[str, float]


def leave_one_source_out(
    crops: Crops, start: Callable[[], CellClassifier], config: ClassesConfig, folder: Path, progress: Progress = quiet
) -> tuple[LeftOut, ...]:
    """Train once without each real source and test on it.

    Parameters
    ----------
    start
        Gives an untrained model.

    Raises
    ------
    TrainingError
        There is one source only, or no class is shared.

    """
    sources = sorted(set(crops.sources) - {SYNTHETIC})
    if len(sources) < 2:
        raise TrainingError(f"cells of {', '.join(sources) or 'no real source'} only; give folders of two sources")
    return tuple(_without(source, crops, start(), config, folder / f"without-{source}", progress) for source in sources)


def _without(
    source: str, crops: Crops, model: CellClassifier, config: ClassesConfig, folder: Path, progress: Progress
) -> LeftOut:
    own = np.array([name == source for name in crops.sources], dtype=bool)
    drawn = np.array([name == SYNTHETIC for name in crops.sources], dtype=bool)
    certain = crops.allowed.sum(1) == 1
    shared = crops.allowed[own & certain].any(0) & crops.allowed[~own & ~drawn & certain].any(0)
    rest = crops.subset(~own)
    train, validation = rest.part("train"), rest.part("validation")
    tested = crops.subset(own & certain & crops.allowed[:, shared].any(1)).part("test")
    if not (len(tested) and len(train)):
        raise TrainingError(f"{source}: no class of it is also in the other sources; give sources that share classes")
    train_classes(model, train, validation, config, folder, progress)
    logits, truth = predict(model, tested, turns=8), tested.allowed.argmax(1)
    right = logits.argmax(1) == truth
    return LeftOut(
        source=source,
        trained_on=len(train),
        tested_on=len(tested),
        accuracy=float(right.mean()),
        accuracy_among_shared=float((np.where(shared, logits, -np.inf).argmax(1) == truth).mean()),
        recall={CELL_CLASSES[i]: float(right[truth == i].mean()) for i in np.unique(truth)},
    )
