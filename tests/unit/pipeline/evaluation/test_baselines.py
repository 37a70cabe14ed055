"""Published networks beside ours: the smallest table of classes, and how each network is judged."""

from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.evaluation.baselines import scale_of, with_statistics
from pipeline.evaluation.comparison import compare, markdown
from pipeline.evaluation.rivals import CLASSES


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
