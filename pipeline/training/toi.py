"""Stage 2: TCNet on tiles, cross-entropy on the joint decision and on both branches (Zhou et al. 2025).

Where a tile is unfit is learnt too, from tiles of which that is known. Beside the labelled tiles, countable ones are
spoiled on purpose (`phantom.faults`) and then count as not countable, so that the faults are learnt as faults whatever
the stain and the source.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import binary_cross_entropy_with_logits as bce_with_logits

from pipeline.errors import TrainingError
from pipeline.models.tcnet import TCNet, contour_target
from pipeline.phantom.faults import TILE_FAULTS, with_fault
from pipeline.tiles import TILE_UM
from pipeline.training.augment import Augmentation, recolour
from pipeline.training.loop import Batch, Progress, Schedule, fit, quiet
from pipeline.training.synthetic import Tiles


@dataclass(frozen=True, slots=True, kw_only=True)
class ToiConfig:
    """`spoil` is the share of countable tiles spoiled in each batch, `mirror` of those cut and reflected.

    `partly` is the share of the faults that cover a part of their tile only.
    `piled_up` lays tiles over themselves too. Where the tiles are sparse, that still gives countable ones.
    """

    width: int = 24
    spoil: float = 0.45
    mirror: float = 0.4
    partly: float = 0.5
    piled_up: bool = False
    contour_weight: float = 0.2
    unfit_weight: float = 1.0
    stain: Augmentation = field(
        default_factory=lambda: Augmentation(stain=0.08, brightness=0.15, hue=0.8, saturation=0.6, borrow=0.0, blur=0.0)
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
            unfit = functional.interpolate(torch.from_numpy(train.unfit[chosen]), images.shape[2:])
            layers = torch.cat([images, unfit], dim=1)
            layers = torch.rot90(layers, int(torch.randint(4, (1,), generator=generator)), (2, 3))
            layers = mirror(layers, labels, config.mirror, generator)
            images, unfit, labels = spoil(layers[:, :3], layers[:, 3:], labels, config, generator)
            yield recolour(images, config.stain, generator), unfit, labels

    def loss_of(batch: Batch) -> Tensor:
        images, unfit, labels = batch
        if not isinstance(model, TCNet):
            return bce_with_logits(model(images), labels)
        said = model.branches(images)
        decision = bce_with_logits(said.joint, labels)
        branches = bce_with_logits(said.texture, labels) + bce_with_logits(said.contour, labels)
        outlines = bce_with_logits(said.outlines, contour_target(images))
        places = masked_bce(said.unfit, functional.avg_pool2d(unfit, unfit.shape[3] // said.unfit.shape[3]))
        return decision + 0.3 * branches + config.contour_weight * outlines + config.unfit_weight * places

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


def masked_bce(logits: Tensor, target: Tensor) -> Tensor:
    """The mean over the places whose target is known, not NaN; 0 without any."""
    known = ~target.isnan()
    losses = bce_with_logits(logits, target.nan_to_num(), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def spoil(images: Tensor, unfit: Tensor, labels: Tensor, config: ToiConfig, generator: torch.Generator) -> Batch:
    """Some countable tiles made uncountable.

    Parameters
    ----------
    images
        (B, 3, S, S) in [0, 1].
    unfit
        (B, 2, S, S), see `Tiles`.
    labels
        (B,).

    Returns
    -------
    The three anew.

    """
    images, unfit, labels = images.clone(), unfit.clone(), labels.clone()
    mpp = TILE_UM / images.shape[3]
    faults = [fault for fault in TILE_FAULTS if config.piled_up or fault != "piled up"]
    for i in torch.nonzero((labels > 0) & (torch.rand(len(labels), generator=generator) < config.spoil))[:, 0].tolist():
        fault = faults[int(torch.randint(len(faults), (1,), generator=generator))]
        seed = int(torch.randint(1 << 31, (1,), generator=generator))
        view = (images[i].permute(1, 2, 0) * 255).round().byte().numpy()
        spoilt = torch.from_numpy(with_fault(view, mpp, fault, seed)).permute(2, 0, 1) / 255
        whole = torch.ones(images.shape[2:])
        where = disc(images.shape[3], generator) if torch.rand(1, generator=generator) < config.partly else whole
        images[i] += where * (spoilt - images[i])
        unfit[i, 0] = torch.maximum(unfit[i, 0], where)
        labels[i] = 0.0
    return images, unfit, labels


def disc(side: int, generator: torch.Generator) -> Tensor:
    """(side, side) 1 in a disc of 0.3 to 1 times the side around some place in it, falling to 0 at its soft edge."""
    x, y, size = torch.rand(3, generator=generator)
    place = (torch.arange(side) + 0.5) / side
    away = torch.hypot(place[None, :] - x, place[:, None] - y)
    covered: Tensor = ((0.3 + 0.7 * size - away) / 0.1).clamp(0, 1)
    return covered


def mirror(images: Tensor, labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Some countable tiles cut smaller, enlarged or not, and continued by reflection as tiles at a slide's edge are.

    (B, C, S, S), of any layers.
    """
    images, side = images.clone(), images.shape[3]
    for i in torch.nonzero((labels > 0) & (torch.rand(len(labels), generator=generator) < share))[:, 0].tolist():
        zoom = math.exp(0.5 * float(torch.rand(1, generator=generator)) - 0.25)
        width, height = (round(side * (0.4 + 0.6 * v)) for v in torch.rand(2, generator=generator).tolist())
        cut = random_window(images[i], min(side, round(width / zoom)), min(side, round(height / zoom)), generator)
        scaled = functional.interpolate(cut[None], (height, width), mode="bilinear", antialias=True)[0]
        rows, columns = (_back_and_forth(n, side) for n in (height, width))
        images[i] = scaled[:, rows][:, :, columns]
    return images


def random_window(image: Tensor, width: int, height: int, generator: torch.Generator) -> Tensor:
    """(C, height, width) out of (C, H, W), anywhere."""
    top = int(torch.randint(image.shape[1] - height + 1, (1,), generator=generator))
    left = int(torch.randint(image.shape[2] - width + 1, (1,), generator=generator))
    return image[:, top : top + height, left : left + width]


def _back_and_forth(period: int, length: int) -> Tensor:
    """0, 1, .. period - 1, period - 1, .. 0, 0, 1, .. of a length."""
    place = torch.arange(length) % (2 * period)
    return torch.minimum(place, 2 * period - 1 - place)
