"""A site's bundle of the stages it trained."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.bundle import DEFAULT, load_bundle, save_weights
from pipeline.errors import TrainingError
from pipeline.models.mae import CellClassifier, CellEncoder, folded
from pipeline.models.tcnet import TCNet
from pipeline.models.texture_unet import TextureUNet
from pipeline.training.pack import pack


def run(folder: Path, config: dict[str, object], weights: str, model: nn.Module) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_weights(model, folder / weights)
    return folder


@pytest.fixture
def regions(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return run(tmp_path / "r", {"stage": "roi", "width": 4}, "regions.safetensors", TextureUNet(width=4))


def test_trained_stages_take_the_place_of_the_default_ones(tmp_path: Path, regions: Path) -> None:
    network = {"size": 64, "dim": 32, "depth": 1, "heads": 2}
    classifier = folded(CellClassifier(CellEncoder(**network), 22))
    runs = [
        regions,
        run(tmp_path / "t", {"stage": "toi", "width": 8}, "tiles.safetensors", TCNet(width=8)),
        run(tmp_path / "k", {"stage": "classes"}, "classes.safetensors", classifier),
    ]
    (tmp_path / "k" / "network.json").write_text(json.dumps(network))
    (tmp_path / "k" / "temperature.txt").write_text("1.25\n")
    made = pack(DEFAULT, runs, tmp_path / "bundle", name="ours", version="7")
    document, default = (json.loads((path / "bundle.json").read_text()) for path in (made.parent, DEFAULT))
    bundle = load_bundle(made.parent, device="cpu", threads=1)
    assert (bundle.info.name, bundle.info.version) == ("ours", "7")
    assert bundle.classes.config.temperature == 1.25
    assert bundle.tiles.config.threshold == 0.5 != default["stages"]["tiles"]["config"]["threshold"]
    assert bundle.classes.model.encoder.size == 64
    assert document["stages"]["cells"] == default["stages"]["cells"]
    assert document["files"]["cells.safetensors"] == default["files"]["cells.safetensors"]
    assert document["training_data"][:-1] == default["training_data"]
    assert document["training_data"][-1]["name"] == "the site's own: classes, regions, tiles"
    assert "real_training_cells" in default and "real_training_cells" not in document
    assert default["notes"] and "notes" not in document, "what was seen of other weights"


def test_what_is_no_finished_run_is_named(tmp_path: Path, regions: Path) -> None:
    def refused(*runs: Path, out: str = "bundle") -> str:
        with pytest.raises(TrainingError) as refusal:
            pack(DEFAULT, runs, tmp_path / out, name="ours", version="1")
        return str(refusal.value)

    (tmp_path / "other").mkdir()
    assert "other: no run of train roi, toi, cells, classes; give" in refused(tmp_path / "other")
    assert "r: a second run of stage regions; give one of each" in refused(regions, regions)
    assert "r: holds files; give a new folder" in refused(regions, out="r")
    (regions / "regions.safetensors").unlink()
    assert "regions.safetensors: missing, the run has not ended; start it again" in refused(regions)
    assert not (tmp_path / "bundle").exists()
