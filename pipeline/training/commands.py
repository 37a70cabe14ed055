"""What the command line's `train` does: read the input, train one stage, leave its weights in the run's folder."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from pipeline.bundle import DEFAULT, save_weights
from pipeline.cells import CellsConfig, CellSegmenter
from pipeline.domain import CELL_CLASSES, RgbImage
from pipeline.errors import TrainingError
from pipeline.image import read_image
from pipeline.models.mae import CellClassifier, CellEncoder, Encoder, new_encoder
from pipeline.models.sam import SAM_SIDE, OnnxEncoder, decoder_from_onnx
from pipeline.training import cells, classes, pretrain, roi, synthetic, toi
from pipeline.training.annotations import AnnotatedField, crops_of, load_fields
from pipeline.training.configs import read_config
from pipeline.training.datasets import IMAGE_ENDINGS, CellFolder, Crops, join, load_cells
from pipeline.training.loop import Progress, quiet
from pipeline.training.sources import LeftOut, leave_one_source_out

SEED = 500_000
NETWORK = "network.json"  # beside an encoder's weights: what `new_encoder` is called with
UNTAUGHT: Mapping[str, Any] = {"frozen_stages": 0, "frozen_depthwise": False, "stem_scale": 1.0}


def train_regions(out: Path, config: Path | None, slides: int, say: Progress = quiet) -> Path:
    """TextureUNet on synthetic slides; an eighth of them validates. Returns the weights' path."""
    settings = read_config(roi.RoiConfig(), config)
    if slides < 8:
        raise TrainingError(f"{slides} slides are too few to train on; give at least 8")
    drawn = synthetic.draw_thumbnails(synthetic.smears(slides, SEED), say)
    cut = slides * 7 // 8
    model = roi.new_network(settings)
    train, rest = drawn.part(slice(0, cut)), drawn.part(slice(cut, None))
    roi.train_roi(model, train, settings, out, validation=rest, progress=say)
    save_weights(model, out / "regions.safetensors")
    return out / "regions.safetensors"


def train_tiles(out: Path, config: Path | None, slides: int, folder: Path | None, say: Progress = quiet) -> Path:
    """TCNet on a site's tiles, or on synthetic slides of which the last validates. Returns the weights' path."""
    settings = read_config(toi.ToiConfig(), config)
    if folder is not None:
        train, rest = load_tiles(folder), None
    else:
        if slides < 2:
            raise TrainingError(f"{slides} slides cannot be split; give at least 2")
        drawn = synthetic.draw_tiles(synthetic.smears(slides, SEED), say)
        last = drawn.slides == drawn.slides.max()
        train, rest = drawn.subset(~last), drawn.subset(last)
    model = toi.new_network(settings)
    toi.train_toi(model, train, settings, out, validation=rest, progress=say)
    save_weights(model, out / "tiles.safetensors")
    return out / "tiles.safetensors"


def load_tiles(folder: Path) -> synthetic.Tiles:
    """Tile images of 160 µm in sub-folders `countable` and `other`.

    Raises
    ------
    TrainingError
        A sub-folder is absent or empty.
    """
    images: list[RgbImage] = []
    labels: list[bool] = []
    for name in ("countable", "other"):
        paths = sorted(p for p in (folder / name).glob("*") if p.suffix.lower() in IMAGE_ENDINGS)
        if not paths:
            raise TrainingError(f"{folder / name}: no images; give tiles of 160 µm in folders countable and other")
        images += [np.asarray(cv2.resize(read_image(p), (224, 224), interpolation=cv2.INTER_AREA)) for p in paths]
        labels += [name == "countable"] * len(paths)
    return synthetic.Tiles(images=np.stack(images), countable=np.array(labels), slides=np.zeros(len(labels), np.int64))


def train_decoder(out: Path, config: Path | None, fields: int, folders: Sequence[str], say: Progress = quiet) -> Path:
    """SAM's mask decoder on annotated and synthetic fields. Returns the weights' path."""
    settings = read_config(cells.CellsTraining(), config)
    decoder = decoder_from_onnx(DEFAULT / "sam_decoder.onnx")
    segmenter = CellSegmenter(OnnxEncoder(DEFAULT / "sam_encoder.onnx"), decoder, CellsConfig(), torch.device("cpu"))
    samples: list[tuple[RgbImage, NDArray[Any]]] = [
        (s.image, s.labels) for s in synthetic.draw_fields(fields, SEED, progress=say)
    ]
    for text in folders:
        folder, mpp = folder_and_mpp(text)
        samples += [_sam_field(field, mpp, segmenter.mpp) for field in load_fields(folder)]
    if not samples:
        raise TrainingError("no fields to train on; give --fields or --synthetic")
    prompts = cells.gather(samples, segmenter, settings, say)
    cells.train_cells(decoder, prompts, settings, out, say)
    save_weights(decoder, out / "cells.safetensors")
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
    torch.manual_seed(settings.schedule.seed)
    encoder = _encoder(network)
    if imagenet is not None:
        if not isinstance(encoder, CellEncoder):
            raise TrainingError(f"{imagenet}: a plain ViT takes no weights of EfficientNet-Lite0; leave --imagenet out")
        pretrain.load_lite0(encoder, imagenet)
    pretrain.pretrain(encoder, _training_cells(folders, each, say)[0], settings, out, say)
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
    """The classifier; its temperature goes into `temperature.txt`. Returns the weights' path."""
    start = _start(encoder, imagenet)
    settings = read_config(classes.ClassesConfig(**{} if imagenet else UNTAUGHT), config)
    train, validation = _training_cells(folders, each, say)
    model = start(settings.schedule.seed)
    classes.train_classes(model, train, validation, settings, out, say)
    save_weights(model, out / "classes.safetensors")
    if encoder is not None:
        shutil.copy(encoder.parent / NETWORK, out / NETWORK)
    temperature = classes.fit_temperature(classes.predict(model, validation), validation.allowed)
    (out / "temperature.txt").write_text(f"{temperature}\n")
    return out / "classes.safetensors"


def compare_sources(
    out: Path,
    config: Path | None,
    folders: Sequence[str],
    encoder: Path | None,
    imagenet: Path | None,
    say: Progress = quiet,
) -> tuple[LeftOut, ...]:
    """Each source's cells classed by a model that never saw that source; also written to `sources.json`."""
    start = _start(encoder, imagenet)
    settings = read_config(classes.ClassesConfig(**{} if imagenet else UNTAUGHT), config)
    cells_ = join(_load(folders))
    found = leave_one_source_out(cells_, lambda: start(settings.schedule.seed), settings, out, say)
    (out / "sources.json").write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n")
    return found


def _encoder(network: Mapping[str, Any]) -> Encoder:
    try:
        return new_encoder(**network)
    except (ValueError, TypeError) as exc:
        raise TrainingError(f"{exc}; give the name of a timm Vision Transformer such as vit_base_patch16_224") from exc


def _start(encoder: Path | None, imagenet: Path | None) -> Callable[[int], CellClassifier]:
    """Seed → an untrained classifier: encoder of `train pretrain`, tail (and without an encoder, stem) of ImageNet."""
    if encoder is not None and not (encoder.is_file() and (encoder.parent / NETWORK).is_file()):
        raise TrainingError(f"{encoder}: no such file with a {NETWORK} beside it; give encoder.safetensors of a run")
    network = json.loads((encoder.parent / NETWORK).read_text()) if encoder is not None else {}

    def start(seed: int) -> CellClassifier:
        torch.manual_seed(seed)
        model = CellClassifier(_encoder(network), len(CELL_CLASSES))
        if imagenet is not None:
            pretrain.load_lite0(model, imagenet)
        if encoder is not None:
            state = load_file(str(encoder))
            model.encoder.load_state_dict({name: value.float() for name, value in state.items()})
        return model

    return start


def folder_and_mpp(text: str) -> tuple[Path, float]:
    """`FOLDER:MPP` as given on the command line.

    Raises
    ------
    TrainingError
        There is no number after the last colon, or it is no resolution of a microscope.
    """
    folder, _, mpp = text.rpartition(":")
    try:
        value = float(mpp)
    except ValueError:
        value = 0.0
    if not folder or not 0.01 < value < 5:
        raise TrainingError(f"{text}: give FOLDER:MPP, such as cells:0.1 for 0.1 µm per pixel")
    return Path(folder), value


def _training_cells(folders: Sequence[str], each: int, say: Progress) -> tuple[Crops, Crops]:
    """Training and validation cells; what falls into the test split is left for `evaluate`."""
    parts = _load(folders)
    if each:
        parts.append(synthetic.draw_cells(each, SEED, progress=say))
    if not parts:
        raise TrainingError("no cells to train on; give --cells or --synthetic")
    cells_ = join(parts)
    train, validation = cells_.part("train"), cells_.part("validation")
    if not len(train) or not len(validation):
        raise TrainingError(f"{len(cells_)} cells are too few to split into training and validation; give more")
    return train, validation


def _load(folders: Sequence[str]) -> list[Crops]:
    parts: list[Crops] = []
    for text in folders:
        folder, mpp = folder_and_mpp(text)
        if folder.is_dir() and any(path.is_dir() for path in folder.iterdir()):
            parts.append(load_cells([CellFolder(root=folder, mpp=mpp)]))
        else:
            parts.append(crops_of(load_fields(folder), mpp, folder.name))
    return parts


def _sam_field(field: AnnotatedField, mpp: float, target: float) -> tuple[RgbImage, NDArray[np.int32]]:
    """Image and labels at SAM's resolution, padded at the right and below to its square."""
    image = field.image()
    factor = mpp / target
    size = [min(SAM_SIDE, round(side * factor)) for side in image.shape[1::-1]]
    labels = field.labels((image.shape[0], image.shape[1]))
    square, marks = np.zeros((SAM_SIDE, SAM_SIDE, 3), np.uint8), np.zeros((SAM_SIDE, SAM_SIDE), np.int32)
    square[: size[1], : size[0]] = cv2.resize(
        image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    )
    marks[: size[1], : size[0]] = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    return square, marks
