"""Stage 3: SAM's mask decoder learns to return the whole cell around a nucleus; the encoder stays frozen.

Zhou et al. 2025 fine-tune the decoder alone with the cell's centre as prompt, Dice and cross-entropy. Here the prompts
are those of `prompted` mode: nuclei found by stain, their boxes and centres, shaken a little. Embeddings are computed
once per field.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.cells import CellSegmenter, window_corners
from pipeline.domain import RgbImage
from pipeline.errors import TrainingError
from pipeline.models.sam import PromptDecoder
from pipeline.nuclei import find_nuclei
from pipeline.prompts import prompt_box
from pipeline.training.augment import Augmentation, recolour
from pipeline.training.loop import Batch, Progress, Schedule, fit, quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class CellsTraining:
    """`keep` weighs how far the weights may move from the released ones."""

    window: int = 16
    shake: float = 0.12
    keep: float = 0.0
    stains: int = 2
    stain: Augmentation = field(
        default_factory=lambda: Augmentation(stain=0.2, tone=0.6, hue=0.4, saturation=0.5, blur=0.0)
    )
    schedule: Schedule = field(default_factory=lambda: Schedule(epochs=6, learning_rate=1e-4, batch=8, seed=1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompts:
    """What the decoder is trained on.

    `embeddings` (F, 256, 64, 64) float16; `fields` (N,) which of them; `points` (N, 2) and `boxes` (N, 4) in pixels of
    the 1024-pixel input; `numbers` (N,) the instance in `labels` (F, 256, 256).
    """

    embeddings: NDArray[np.float16]
    labels: NDArray[np.int32]
    fields: NDArray[np.int64]
    points: NDArray[np.float32]
    boxes: NDArray[np.float32]
    numbers: NDArray[np.int64]


def gather(
    fields: Sequence[tuple[RgbImage, NDArray[np.integer[Any]]]],
    segmenter: CellSegmenter,
    config: CellsTraining,
    progress: Progress = quiet,
) -> Prompts:
    """Embed fields in several stains and pair each nucleus with the cell it lies in.

    Parameters
    ----------
    fields
        (1024, 1024, 3) images at the segmenter's resolution with (1024, 1024) instance labels.

    Raises
    ------
    TrainingError
        A label image has another size than its image, or no nucleus lies in a labelled cell.
    """
    generator = torch.Generator().manual_seed(config.schedule.seed)
    embeddings: list[NDArray[np.float16]] = []
    rows: list[tuple[float, ...]] = []
    for number, (image, labels) in enumerate(fields):
        if labels.shape != image.shape[:2]:
            raise TrainingError(
                f"field {number}: mask of {labels.shape}, image of {image.shape[:2]}; give masks of equal size"
            )
        for turn in range(config.stains):
            view = image if turn == 0 else _restain(image, config.stain, generator)
            for nucleus in find_nuclei(view, segmenter.mpp, segmenter.config.nuclei):
                x, y = (min(int(v), 1023) for v in nucleus.centre)
                if labels[y, x]:
                    box = prompt_box(nucleus.box, segmenter.config.widen)
                    rows.append((len(embeddings), *nucleus.centre, *box, int(labels[y, x])))
            embeddings.append(segmenter.embed(view, segmenter.mpp).cpu().numpy()[0].astype(np.float16))
        progress((number + 1) / len(fields), "embedding")
    if not rows:
        raise TrainingError("no nucleus lies in a labelled cell; check that masks and images belong together")
    table = np.array(rows, dtype=np.float64)
    small = [labels[2::4, 2::4] for _, labels in fields for _ in range(config.stains)]
    return Prompts(
        embeddings=np.stack(embeddings),
        labels=np.stack(small),
        fields=table[:, 0].astype(np.int64),
        points=table[:, 1:3].astype(np.float32),
        boxes=table[:, 3:7].astype(np.float32),
        numbers=table[:, 7].astype(np.int64),
    )


def train_cells(
    decoder: PromptDecoder, train: Prompts, config: CellsTraining, folder: Path, progress: Progress = quiet
) -> PromptDecoder:
    """Fine-tune the mask decoder in place; prompt encoder and image encoder keep their weights."""
    decoder.prompt_encoder.requires_grad_(False)
    released = [p.detach().clone() for p in decoder.mask_decoder.parameters()]
    schedule = config.schedule
    plan = len(_batches_of(train, schedule.batch, torch.Generator().manual_seed(0)))

    def batches(epoch: int) -> Iterable[Batch]:
        generator = torch.Generator().manual_seed(schedule.seed * 10_000 + epoch)
        for chosen in _batches_of(train, schedule.batch, generator):
            yield _batch(train, chosen, config, generator)

    def loss_of(batch: Batch) -> Tensor:
        embedding, corners, points, boxes, target = batch
        logits, quality = decoder.decode_windows(embedding, corners, config.window, points, boxes)
        loss = mask_loss(logits, quality, target)
        if config.keep:
            moved = zip(decoder.mask_decoder.parameters(), released, strict=True)
            loss = loss + config.keep * torch.stack([((p - q) ** 2).sum() for p, q in moved]).sum()
        return loss

    settings: Mapping[str, object] = {"stage": "cells", **asdict(config), "prompts": len(train.numbers)}
    groups = [{"params": [p for p in decoder.parameters() if p.requires_grad]}]
    fit(decoder, groups, batches, plan, loss_of, schedule, folder, settings, progress=progress)
    return decoder


def mask_loss(logits: Tensor, quality: Tensor, target: Tensor) -> Tensor:
    """Dice + cross-entropy of (B, h, w) masks, and the squared error of the (B,) predicted IoU."""
    cross = functional.binary_cross_entropy_with_logits(logits, target)
    p = logits.sigmoid()
    overlap = (p * target).sum((1, 2))
    dice = 1 - ((2 * overlap + 1) / (p.sum((1, 2)) + target.sum((1, 2)) + 1)).mean()
    found = logits.detach() > 0
    both, either = (found & (target > 0)).sum((1, 2)), (found | (target > 0)).sum((1, 2)).clamp(min=1)
    return cross + dice + functional.mse_loss(quality, both / either)


def _batches_of(train: Prompts, batch: int, generator: torch.Generator) -> list[NDArray[np.int64]]:
    """Batches within one field each, in mixed order; what does not fill a batch waits for the next epoch."""
    parts: list[NDArray[np.int64]] = []
    for number in range(len(train.embeddings)):
        own = np.flatnonzero(train.fields == number)
        own = own[torch.randperm(len(own), generator=generator).numpy()]
        parts += [own[i : i + batch] for i in range(0, len(own) - batch + 1, batch)]
    return [parts[i] for i in torch.randperm(len(parts), generator=generator).tolist()]


def _batch(train: Prompts, chosen: NDArray[np.int64], config: CellsTraining, generator: torch.Generator) -> Batch:
    number = int(train.fields[chosen[0]])
    boxes, points = torch.from_numpy(train.boxes[chosen]), torch.from_numpy(train.points[chosen])
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    boxes = boxes + (torch.rand(boxes.shape, generator=generator) * 2 - 1) * config.shake * size
    points = points + (torch.rand(points.shape, generator=generator) * 2 - 1) * config.shake * size[:, :2]
    corners = window_corners(points.numpy(), config.window)
    side = 4 * config.window
    target = np.zeros((len(chosen), side, side), dtype=np.float32)
    for row, (cell, (x, y)) in enumerate(zip(train.numbers[chosen], corners * 4, strict=True)):
        target[row] = train.labels[number][y : y + side, x : x + side] == cell
    embedding = torch.from_numpy(train.embeddings[number : number + 1]).float()
    return embedding, torch.from_numpy(corners), points[:, None], boxes, torch.from_numpy(target)


def _restain(image: RgbImage, strength: Augmentation, generator: torch.Generator) -> RgbImage:
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    changed = recolour(pixels, strength, generator)[0].permute(1, 2, 0)
    return np.asarray((changed * 255).round().byte().numpy(), dtype=np.uint8)
