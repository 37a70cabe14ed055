"""Stage 4, second half: the encoder fine-tuned to class cells, then its confidence calibrated.

A cell whose label is coarser than our classes (an erythroblast of unnamed stage) is trained with the sum over the
classes it may be. The temperature is fitted on the validation split (Guo et al. 2017), because the review rules of
the method read the probabilities.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.classify import symmetries
from pipeline.models.mae import CellClassifier
from pipeline.training.augment import Augmentation, augment, centre
from pipeline.training.datasets import CROP_SIDE, Crops
from pipeline.training.loop import Batch, Progress, Schedule, fit, quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassesConfig:
    """Fine-tuning. `balance` 0 draws cells as they come, 1 draws every class equally often."""

    label_smoothing: float = 0.05
    balance: float = 0.5
    synthetic_share: float = 0.25
    epoch_cells: int | None = None
    frozen_stages: int = 2
    stem_scale: float = 0.4
    augmentation: Augmentation = field(default_factory=Augmentation)
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            epochs=12, learning_rate=1e-3, batch=32, weight_decay=0.05, warmup=0.1, ema=0.998
        )
    )


def train_classes(
    model: CellClassifier,
    train: Crops,
    validation: Crops,
    config: ClassesConfig,
    folder: Path,
    progress: Progress = quiet,
) -> CellClassifier:
    """Fine-tune in place; returns the averaged weights."""
    schedule = config.schedule
    _freeze(model, config.frozen_stages)
    weights = draw_weights(train, config.balance, config.synthetic_share)
    steps = max(1, (config.epoch_cells or len(train)) // schedule.batch)

    def batches(epoch: int) -> Iterable[Batch]:
        generator = torch.Generator().manual_seed(schedule.seed * 10_000 + epoch)
        drawn = torch.multinomial(
            torch.from_numpy(weights), steps * schedule.batch, replacement=True, generator=generator
        )
        for chosen in drawn.view(steps, schedule.batch).numpy():
            views = augment(train.tensor(chosen), CROP_SIDE, config.augmentation, generator)
            yield views, torch.from_numpy(train.allowed[chosen])

    def loss_of(batch: Batch) -> Tensor:
        return partial_cross_entropy(
            model(batch[0].contiguous(memory_format=torch.channels_last)), batch[1], config.label_smoothing
        )

    def validate(current: nn.Module) -> Mapping[str, float]:
        return {"validation accuracy": accuracy(predict(current, validation), validation)}

    settings = {"stage": "classes", **asdict(config), "cells": len(train)}
    model = model.to(memory_format=torch.channels_last)
    stem = [p for p in model.encoder.stem.parameters() if p.requires_grad]
    known = {id(p) for p in stem}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    groups: list[dict[str, Any]] = [{"params": stem, "scale": config.stem_scale}, {"params": rest}]
    fit(model, groups, batches, steps, loss_of, schedule, folder, settings, validate=validate, progress=progress)
    return model


def partial_cross_entropy(logits: Tensor, allowed: Tensor, smoothing: float = 0.0) -> Tensor:
    """-log of the probability of the allowed classes, mean over the batch.

    Parameters
    ----------
    logits
        (B, C).
    allowed
        (B, C) bool, at least one true in each row.

    """
    log_p = logits.log_softmax(1)
    right = log_p.masked_fill(~allowed, -torch.inf).logsumexp(1)
    return -((1 - smoothing) * right + smoothing * log_p.mean(1)).mean()


def draw_weights(crops: Crops, balance: float, synthetic_share: float) -> NDArray[np.float64]:
    """(N,) probabilities of drawing each cell: n_class ** -balance within real and within synthetic cells."""
    keys = [
        "|".join((source, *map(str, np.flatnonzero(row))))
        for source, row in zip(crops.sources, crops.allowed, strict=True)
    ]
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    weights = counts[inverse].astype(np.float64) ** -balance
    synthetic = np.array([source == "phantom" for source in crops.sources], dtype=bool)
    if synthetic.any() and not synthetic.all():
        weights[synthetic] *= synthetic_share / weights[synthetic].sum()
        weights[~synthetic] *= (1 - synthetic_share) / weights[~synthetic].sum()
    return np.asarray(weights / weights.sum())


@torch.inference_mode()
def predict(model: nn.Module, crops: Crops, *, batch: int = 64, turns: int = 1) -> NDArray[np.float32]:
    """(N, 22) logits of the centre crops, averaged over `turns` of 1, 2, 4 or 8 flips and quarter turns."""
    model.eval()
    rows = []
    for start in range(0, len(crops), batch):
        images = centre(crops.tensor(range(start, min(start + batch, len(crops)))), CROP_SIDE)
        rows.append(torch.stack([model(view) for view in symmetries(images, turns)]).mean(0))
    return np.asarray(torch.cat(rows).numpy(), dtype=np.float32) if rows else np.zeros((0, 22), np.float32)


def accuracy(logits: NDArray[np.float32], crops: Crops) -> float:
    """Share of cells whose best class is one they may be."""
    return float(crops.allowed[np.arange(len(crops)), logits.argmax(1)].mean()) if len(crops) else 0.0


def fit_temperature(logits: NDArray[np.float32], allowed: NDArray[np.bool_]) -> float:
    """The temperature in [0.3, 5] with the least partial cross-entropy, to 1 %."""
    candidates = np.exp(np.arange(np.log(0.3), np.log(5.0), 0.01))
    given, mask = torch.from_numpy(logits), torch.from_numpy(allowed)
    losses = [float(partial_cross_entropy(given / t, mask)) for t in candidates]
    return float(round(candidates[int(np.argmin(losses))], 3))


def _freeze(model: CellClassifier, stages: int) -> None:
    model.encoder.stem.requires_grad_(True)
    if stages:
        for part in (model.encoder.stem.conv_stem, model.encoder.stem.bn1, *model.encoder.stem.blocks[:stages]):
            part.requires_grad_(False)
