"""Training configs: a TOML file changes what it names; the published settings are such files."""

from pathlib import Path

import pytest

from pipeline.errors import TrainingError
from pipeline.training import classes, pretrain, roi, toi
from pipeline.training.cells import CellsTraining
from pipeline.training.configs import read_config
from pipeline.training.recipe import Recipe
from pipeline.training.tiny import tiny

PUBLISHED = Path(__file__).parents[3] / "config" / "published"
StageConfig = roi.RoiConfig | toi.ToiConfig | CellsTraining | pretrain.PretrainConfig | classes.ClassesConfig


def test_configs_change_by_toml_and_refuse_the_unknown(tmp_path: Path) -> None:
    path = tmp_path / "toi.toml"
    path.write_text("spoil = 0.5\n[schedule]\nepochs = 3\n")
    config = read_config(toi.ToiConfig(), path)
    assert config.spoil == 0.5
    assert config.schedule.epochs == 3
    path.write_text("spoils = 1")
    with pytest.raises(TrainingError, match="unknown key spoils"):
        read_config(toi.ToiConfig(), path)
    path.write_text("spoil = 'much'")
    with pytest.raises(TrainingError, match="spoil must be float, not str"):
        read_config(toi.ToiConfig(), path)


def test_the_tiny_recipe_has_two_steps_of_every_run() -> None:
    recipe = tiny(Recipe())
    runs = (recipe.small, recipe.large, recipe.last, recipe.settled, *recipe.tiles, recipe.regions, recipe.decoder)
    assert len(recipe.tiles) == len(Recipe().tiles)
    assert {(run.schedule.epochs, run.schedule.steps) for run in runs} == {(1, 2)}
    assert [run.unfit_weight for run in recipe.tiles] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("stage", "default", "epochs", "rate", "batch"),
    [
        ("roi", roi.RoiConfig(), 100, 1e-4, 4),
        ("toi", toi.ToiConfig(), 50, 1e-4, 128),
        ("cells", CellsTraining(), 30, 1e-6, 16),
        ("pretrain", pretrain.PretrainConfig(), 200, 1e-3, 256),
        ("classes", classes.ClassesConfig(), 200, 1e-3, 32),
    ],
)
def test_the_published_settings_are_configs(
    stage: str, default: StageConfig, epochs: int, rate: float, batch: int
) -> None:
    """Figures of Zhou et al. 2025; the article gives no batch for fine-tuning."""
    schedule = read_config(default, PUBLISHED / f"{stage}.toml").schedule
    assert (schedule.epochs, schedule.learning_rate, schedule.batch) == (epochs, rate, batch)
