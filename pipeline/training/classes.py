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

from pipeline.models.mae import CellClassifier, CellEncoder, Depthwise, VitEncoder
from pipeline.symmetry import averaged
from pipeline.training.augment import Augmentation, augment, centre
from pipeline.training.datasets import SYNTHETIC, Crops
from pipeline.training.loop import Batch, Progress, Schedule, device, fit, quiet, spread, with_statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassesConfig:
    """Fine-tuning.

    `balance` 0 draws cells as they come, 1 draws every class equally often. `mixup` is the parameter of the Beta
    distribution of the mixing weights (Zhang et al. 2018), 0 for none. `harder` multiplies the colour augmentation of
    synthetic cells, at most: see `colour_strengths`. The depthwise kernels hold few weights and cost a third of the
    time: they stay as ImageNet left them unless `frozen_depthwise` is off.
    """

    label_smoothing: float = 0.05
    mixup: float = 0.2
    harder: float = 2.0
    balance: float = 0.5
    synthetic_share: float = 0.25
    dropout: float = 0.2
    epoch_cells: int | None = None
    frozen_stages: int = 3
    frozen_depthwise: bool = True
    stem_scale: float = 0.4
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(
            scale=0.18, stain=0.1, tone=0.15, hue=0.15, saturation=0.25, brightness=0.1, borrow=0.25, noise=0.02
        )
    )
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
    model = model.to(device()).to(memory_format=torch.channels_last)
    network, size = spread(model), model.encoder.size
    model.dropout.p = config.dropout
    synthetic = np.array([source == SYNTHETIC for source in train.sources], dtype=bool)
    weights = draw_weights(train, config.balance, config.synthetic_share)
    steps = max(1, (config.epoch_cells or len(train)) // schedule.batch)

    def batches(epoch: int) -> Iterable[Batch]:
        generator = torch.Generator().manual_seed(schedule.seed * 10_000 + epoch)
        drawn = torch.multinomial(
            torch.from_numpy(weights), steps * schedule.batch, replacement=True, generator=generator
        )
        for chosen in drawn.view(steps, schedule.batch).numpy():
            harder = colour_strengths(torch.from_numpy(synthetic[chosen]), config.harder, generator)
            views = augment(train.tensor(chosen), size, config.augmentation, generator, harder)
            yield mix(views, torch.from_numpy(train.allowed[chosen]), config.mixup, generator)

    def loss_of(batch: Batch) -> Tensor:
        views, allowed, other, share = batch
        logits = network(views.contiguous(memory_format=torch.channels_last)).float()
        first, second = (partial_cross_entropy(logits, may, config.label_smoothing) for may in (allowed, other))
        return (share * first + (1 - share) * second).mean()

    def validate(_current: nn.Module) -> Mapping[str, float]:
        return {"validation accuracy": accuracy(predict(model, validation), validation)}

    settings = {"stage": "classes", **asdict(config), "cells": len(train), "size": size}
    groups = parameter_groups(model, config)
    fit(model, groups, batches, steps, loss_of, schedule, folder, settings, validate=validate, progress=progress)
    with_statistics(model, batches(schedule.epochs))
    return model


def partial_cross_entropy(logits: Tensor, allowed: Tensor, smoothing: float = 0.0) -> Tensor:
    """-log of the probability of the allowed classes, (B,).

    Parameters
    ----------
    logits
        (B, C).
    allowed
        (B, C) bool, at least one true in each row.

    """
    log_p = logits.log_softmax(1)
    right = log_p.masked_fill(~allowed, -torch.inf).logsumexp(1)
    return -((1 - smoothing) * right + smoothing * log_p.mean(1))


def mix(images: Tensor, allowed: Tensor, alpha: float, generator: torch.Generator) -> Batch:
    """Each image mixed with another of the batch: images, the classes of the first, of the second, the first's share.

    Parameters
    ----------
    images
        (B, 3, S, S).
    allowed
        (B, C) bool.

    """
    share = torch.ones(len(images))
    if alpha > 0:
        seed = int(torch.randint(2**31, (1,), generator=generator))
        share = torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, len(images)).astype(np.float32))
    part = share.view(-1, 1, 1, 1)
    return part * images + (1 - part) * images.flip(0), allowed, allowed.flip(0), share


def draw_weights(crops: Crops, balance: float, synthetic_share: float) -> NDArray[np.float64]:
    """(N,) probabilities of drawing each cell: n_label ** -balance within real and within synthetic cells.

    The label is the data set's own, so that each of the many kinds of `others` is drawn as a class would be.
    """
    keys = [f"{source}|{code}" for source, code in zip(crops.sources, crops.codes, strict=True)]
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    weights = counts[inverse].astype(np.float64) ** -balance
    synthetic = np.array([source == SYNTHETIC for source in crops.sources], dtype=bool)
    if synthetic.any() and not synthetic.all():
        weights[synthetic] *= synthetic_share / weights[synthetic].sum()
        weights[~synthetic] *= (1 - synthetic_share) / weights[~synthetic].sum()
    return np.asarray(weights / weights.sum())


@torch.inference_mode()
def predict(model: CellClassifier, crops: Crops, *, batch: int = 64, turns: int = 1) -> NDArray[np.float32]:
    """(N, 22) logits of the centre crops, averaged over `turns` of 1, 2, 4 or 8 flips and quarter turns."""
    model.eval()
    place = next(model.parameters()).device
    rows = []
    for start in range(0, len(crops), batch):
        images = centre(crops.tensor(range(start, min(start + batch, len(crops)))), model.encoder.size).to(place)
        rows.append(averaged(model, images, turns).cpu())
    return np.asarray(torch.cat(rows).numpy(), dtype=np.float32) if rows else np.zeros((0, 22), np.float32)


def accuracy(logits: NDArray[np.float32], crops: Crops) -> float:
    """Share of cells whose best class is one they may be."""
    return float(crops.allowed[np.arange(len(crops)), logits.argmax(1)].mean()) if len(crops) else 0.0


def fit_temperature(logits: NDArray[np.float32], allowed: NDArray[np.bool_]) -> float:
    """The temperature in [0.3, 5] with the least partial cross-entropy, to 1 %."""
    candidates = np.exp(np.arange(np.log(0.3), np.log(5.0), 0.01))
    given, mask = torch.from_numpy(logits), torch.from_numpy(allowed)
    losses = [float(partial_cross_entropy(given / t, mask).mean()) for t in candidates]
    return float(round(candidates[int(np.argmin(losses))], 3))


def convolutions(model: CellClassifier) -> tuple[nn.Module, ...]:
    """The parts that ImageNet weights can fill; none in a plain ViT."""
    if model.tail is None or isinstance(model.encoder, VitEncoder):
        return ()
    return model.encoder.stem, model.tail


def colour_strengths(synthetic: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """(B,) factors of the colour augmentation: 1 for real cells; for synthetic ones 1 to `most`, smaller ones oftener.

    Synthetic cells need more, lest their paint be learnt. But were all of them strangely coloured, a natural colour
    would mean a real cell, and so one of the classes that have any.
    """
    drawn = torch.rand(synthetic.shape, generator=generator) ** 2
    return torch.where(synthetic, 1 + (most - 1) * drawn, 1.0)


def parameter_groups(model: CellClassifier, config: ClassesConfig) -> list[dict[str, Any]]:
    """What learns, for `loop.fit`: the convolutions at `stem_scale` of the rate, the rest; all else is frozen."""
    _freeze(model, config)
    pretrained = [p for part in convolutions(model) for p in part.parameters() if p.requires_grad]
    known = {id(p) for p in pretrained}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    return [{"params": pretrained, "scale": config.stem_scale}, {"params": rest}]


def _freeze(model: CellClassifier, config: ClassesConfig) -> None:
    model.requires_grad_(True)
    if config.frozen_stages and isinstance(model.encoder, CellEncoder):
        stem = model.encoder.stem
        for part in (stem.conv_stem, stem.bn1, *stem.blocks[: config.frozen_stages]):
            part.requires_grad_(False)
    for part in model.modules():
        if isinstance(part, Depthwise):
            part.requires_grad_(not config.frozen_depthwise)
