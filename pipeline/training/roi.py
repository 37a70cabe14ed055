"""Stage 1: TextureUNet on thumbnails, cross-entropy + Dice, Adam 1e-4, batch 4 (Zhou et al. 2025)."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import TrainingError
from pipeline.models.texture_unet import TextureUNet
from pipeline.training.augment import Augmentation, recolour
from pipeline.training.loop import Batch, Progress, Schedule, fit, quiet
from pipeline.training.synthetic import Thumbnails


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiConfig:
    """Published optimiser and losses; the rate is higher because our network and set are small."""

    width: int = 12
    stain: Augmentation = field(default_factory=lambda: Augmentation(stain=0.25, brightness=0.08, hue=0.5, blur=0.2))
    schedule: Schedule = field(
        default_factory=lambda: Schedule(epochs=40, learning_rate=2e-3, batch=4, weight_decay=1e-4)
    )


def train_roi(
    model: nn.Module,
    train: Thumbnails,
    config: RoiConfig,
    folder: Path,
    *,
    validation: Thumbnails | None = None,
    progress: Progress = quiet,
) -> nn.Module:
    """Train in place on (N, 256, 256) thumbnails; the loss counts only pixels of the slide.

    Raises
    ------
    TrainingError
        No thumbnail has a region.
    """
    if not train.masks.any():
        raise TrainingError("no thumbnail has a region of interest; give slides with one")
    schedule = config.schedule
    steps = max(1, len(train.images) // schedule.batch)

    def batches(epoch: int) -> Iterable[Batch]:
        generator = torch.Generator().manual_seed(schedule.seed * 10_000 + epoch)
        order = torch.randperm(len(train.images), generator=generator).numpy()
        for step in range(steps):
            chosen = order[step * schedule.batch : (step + 1) * schedule.batch]
            images, masks, inside = tensors(train, chosen)
            yield _turn(_recolour_inside(images, inside, config.stain, generator), masks, inside, generator)

    def loss_of(batch: Batch) -> Tensor:
        return region_loss(model(batch[0]), batch[1], batch[2])

    def validate(current: nn.Module) -> Mapping[str, float]:
        return {"validation Dice": dice(current, validation)} if validation is not None else {}

    settings = {"stage": "roi", **asdict(config), "thumbnails": len(train.images)}
    groups = [{"params": list(model.parameters())}]
    return fit(model, groups, batches, steps, loss_of, schedule, folder, settings, validate=validate, progress=progress)


def new_network(config: RoiConfig) -> TextureUNet:
    """A seeded, untrained TextureUNet."""
    torch.manual_seed(config.schedule.seed)
    return TextureUNet(width=config.width)


def region_loss(logits: Tensor, masks: Tensor, inside: Tensor) -> Tensor:
    """Binary cross-entropy plus one minus Dice, over the slide's own pixels. All (B, 1, S, S)."""
    cross = functional.binary_cross_entropy_with_logits(logits, masks, weight=inside, reduction="sum") / inside.sum()
    p = logits.sigmoid() * inside
    overlap = (p * masks).sum((1, 2, 3))
    return cross + 1 - ((2 * overlap + 1) / (p.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)).mean()


def tensors(
    thumbnails: Thumbnails, chosen: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[Tensor, Tensor, Tensor]:
    """(B, 3, S, S) images, and (B, 1, S, S) masks and slide areas, float."""
    images = torch.from_numpy(thumbnails.images[chosen]).permute(0, 3, 1, 2).float() / 255
    masks = torch.from_numpy(thumbnails.masks[chosen])[:, None].float()
    return images, masks, torch.from_numpy(thumbnails.inside[chosen])[:, None].float()


@torch.inference_mode()
def dice(model: nn.Module, thumbnails: Thumbnails) -> float:
    """Mean Dice at 0.5."""
    values = []
    for i in range(len(thumbnails.images)):
        image, mask, inside = tensors(thumbnails, np.array([i]))
        found = (model(image).sigmoid() > 0.5) & (inside > 0)
        values.append(float(2 * (found & (mask > 0)).sum() / (found.sum() + mask.sum()).clamp(min=1)))
    return float(np.mean(values))


def _recolour_inside(images: Tensor, inside: Tensor, strength: Augmentation, generator: torch.Generator) -> Tensor:
    return recolour(images, strength, generator) * inside


def _turn(images: Tensor, masks: Tensor, inside: Tensor, generator: torch.Generator) -> Batch:
    """One flip or turn for the whole batch: tails point anywhere."""
    both = torch.cat([images, masks, inside], dim=1)
    turns = int(torch.randint(4, (1,), generator=generator))
    both = torch.rot90(both, turns, (2, 3))
    if torch.rand(1, generator=generator) < 0.5:
        both = both.flip(3)
    return both[:, :3], both[:, 3:4], both[:, 4:5]
