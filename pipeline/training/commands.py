"""What the command line's `train` does: read the input, train one stage, leave its weights in the run's folder."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipeline.bundle import DEFAULT, save_weights
from pipeline.cells import CellsConfig, CellSegmenter
from pipeline.domain import CELL_CLASSES, RgbImage
from pipeline.errors import TrainingError
from pipeline.models.mae import CellClassifier, CellEncoder, Encoder, folded, new_encoder
from pipeline.models.sam import SAM_ENCODER, OnnxEncoder, PromptDecoder, decoder_from_onnx, official
from pipeline.training import cells, classes, inputs, pretrain, roi, synthetic, toi
from pipeline.training.configs import read_config
from pipeline.training.datasets import join
from pipeline.training.loop import Progress, quiet, refuse_another
from pipeline.training.pack import NETWORK, TEMPERATURE
from pipeline.training.sources import LeftOut, leave_one_source_out
from pipeline.training.synthetic import Thumbnails


def train_regions(
    out: Path, config: Path | None, slides: int, folders: Sequence[str] = (), say: Progress = quiet
) -> Path:
    """TextureUNet on synthetic slides, of which an eighth validates, and a site's. Returns the weights' path."""
    settings = read_config(roi.RoiConfig(), config)
    refuse_another(out, {"stage": "roi", **asdict(settings)})
    if slides < 8 and not folders:
        raise TrainingError(f"{slides} synthetic slides are too few to train on; give at least 8, or --slides")
    parts = [inputs.site_thumbnails(folders)] if folders else []
    if slides:
        drawn = synthetic.draw_thumbnails(synthetic.smears(slides, inputs.SEED), say)
        cut = slides * 7 // 8
        parts.append((drawn.part(slice(0, cut)), drawn.part(slice(cut, None))))
    train, rest = (reduce(Thumbnails.plus, side) for side in zip(*parts, strict=True))
    model = roi.new_network(settings)
    roi.train_roi(model, train, settings, out, validation=rest if len(rest.images) else None, progress=say)
    save_weights(model, out / "regions.safetensors")
    return out / "regions.safetensors"


def train_tiles(out: Path, config: Path | None, slides: int, folder: Path | None, say: Progress = quiet) -> Path:
    """TCNet on a site's tiles, or on synthetic slides of which the last validates. Returns the weights' path."""
    settings = read_config(toi.ToiConfig(), config)
    refuse_another(out, {"stage": "toi", **asdict(settings)})
    if folder is not None:
        train, rest = inputs.site_tiles(folder)
    else:
        if slides < 2:
            raise TrainingError(f"{slides} slides cannot be split; give at least 2")
        drawn = synthetic.draw_tiles(synthetic.smears(slides, inputs.SEED), say)
        last = drawn.slides == drawn.slides.max()
        train, rest = drawn.subset(~last), drawn.subset(last)
    model = toi.new_network(settings)
    toi.train_toi(model, train, settings, out, validation=rest if len(rest.images) else None, progress=say)
    save_weights(model, out / "tiles.safetensors")
    return out / "tiles.safetensors"


def train_decoder(
    out: Path, config: Path | None, fields: int, folders: Sequence[str], sam: Path | None = None, say: Progress = quiet
) -> Path:
    """SAM's mask decoder on annotated and synthetic fields. Returns the weights' path.

    Parameters
    ----------
    sam
        A SAM checkpoint whose decoder is trained, its encoders frozen; without it the MobileSAM of the default bundle.
    """
    settings = read_config(cells.CellsTraining(), config)
    refuse_another(out, {"stage": "cells", **asdict(settings)})
    encoder, decoder = official(sam) if sam else _mobile_sam()
    segmenter = CellSegmenter(encoder, decoder, CellsConfig(), torch.device("cpu"))
    samples: list[tuple[RgbImage, NDArray[Any]]] = list(inputs.sam_fields(folders, segmenter.mpp))
    samples += [
        (s.image, s.labels)
        for s in synthetic.draw_fields(fields, inputs.SEED, progress=say, mixes=synthetic.TRAINING_MIXES)
    ]
    if not samples:
        raise TrainingError("no fields to train on; give --fields or --synthetic")
    prompts = cells.gather(samples, segmenter, settings, say)
    cells.train_cells(decoder, prompts, settings, out, say)
    save_weights(decoder, out / "cells.safetensors")
    if sam:
        save_weights(encoder, out / SAM_ENCODER)
    return out / "cells.safetensors"


def pretrain_encoder(
    out: Path,
    config: Path | None,
    folders: Sequence[str],
    each: int,
    imagenet: Path | None,
    network: Mapping[str, Any],
    say: Progress = quiet,
) -> Path:
    """Masked autoencoding of the small encoder or a timm ViT (`network`: vit, size). Returns the encoder's path."""
    settings = read_config(pretrain.PretrainConfig(train_stem=imagenet is None), config)
    refuse_another(out, {"stage": "pretrain", **asdict(settings)})
    torch.manual_seed(settings.schedule.seed)
    encoder = _encoder(network)
    if imagenet is not None:
        if not isinstance(encoder, CellEncoder):
            raise TrainingError(f"{imagenet}: a plain ViT takes no weights of EfficientNet-Lite0; leave --imagenet out")
        encoder.load_lite0(pretrain.read_lite0(imagenet))
    pretrain.pretrain(encoder, inputs.training_cells(folders, each, say, classed=False)[0], settings, out, say)
    save_weights(encoder, out / "encoder.safetensors")
    (out / NETWORK).write_text(json.dumps(dict(network)) + "\n")
    return out / "encoder.safetensors"


def train_classifier(
    out: Path,
    config: Path | None,
    folders: Sequence[str],
    each: int,
    encoder: Path | None,
    imagenet: Path | None = None,
    say: Progress = quiet,
) -> Path:
    """The classifier; its temperature goes beside it. Returns the weights' path."""
    start = _start(encoder, imagenet)
    settings = _class_settings(config, imagenet)
    refuse_another(out, {"stage": "classes", **asdict(settings)})
    train, validation = inputs.training_cells(folders, each, say)
    model = start(settings.schedule.seed)
    classes.train_classes(model, train, validation, settings, out, say)
    save_weights(folded(model), out / "classes.safetensors")
    if encoder is not None:
        shutil.copy(encoder.parent / NETWORK, out / NETWORK)
    temperature = classes.fit_temperature(classes.predict(model, validation), validation.allowed)
    (out / TEMPERATURE).write_text(f"{temperature}\n")
    return out / "classes.safetensors"


def compare_sources(
    out: Path,
    config: Path | None,
    folders: Sequence[str],
    encoder: Path | None,
    imagenet: Path | None,
    each: int = 0,
    say: Progress = quiet,
) -> tuple[LeftOut, ...]:
    """Each source's cells classed by a model that never saw that source; also written to `sources.json`.

    `each` synthetic cells of every class are learnt from beside the other sources.
    """
    start = _start(encoder, imagenet)
    settings = _class_settings(config, imagenet)
    cells = inputs.cell_sources(folders)
    if each:
        cells = join([cells, synthetic.draw_cells(each, inputs.SEED, progress=say)])
    found = leave_one_source_out(cells, lambda: start(settings.schedule.seed), settings, out, say)
    (out / "sources.json").write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n")
    return found


def _mobile_sam() -> tuple[nn.Module, PromptDecoder]:
    return OnnxEncoder(DEFAULT / "sam_encoder.onnx"), decoder_from_onnx(DEFAULT / "sam_decoder.onnx")


def _encoder(network: Mapping[str, Any]) -> Encoder:
    try:
        return new_encoder(**network)
    except (ValueError, TypeError) as exc:
        raise TrainingError(f"{exc}; give the name of a timm Vision Transformer such as vit_base_patch16_224") from exc


def _class_settings(config: Path | None, imagenet: Path | None) -> classes.ClassesConfig:
    """Convolutions that start from random weights all learn, at the full rate."""
    untaught: dict[str, Any] = {} if imagenet else {"frozen_stages": 0, "frozen_depthwise": False, "stem_scale": 1.0}
    return read_config(classes.ClassesConfig(**untaught), config)


def _fill(encoder: nn.Module, weights: Path) -> None:
    try:
        encoder.load_state_dict({name: value.float() for name, value in load_file(str(weights)).items()})
    except (RuntimeError, SafetensorError) as exc:
        remedy = "run train pretrain again, an encoder of an older version has no normalisations"
        raise TrainingError(f"{weights}: not the encoder its {NETWORK} names; {remedy}") from exc


def _start(encoder: Path | None, imagenet: Path | None) -> Callable[[int], CellClassifier]:
    """Seed → an untrained classifier: encoder of `train pretrain`, tail (and without an encoder, stem) of ImageNet.

    What ImageNet's normalisations do is kept, folded.
    """
    if encoder is not None and not (encoder.is_file() and (encoder.parent / NETWORK).is_file()):
        raise TrainingError(f"{encoder}: no such file with a {NETWORK} beside it; give encoder.safetensors of a run")
    network = json.loads((encoder.parent / NETWORK).read_text()) if encoder is not None else {}

    def start(seed: int) -> CellClassifier:
        torch.manual_seed(seed)
        model = CellClassifier(_encoder(network), len(CELL_CLASSES))
        if imagenet is not None:
            model.load_lite0(pretrain.read_lite0(imagenet))
        if encoder is not None:
            _fill(model.encoder, encoder)
        elif imagenet is not None:
            model.hear_convolutions_first()
        return folded(model) if imagenet is not None else model

    return start
