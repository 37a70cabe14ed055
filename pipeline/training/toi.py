"""Stage 2: TCNet on tiles, cross-entropy on the joint decision and on both branches (Zhou et al. 2025).

Beside the labelled tiles, countable ones are spoiled on purpose (out of focus, overstained, blank) and then count as
not countable, so that the faults are learnt as faults whatever the stain.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import TrainingError
from pipeline.models.tcnet import TCNet, contour_target
from pipeline.training.augment import Augmentation, gaussian_blur, recolour
from pipeline.training.loop import Batch, Progress, Schedule, fit, quiet
from pipeline.training.synthetic import Tiles


@dataclass(frozen=True, slots=True, kw_only=True)
class ToiConfig:
    """`spoil` is the share of countable tiles spoiled in each batch."""

    width: int = 24
    spoil: float = 0.25
    contour_weight: float = 0.2
    stain: Augmentation = field(
        default_factory=lambda: Augmentation(stain=0.25, brightness=0.1, hue=0.6, saturation=0.6, borrow=0.0, blur=0.0)
    )
    schedule: Schedule = field(
        default_factory=lambda: Schedule(epochs=12, learning_rate=2e-3, batch=16, weight_decay=1e-3, ema=0.98)
    )


def new_network(config: ToiConfig) -> TCNet:
    """A seeded, untrained TCNet."""
    torch.manual_seed(config.schedule.seed)
    return TCNet(width=config.width)


def train_toi(
    model: nn.Module,
    train: Tiles,
    config: ToiConfig,
    folder: Path,
    *,
    validation: Tiles | None = None,
    progress: Progress = quiet,
) -> nn.Module:
    """Train in place; countable and other tiles are drawn equally often. A TCNet's branches are trained too.

    Raises
    ------
    TrainingError
        The tiles are all of one kind.
    """
    if train.countable.all() or not train.countable.any():
        raise TrainingError("the tiles are all of one kind; give countable and other ones")
    schedule = config.schedule
    steps = max(1, len(train.images) // schedule.batch)
    share = train.countable.mean()
    weights = torch.from_numpy(np.where(train.countable, 0.6 / share, 0.4 / (1 - share)))

    def batches(epoch: int) -> Iterable[Batch]:
        generator = torch.Generator().manual_seed(schedule.seed * 10_000 + epoch)
        drawn = torch.multinomial(weights, steps * schedule.batch, replacement=True, generator=generator)
        for chosen in drawn.view(steps, schedule.batch).numpy():
            images = torch.from_numpy(train.images[chosen]).permute(0, 3, 1, 2).float() / 255
            labels = torch.from_numpy(train.countable[chosen]).float()
            images = torch.rot90(images, int(torch.randint(4, (1,), generator=generator)), (2, 3))
            images = recolour(images, config.stain, generator)
            yield spoil(images, labels, config.spoil, generator)

    def loss_of(batch: Batch) -> Tensor:
        images, labels = batch
        if not isinstance(model, TCNet):
            return functional.binary_cross_entropy_with_logits(model(images), labels)
        joint, by_texture, by_contour, outlines = model.branches(images)
        decisions = [functional.binary_cross_entropy_with_logits(v, labels) for v in (joint, by_texture, by_contour)]
        drawn = functional.binary_cross_entropy_with_logits(outlines, contour_target(images))
        return decisions[0] + 0.3 * decisions[1] + 0.3 * decisions[2] + config.contour_weight * drawn

    def validate(current: nn.Module) -> Mapping[str, float]:
        if validation is None:
            return {}
        return {"validation accuracy": float(((scores(current, validation) > 0.5) == validation.countable).mean())}

    settings = {"stage": "toi", **asdict(config), "tiles": len(train.images)}
    groups = [{"params": list(model.parameters())}]
    return fit(model, groups, batches, steps, loss_of, schedule, folder, settings, validate=validate, progress=progress)


@torch.inference_mode()
def scores(model: nn.Module, tiles: Tiles, batch: int = 32) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """(N,) probability of being countable."""
    rows = []
    for start in range(0, len(tiles.images), batch):
        images = torch.from_numpy(tiles.images[start : start + batch]).permute(0, 3, 1, 2).float() / 255
        rows.append(model(images).sigmoid())
    return np.asarray(torch.cat(rows).numpy(), dtype=np.float32)


def spoil(images: Tensor, labels: Tensor, share: float, generator: torch.Generator) -> Batch:
    """Some countable tiles made uncountable: (B, 3, S, S) images in [0, 1] and (B,) labels, both new."""
    images, labels = images.clone(), labels.clone()
    for i in torch.nonzero((labels > 0) & (torch.rand(len(labels), generator=generator) < share))[:, 0].tolist():
        kind = int(torch.randint(4, (1,), generator=generator))
        strength = float(torch.rand(1, generator=generator))
        if kind == 0:
            images[i] = gaussian_blur(images[i : i + 1], 2.0 + 3.0 * strength)[0]
        elif kind == 1:
            images[i] = images[i].clamp(min=0.02) ** (2.6 + 2.0 * strength)
        elif kind == 2:
            background = images[i].flatten(1).quantile(0.95, dim=1).view(3, 1, 1)
            images[i] = background + 0.04 * (1 + strength) * (images[i] - background)
        else:
            images[i] = crowd(images, i, strength)
        labels[i] = 0.0
    return images, labels


def crowd(images: Tensor, index: int, strength: float) -> Tensor:
    """A tile too full: its optical density with that of turned and shifted copies of itself laid over it."""
    density = -torch.log(images[index].clamp(0.02, 1.0))
    base = density.flatten(1).quantile(0.05, dim=1).view(3, 1, 1)
    signal = (density - base).clamp(min=0)
    total = signal.clone()
    for turn in range(1, 3 + round(2 * strength)):
        total = torch.maximum(total, torch.rot90(signal, turn % 4, (1, 2)).roll((37 * turn, 61 * turn), (1, 2)))
    return torch.exp(-(total + base))
