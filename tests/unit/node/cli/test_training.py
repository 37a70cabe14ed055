"""A tiny training of every stage through the command line, and of a whole bundle that then counts a field."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch

from node.cli import commands as cli
from pipeline.bundle import DEFAULT, SAM_FILES, load_bundle, verify_bundle
from pipeline.domain import CELL_CLASSES
from pipeline.errors import TooFewCells
from pipeline.image import ImageSlide
from pipeline.phantom.samples import FieldSample, render_field
from pipeline.run import AnalysisSettings, analyse
from pipeline.training.labels import split_of
from pipeline.training.synthetic import FIELD_MPP

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
    corners = [(y, x) for y in range(0, 640 - side, 60) for x in range(0, 640 - side, 60)]
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
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "short.toml"
    path.write_text("[schedule]\nepochs = 1\nbatch = 2\n")
    return path


def test_train_roi(run: Run, tmp_path: Path, config: Path) -> None:
    assert Path(run("train", "roi", "--out", tmp_path, "--config", config, "--synthetic", 8)).stat().st_size > 100_000
    assert (tmp_path / "curves.png").exists()
    assert "validation Dice" in (tmp_path / "curves.csv").read_text()


def test_train_toi_on_a_sites_tiles(run: Run, tmp_path: Path, config: Path, sample: FieldSample) -> None:
    for name, image in (("countable", sample.image), ("other", np.full_like(sample.image, 225))):
        (tmp_path / "tiles" / name).mkdir(parents=True)
        for number in range(2):
            cv2.imwrite(str(tmp_path / "tiles" / name / f"{number}.png"), image)
    weights = run("train", "toi", "--out", tmp_path / "run", "--config", config, "--tiles", tmp_path / "tiles")
    assert Path(weights).stat().st_size > 100_000


def test_train_cells_on_annotated_fields(run: Run, tmp_path: Path, config: Path, sample: FieldSample) -> None:
    (tmp_path / "fields").mkdir()
    cv2.imwrite(str(tmp_path / "fields" / "a.png"), sample.image[..., ::-1])
    cv2.imwrite(str(tmp_path / "fields" / "a_mask.png"), sample.labels)
    weights = run(
        "train", "cells", "--out", tmp_path / "run", "--config", config,
        "--synthetic", 0, "--fields", f"{tmp_path / 'fields'}:{FIELD_MPP}",
    )  # fmt: skip
    assert Path(weights).stat().st_size > 1_000_000


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
    made = run(
        "train", "bundle", "--scale", "tiny", "--mll", cells / "mll", "--pbc", cells / "pbc",
        "--imagenet", imagenet, "--work", tmp_path / "work", "--out", out,
    )  # fmt: skip
    assert Path(made) == out
    assert verify_bundle(out)["classes"] == list(CELL_CLASSES)
    bundle = load_bundle(out, device="cpu")
    settings = AnalysisSettings(roi="whole", tiles="all", check_quality=False)
    try:
        analysis = analyse(ImageSlide(sample.image, FIELD_MPP), bundle, settings, lambda _stage, _done: None)
    except TooFewCells:  # a network that learnt nothing may call every cell an excluded one
        return
    assert analysis.differential.total <= len(analysis.cells)


def test_suggest_ranks_doubtful_cells_first(run: Run, tmp_path: Path, cells: Path) -> None:
    images = sorted((cells / "mll").glob("*/*.png"))
    run("train", "suggest", *images, "--mpp", "0.14", "--most", 5, "--out", tmp_path / "a.csv")
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert len(rows) == 5
    assert {Path(row["file"]) for row in rows} <= set(images)
    first_of_class = {row["class"]: float(row["worth"]) for row in reversed(rows)}
    assert float(rows[0]["worth"]) == max(float(row["worth"]) for row in rows)
    assert all(0 <= worth <= 1 for worth in first_of_class.values())
