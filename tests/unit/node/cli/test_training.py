"""A tiny training of every stage through the command line, and of a whole bundle that then counts a field."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from node.cli import commands as cli
from pipeline.bundle import DEFAULT, SAM_FILES, load_bundle, verify_bundle
from pipeline.cells import segment_image
from pipeline.domain import CELL_CLASSES
from pipeline.errors import TooFewCells
from pipeline.image import ImageSlide
from pipeline.phantom.samples import FieldSample, render_field
from pipeline.run import AnalysisSettings, analyse
from pipeline.training.inputs import sam_fields, site_thumbnails
from pipeline.training.labels import split_of
from pipeline.training.synthetic import FIELD_MPP
from tests.tiny_sam import write_tiny_sam

Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("train", "roi", ...)` → the last line of standard output."""

    def call(*arguments: str | Path | int) -> str:
        monkeypatch.setattr("sys.argv", ["marrow-node", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        assert not ended.value.code, captured.err
        return captured.out.strip().splitlines()[-1]

    return call


@pytest.fixture(scope="module")
def sample() -> FieldSample:
    return render_field(700_001, mpp=FIELD_MPP, size_px=640)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory, sample: FieldSample) -> Path:
    """Folders `mll` and `pbc` of a few crops; each class has some in the training and the validation split."""
    root = tmp_path_factory.mktemp("cells")
    side = 180
    corners = iter([(y, x) for y in range(0, 640 - side, 40) for x in range(0, 640 - side, 40)])
    for source, codes in (("mll", ("BLA", "LYT", "MON")), ("pbc", ("EOS", "LYT"))):
        for code in codes:
            (root / source / code).mkdir(parents=True)
            names = [f"{code}_{i}.png" for i in range(200)]
            chosen = [n for n in names if split_of(n) == "validation"][:2] + [
                n for n in names if split_of(n) == "train"
            ][:6]
            for name, (y, x) in zip(chosen, corners, strict=False):
                cv2.imwrite(str(root / source / code / name), sample.image[y : y + side, x : x + side])
    return root


@pytest.fixture(scope="module")
def tiny_sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sam(tmp_path_factory.mktemp("sam") / "sam.pth")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "short.toml"
    path.write_text("[schedule]\nepochs = 1\nsteps = 2\nbatch = 2\nthreads = 1\n")
    return path


def test_train_roi_on_a_sites_slides_beside_synthetic_ones(run: Run, tmp_path: Path, config: Path) -> None:
    """Thumbnails of 30 µm/px with the junction outlined in LabelMe."""
    (tmp_path / "slides").mkdir()
    outline = [[40, 10], [80, 10], [80, 50], [40, 50]]
    for number in range(6):
        image = np.full((60, 120, 3), 235, np.uint8)
        image[10:50, 40:80] = (150, 120, 170)
        cv2.imwrite(str(tmp_path / "slides" / f"S{number}.png"), image)
        shapes = [{"label": "junction", "points": outline}]
        (tmp_path / "slides" / f"S{number}.json").write_text(
            json.dumps({"shapes": shapes, "imageWidth": 120, "imageHeight": 60})
        )
    slides = f"{tmp_path / 'slides'}:30"
    weights = run("train", "roi", "--out", tmp_path / "run", "--config", config, "--synthetic", 2, "--slides", slides)
    assert Path(weights).stat().st_size > 100_000
    assert (tmp_path / "run" / "curves.png").exists()
    assert "validation Dice" in (tmp_path / "run" / "curves.csv").read_text()
    own = sum(split_of(f"S{number}") == "train" for number in range(6))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["thumbnails"] == 1 + own
    train, rest = site_thumbnails([slides])
    assert len(train.images) == own < 6 == own + len(rest.images)
    assert train.images.shape[1:] == (256, 256, 3)
    assert train.inside[0].sum() == 256 * 128  # the longest side, 3.6 mm, fills the network's
    assert train.masks[0].sum() == pytest.approx((256 / 3) ** 2, rel=0.08)  # its border counts


def test_train_toi_on_a_sites_tiles(run: Run, tmp_path: Path, config: Path, sample: FieldSample) -> None:
    """Tiles of one slide, called SLIDE#TILE, train or validate together."""
    slides = [f"S{number}" for number in range(12)]
    trained = [slide for slide in slides if split_of(slide) == "train"][:2]
    validates = next(slide for slide in slides if split_of(slide) != "train")
    for name, image in (("countable", sample.image), ("other", np.full_like(sample.image, 225))):
        (tmp_path / "tiles" / name).mkdir(parents=True)
        for slide in (*trained, validates):
            for tile in range(2):
                cv2.imwrite(str(tmp_path / "tiles" / name / f"{slide}#{tile}.png"), image)
    weights = run("train", "toi", "--out", tmp_path / "run", "--config", config, "--tiles", tmp_path / "tiles")
    assert Path(weights).stat().st_size > 100_000
    assert json.loads((tmp_path / "run" / "config.json").read_text())["tiles"] == 8
    assert "validation accuracy" in (tmp_path / "run" / "curves.csv").read_text()


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory, sample: FieldSample) -> str:
    """An annotated field as `FOLDER:MPP`."""
    folder = tmp_path_factory.mktemp("fields")
    cv2.imwrite(str(folder / "a.png"), sample.image[..., ::-1])
    cv2.imwrite(str(folder / "a_mask.png"), sample.labels)
    return f"{folder}:{FIELD_MPP}"


def test_train_cells_on_annotated_fields(run: Run, tmp_path: Path, config: Path, fields: str) -> None:
    weights = run(
        "train", "cells", "--out", tmp_path / "run", "--config", config, "--synthetic", 0, "--fields", fields
    )  # fmt: skip
    assert Path(weights).stat().st_size > 1_000_000


def test_a_wide_field_is_cut_into_squares_at_its_own_scale(tmp_path: Path) -> None:
    image = np.full((300, 1500, 3), 220, np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    shapes = [{"label": "cell", "points": [[x, 100], [x + 40, 100], [x + 40, 150], [x, 150]]} for x in (20, 1400)]
    (tmp_path / "a.json").write_text(json.dumps({"shapes": shapes}))
    squares = sam_fields([f"{tmp_path}:{FIELD_MPP}"], FIELD_MPP)
    assert [image.shape for image, _ in squares] == [(1024, 1024, 3)] * 2
    assert [int((labels > 0).sum()) for _, labels in squares] == [pytest.approx(40 * 50, rel=0.05)] * 2


def test_a_sam_of_any_size_is_trained_and_becomes_a_stage_of_a_sites_bundle(
    run: Run, tmp_path: Path, fields: str, tiny_sam: Path, sample: FieldSample
) -> None:
    (tmp_path / "two.toml").write_text("stains = 1\n[schedule]\nepochs = 1\nsteps = 2\nbatch = 4\nthreads = 1\n")
    weights = run(
        "train", "cells", "--out", tmp_path / "run", "--config", tmp_path / "two.toml",
        "--synthetic", 0, "--fields", fields, "--sam", tiny_sam,
    )  # fmt: skip
    before, after = torch.load(tiny_sam, weights_only=True), load_file(weights)
    moved = {n for n, value in after.items() if not torch.equal(value, before[n].half())}
    assert moved and all(name.startswith("mask_decoder.") for name in moved)
    frozen = load_file(str(tmp_path / "run" / "sam_encoder.safetensors"))
    assert all(torch.equal(value, before[f"image_encoder.{name}"].half()) for name, value in frozen.items())

    made = run("bundle", "make", tmp_path / "run", "--out", tmp_path / "bundle", "--name", "ours", "--version", "3")
    document = json.loads(Path(made).read_text())
    assert (document["name"], document["version"]) == ("ours", "3")
    assert document["stages"]["cells"]["kind"] == "sam"
    assert "sam_encoder.onnx" not in document["files"]
    bundle = load_bundle(tmp_path / "bundle", device="cpu", threads=1)
    labels = segment_image(sample.image[:512, :512], FIELD_MPP, bundle)
    assert labels.shape == (512, 512)


def test_train_pretrain_then_classes(run: Run, tmp_path: Path, config: Path, cells: Path) -> None:
    folder = f"{cells / 'mll'}:0.14"
    encoder = run("train", "pretrain", "--out", tmp_path / "mae", "--config", config, "--cells", folder)
    weights = run(
        "train", "classes", "--out", tmp_path / "run", "--config", config, "--cells", folder, "--encoder", encoder
    )
    assert Path(weights).stat().st_size > 100_000
    assert 0.3 <= float((tmp_path / "run" / "temperature.txt").read_text()) <= 5


def test_train_a_whole_bundle_and_count_with_it(run: Run, tmp_path: Path, cells: Path, sample: FieldSample) -> None:
    torch.manual_seed(0)
    imagenet = tmp_path / "lite0.pth"
    torch.save(timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict(), imagenet)
    out = tmp_path / "bundle"
    out.mkdir()
    for name in SAM_FILES:
        shutil.copy(DEFAULT / name, out)
    command = [
        "train", "bundle", "--scale", "tiny", "--mll", cells / "mll", "--pbc", cells / "pbc",
        "--imagenet", imagenet, "--work", tmp_path / "work", "--out", out,
    ]  # fmt: skip
    run(*command, "--only", "regions")
    trained = (out / "regions.safetensors").read_bytes()
    assert {file.name for file in out.iterdir()} == {*SAM_FILES, "regions.safetensors"}
    assert Path(run(*command)) == out
    assert (out / "regions.safetensors").read_bytes() == trained
    assert verify_bundle(out)["classes"] == list(CELL_CLASSES)
    bundle = load_bundle(out, device="cpu", threads=1)
    settings = AnalysisSettings(roi="whole", tiles="all", check_quality=False)
    try:
        analysis = analyse(ImageSlide(sample.image, FIELD_MPP), bundle, settings, lambda _stage, _done: None)
    except TooFewCells:  # a network that learnt nothing may call every cell an excluded one
        return
    assert analysis.differential.total <= len(analysis.cells)


def test_suggest_ranks_doubtful_cells_first(run: Run, tmp_path: Path, cells: Path) -> None:
    images = sorted((cells / "mll").glob("*/*.png"))[::3]
    run("train", "suggest", *images, "--mpp", "0.14", "--most", 5, "--out", tmp_path / "a.csv")
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert len(rows) == 5
    assert {Path(row["file"]) for row in rows} <= set(images)
    first_of_class = {row["class"]: float(row["worth"]) for row in reversed(rows)}
    assert float(rows[0]["worth"]) == max(float(row["worth"]) for row in rows)
    assert all(0 <= worth <= 1 for worth in first_of_class.values())
