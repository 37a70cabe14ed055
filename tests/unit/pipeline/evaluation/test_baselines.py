"""Published networks beside ours: the smallest table of classes, and how each network is judged."""

from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.errors import TrainingError
from pipeline.evaluation.baselines import scale_of
from pipeline.evaluation.comparison import compare, markdown
from pipeline.evaluation.rivals import CLASSES, FROM_IMAGENET, from_imagenet
from pipeline.models.mae import published_lite0
from pipeline.training.loop import with_statistics


def test_the_table_of_classes_names_its_conditions(tmp_path: Path) -> None:
    large = [name for name in CLASSES if name not in ("Cell ViT (ours)", "ViT without MAE", "EfficientNet-B0")]
    scale = scale_of("tiny", steps=1, side=32, threads=1, skip=large)
    table = compare(scale, tmp_path, None, ("classes",))
    rows = table["classes"]["rows"]
    assert set(rows) == set(CLASSES) - set(large)
    assert all(0 <= row["synthetic"] <= 1 and row["training_cpu_s"] > 0 for row in rows.values())
    text = markdown(table)
    assert "32 px, 1 steps of 2 images, AdamW 0.001, random first weights; 44 cells to train, 44 cells to test" in text
    before = {name: (tmp_path / "classes" / name / "row.json").stat().st_mtime_ns for name in ("Cell-ViT",)}
    assert compare(scale, tmp_path, None, ("classes",))["classes"]["rows"] == rows  # kept, not trained again
    assert before == {name: (tmp_path / "classes" / name / "row.json").stat().st_mtime_ns for name in before}


def test_what_starts_from_imagenet_is_compared_too(tmp_path: Path) -> None:
    weights = tmp_path / "lite0.pth"
    torch.save(published_lite0().state_dict(), weights)
    scale = scale_of("tiny", steps=1, side=32, threads=1, skip=list(CLASSES))
    table = compare(scale, tmp_path / "out", None, ("classes",), weights)
    assert set(table["classes"]["rows"]) == set(FROM_IMAGENET)
    assert "random first weights unless from ImageNet" in markdown(table)


def test_both_start_from_the_same_first_layer(tmp_path: Path) -> None:
    source, weights = published_lite0(), tmp_path / "lite0.pth"
    torch.save(source.state_dict(), weights)
    ours, rival = (build(32).eval() for build in from_imagenet(weights).values())
    assert torch.equal(rival.network.conv_stem.weight, source.conv_stem.weight)
    assert rival(torch.rand(2, 3, 32, 32)).shape == ours(torch.rand(2, 3, 32, 32)).shape == (2, 22)
    seen = torch.rand(1, 3, 32, 32)
    expected = source.eval().forward_features(2 * seen - 1).mean((2, 3))
    torch.testing.assert_close(ours.tail(ours.encoder.stem(seen)), expected, rtol=0, atol=1e-3)
    nn.init.normal_(ours.encoder.norm.bias)
    torch.testing.assert_close(ours(seen), ours.head.bias + expected @ ours.head.weight[:, -1280:].T, rtol=0, atol=1e-3)
    (tmp_path / "other.pth").write_bytes(b"no weights")
    with pytest.raises(TrainingError, match=r"other\.pth: not the weights of EfficientNet-Lite0"):
        from_imagenet(tmp_path / "other.pth")["EfficientNet-Lite0 from ImageNet"](32)


def test_a_short_training_is_judged_by_the_statistics_of_its_data() -> None:
    """A slow batch normalisation, as an EfficientNet's, still holds mean 0 and variance 1 when few steps end."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(3, momentum=0.01))
    images = 5 + 2 * torch.randn(64, 3, 4, 4)
    model.train()(images)
    assert model[0].running_mean.max() < 0.1
    judged = with_statistics(model, ((part, torch.zeros(8)) for part in images.split(8)))
    assert not judged.training
    assert model[0].running_mean.tolist() == pytest.approx([5, 5, 5], abs=0.3)
    assert judged(images).std().item() == pytest.approx(1, abs=0.1)
