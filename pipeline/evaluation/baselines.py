"""`evaluate baselines`: published networks and ours, trained on the same data, steps, optimiser and augmentation.

What is compared is how much a network learns from little in few steps; the table says how little. The row of each
network is kept as it ends, so that a stopped comparison goes on where it was.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline import metrics
from pipeline.errors import TrainingError
from pipeline.evaluation.rivals import CLASSES, FROM_IMAGENET, REGIONS, TILES, Build, from_imagenet
from pipeline.training import roi, toi
from pipeline.training.augment import Augmentation, augment, centre
from pipeline.training.classes import draw_weights, partial_cross_entropy
from pipeline.training.datasets import CROP_SIDE, Crops
from pipeline.training.loop import Batch, Progress, Schedule, fit, quiet, with_statistics
from pipeline.training.synthetic import Thumbnails, Tiles

Row = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageScale:
    """Side of an image in pixels; optimiser steps and images of each; examples to learn from and to test on.

    An example is a slide (regions, tiles) or a cell of each class and source (classes). Networks named in `skip` are
    left out, where a machine is too small for them.
    """

    side: int
    steps: int
    batch: int
    train: int
    test: int
    learning_rate: float = 1e-3
    threads: int = 2
    skip: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large a comparison is."""

    regions: StageScale
    tiles: StageScale
    classes: StageScale


SCALES: Mapping[str, Scale] = {
    "tiny": Scale(
        regions=StageScale(side=64, steps=1, batch=2, train=2, test=2),
        tiles=StageScale(side=64, steps=2, batch=2, train=1, test=1),
        classes=StageScale(side=64, steps=2, batch=2, train=2, test=1),
    ),
    "small": Scale(
        regions=StageScale(side=128, steps=300, batch=4, train=16, test=6),
        tiles=StageScale(side=96, steps=160, batch=8, train=4, test=2),
        classes=StageScale(side=96, steps=1000, batch=16, train=16, test=24),
    ),
    "large": Scale(
        regions=StageScale(side=256, steps=600, batch=4, train=40, test=10),
        tiles=StageScale(side=224, steps=600, batch=32, train=16, test=6),
        classes=StageScale(side=128, steps=4000, batch=32, train=200, test=30),
    ),
}


def scale_of(
    name: str, *, steps: int | None = None, side: int | None = None, threads: int = 2, skip: Sequence[str] = ()
) -> Scale:
    """A scale by name, its steps, sides and networks changed where given.

    Raises
    ------
    TrainingError
        There is no scale of that name, the side does not suit every network, or one to skip is unknown.
    """
    known = {*REGIONS, *TILES, *CLASSES, *FROM_IMAGENET}
    if unknown := [network for network in skip if network not in known]:
        raise TrainingError(f"no network {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    if name not in SCALES:
        raise TrainingError(f"no scale {name}; there are {', '.join(SCALES)}")
    if side is not None and side % 32:
        raise TrainingError(f"a side of {side} px does not suit every network; give a multiple of 32")

    def changed(scale: StageScale) -> StageScale:
        steps_, side_ = steps or scale.steps, side or scale.side
        return replace(scale, steps=steps_, side=side_, threads=threads, skip=tuple(skip))

    own = SCALES[name]
    return Scale(regions=changed(own.regions), tiles=changed(own.tiles), classes=changed(own.classes))


def compare_regions(
    train: Thumbnails, test: Thumbnails, scale: StageScale, folder: Path, progress: Progress = quiet
) -> dict[str, Row]:
    """IoU, Dice and pixel accuracy of the body-tail junction, mean over the slides of `test`."""
    learn, judge = _shrunk_thumbnails(train, scale.side), _shrunk_thumbnails(test, scale.side)
    config = roi.RoiConfig(schedule=_schedule(scale, len(learn.images)))

    @torch.inference_mode()
    def figures(model: nn.Module) -> Row:
        rows = []
        for i in range(len(judge.images)):
            found = model(roi.tensors(judge, np.array([i]))[0])[0, 0].numpy() > 0
            rows.append(metrics.mask_scores(found[judge.inside[i]], judge.masks[i][judge.inside[i]]))
        return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}

    def fitted(model: nn.Module, place: Path) -> nn.Module:
        return roi.train_roi(model, learn, config, place)

    return _compare(REGIONS, fitted, figures, scale, folder, progress)


def compare_tiles(
    train: Tiles, test: Tiles, scale: StageScale, folder: Path, progress: Progress = quiet
) -> dict[str, Row]:
    """Accuracy, AUROC, precision, recall and F1 of countable tiles."""
    few = train.subset(_some(len(train.images), scale.steps * scale.batch))
    learn, judge = (replace(part, images=_shrunk(part.images, scale.side)) for part in (few, test))
    config = toi.ToiConfig(spoil=0.0, schedule=_schedule(scale, len(learn.images)))

    def figures(model: nn.Module) -> Row:
        return metrics.decision_scores(toi.scores(model, judge).astype(np.float64), judge.countable)

    def fitted(model: nn.Module, place: Path) -> nn.Module:
        return toi.train_toi(model, learn, config, place)

    return _compare(TILES, fitted, figures, scale, folder, progress)


def compare_classes(
    train: Crops,
    tests: Mapping[str, Crops],
    scale: StageScale,
    folder: Path,
    imagenet: Path | None = None,
    progress: Progress = quiet,
) -> dict[str, Row]:
    """Accuracy on each of `tests`, which is named in the row; with `imagenet` also of what can start from there."""
    schedule = _schedule(scale, scale.steps * scale.batch)
    weights = torch.from_numpy(draw_weights(train, 0.5, 0.5))

    def batches(epoch: int) -> Iterable[Batch]:
        generator = torch.Generator().manual_seed(schedule.seed * 10_000 + epoch)
        drawn = torch.multinomial(weights, scale.steps * scale.batch, replacement=True, generator=generator)
        for chosen in drawn.view(scale.steps, scale.batch).numpy():
            views = augment(train.tensor(chosen), CROP_SIDE, Augmentation(), generator)
            yield _small(views, scale.side), torch.from_numpy(train.allowed[chosen])

    def fitted(model: nn.Module, place: Path) -> nn.Module:
        def loss_of(batch: Batch) -> Tensor:
            return partial_cross_entropy(model(batch[0]), batch[1], 0.05).mean()

        groups = [{"params": list(model.parameters())}]
        model = fit(model, groups, batches, scale.steps, loss_of, schedule, place, {"stage": "classes"})
        return with_statistics(model, batches(schedule.epochs))

    def figures(model: nn.Module) -> Row:
        return {name: _accuracy(model, crops, scale.side) for name, crops in tests.items()}

    builds = {**CLASSES, **(from_imagenet(imagenet) if imagenet else {})}
    return _compare(builds, fitted, figures, scale, folder, progress)


def _compare(
    builds: Mapping[str, Build],
    fitted: Callable[[nn.Module, Path], nn.Module],
    figures: Callable[[nn.Module], Row],
    scale: StageScale,
    folder: Path,
    progress: Progress,
) -> dict[str, Row]:
    """Train and judge each network; rows of the same scale already in `folder` are taken from there."""
    rows: dict[str, Row] = {}
    conditions = {key: value for key, value in asdict(scale).items() if key not in ("threads", "skip")}
    for number, (name, build) in enumerate(builds.items()):
        if name in scale.skip:
            continue
        progress(number / len(builds), name)
        place = folder / name.split(" (")[0].replace(" ", "-")
        kept = place / "row.json"
        known: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
        if known.get("scale") != conditions:
            torch.manual_seed(1)
            model = build(scale.side)
            started = time.process_time()
            model = fitted(model, place).eval()
            seconds = time.process_time() - started
            size = sum(p.numel() for p in model.parameters()) / 1e6
            row = {**figures(model), "million_weights": size, "training_cpu_s": seconds}
            known = {"scale": conditions, "row": row}
            kept.write_text(json.dumps(known, indent=2) + "\n")
            (place / "checkpoint.pt").unlink(missing_ok=True)  # a ResNeXt's is a gigabyte
        rows[name] = known["row"]
    return rows


def _some(count: int, most: int) -> NDArray[np.bool_]:
    """(count,) true for at most `most`, drawn evenly."""
    chosen = np.random.default_rng(1).permutation(count) < most
    return np.asarray(chosen, dtype=bool)


def _schedule(scale: StageScale, examples: int) -> Schedule:
    """Whole epochs that come nearest to the steps asked for."""
    epochs = max(1, round(scale.steps * scale.batch / examples))
    return Schedule(
        epochs=epochs,
        learning_rate=scale.learning_rate,
        batch=min(scale.batch, examples),
        weight_decay=1e-2,
        warmup=0.1,
        threads=scale.threads,
    )


@torch.inference_mode()
def _accuracy(model: nn.Module, crops: Crops, side: int, batch: int = 32) -> float:
    right = []
    for start in range(0, len(crops), batch):
        chosen = range(start, min(start + batch, len(crops)))
        best = model(_small(centre(crops.tensor(chosen), CROP_SIDE), side)).argmax(1).numpy()
        right += crops.allowed[np.array(chosen), best].tolist()
    return float(np.mean(right))


def _small(images: Tensor, side: int) -> Tensor:
    return images if images.shape[3] == side else functional.interpolate(images, size=(side, side), mode="area")


def _shrunk(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images])


def _shrunk_thumbnails(thumbnails: Thumbnails, side: int) -> Thumbnails:
    step = thumbnails.masks.shape[1] // side
    return Thumbnails(
        images=_shrunk(thumbnails.images, side),
        masks=thumbnails.masks[:, ::step, ::step],
        inside=thumbnails.inside[:, ::step, ::step],
    )
