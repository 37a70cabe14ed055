"""The table of `evaluate baselines`: data drawn once, every network trained on them, JSON, Markdown and a plot.

Training smears have seeds from 600,000, tests from EVALUATION_SEED, half of centre b, whose stain no network saw.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TrainingError
from pipeline.evaluation.baselines import Row, Scale, StageScale, compare_classes, compare_regions, compare_tiles
from pipeline.evaluation.rivals import FROM_IMAGENET
from pipeline.metrics import wilson
from pipeline.phantom.spec import Centre
from pipeline.training import synthetic
from pipeline.training.datasets import CellFolder, Crops, join, read_cells
from pipeline.training.loop import Progress, quiet
from pipeline.training.recipe import MLL_MPP, synthetic_crops
from pipeline.training.synthetic import EVALUATION_SEED, Thumbnails, Tiles

matplotlib.use("Agg")
from matplotlib import pyplot

SEED = 600_000
STAGES = ("regions", "tiles", "classes")
HEADLINES = {"regions": "dice", "tiles": "accuracy", "classes": "synthetic"}
TITLES = {"regions": "Regions (ROI)", "tiles": "Tiles (TOI)", "classes": "Classes of cells"}


def compare(
    scale: Scale,
    out: Path,
    real: Path | None,
    stages: Sequence[str] = STAGES,
    imagenet: Path | None = None,
    progress: Progress = quiet,
) -> dict[str, Any]:
    """Train and judge every network of the stages asked for; what is already in `out` is kept.

    Parameters
    ----------
    real
        The folder that holds `mll`; None compares the classifiers on synthetic cells alone.
    imagenet
        EfficientNet-Lite0's ImageNet file; without it every classifier starts from random weights.

    """
    out.mkdir(parents=True, exist_ok=True)
    table: dict[str, Any] = _kept(out / "baselines.json")
    measures: Mapping[str, Callable[[Progress], tuple[dict[str, Row], dict[str, int]]]] = {
        "regions": lambda say: _regions(scale.regions, out, say),
        "tiles": lambda say: _tiles(scale.tiles, out, say),
        "classes": lambda say: _classes(scale.classes, out, real, imagenet, say),
    }
    for number, stage in enumerate(stages):

        def say(done: float, message: str, number: int = number, stage: str = stage) -> None:
            progress((number + done) / len(stages), f"{stage}: {message}")

        rows, amounts = measures[stage](say)
        table[stage] = {"scale": asdict(getattr(scale, stage)), "amounts": amounts, "rows": rows}
        (out / "baselines.json").write_text(json.dumps(table, indent=2) + "\n")
    (out / "baselines.md").write_text(markdown(table), encoding="utf-8")
    _plot(table, out / "baselines.png")
    return table


def stages_of(text: str) -> tuple[str, ...]:
    """The stages named in a list separated by commas.

    Raises
    ------
    TrainingError
        One is unknown.
    """
    named = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name for name in named if name not in STAGES]:
        raise TrainingError(f"no stage {', '.join(unknown)} has baselines; there are {', '.join(STAGES)}")
    return named


def _regions(scale: StageScale, out: Path, say: Progress) -> tuple[dict[str, Row], dict[str, int]]:
    def drawn(name: str, count: int, seed: int, centres: Sequence[Centre]) -> Thumbnails:
        specs = [spec for c in centres for spec in synthetic.smears(count // len(centres), seed, c)]
        return Thumbnails(
            **_remembered(out / f"regions-{name}.npz", lambda: synthetic.draw_thumbnails(specs, say), len(specs))
        )

    train = drawn(f"train-{scale.train}", scale.train, SEED, ("a",))
    test = drawn(f"test-{scale.test}", scale.test, EVALUATION_SEED + 400, ("a", "b"))
    rows = compare_regions(train, test, scale, out / "regions", say)
    return rows, {"slides to train": len(train.images), "slides to test": len(test.images)}


def _tiles(scale: StageScale, out: Path, say: Progress) -> tuple[dict[str, Row], dict[str, int]]:
    def drawn(name: str, count: int, seed: int, centres: Sequence[Centre]) -> Tiles:
        specs = [spec for c in centres for spec in synthetic.smears(max(1, count // len(centres)), seed, c)]
        return Tiles(**_remembered(out / f"tiles-{name}.npz", lambda: synthetic.draw_tiles(specs, say), len(specs)))

    train = drawn(f"train-{scale.train}", scale.train, SEED + 1000, ("a",))
    test = drawn(f"test-{scale.test}", scale.test, EVALUATION_SEED + 300, ("a", "b"))
    rows = compare_tiles(train, test, scale, out / "tiles", say)
    return rows, {"tiles to train": len(train.images), "tiles to test": len(test.images)}


def _classes(
    scale: StageScale, out: Path, real: Path | None, imagenet: Path | None, say: Progress
) -> tuple[dict[str, Row], dict[str, int]]:
    def drawn(name: str, each: int, seed: int, centre: Centre) -> Crops:
        def arrays() -> dict[str, NDArray[Any]]:
            cells = synthetic.draw_cells(each, seed, centre, progress=say)
            return {"images": cells.images, "codes": np.array(cells.codes)}

        stored = synthetic.remember(out / f"classes-{name}-{each}.npz", arrays, {"cells of each class": each})
        return synthetic_crops(stored["images"], stored["codes"].tolist())

    train = drawn("train", scale.train, SEED + 2000, "a")
    tests = {"synthetic": join([drawn(f"test-{c}", scale.test, EVALUATION_SEED + 200, c) for c in ("a", "b")])}
    if real is not None:
        marrow = CellFolder(root=real / "mll", mpp=MLL_MPP)
        train = join([train, read_cells(marrow, "train", 2 * scale.train)])
        tests["mll"] = read_cells(marrow, "test", 4 * scale.test)
    rows = compare_classes(train, tests, scale, out / "classes", imagenet, say)
    return rows, {"cells to train": len(train), **{f"cells to test, {name}": len(c) for name, c in tests.items()}}


def markdown(table: Mapping[str, Any]) -> str:
    """One table per stage: the networks in the order of their headline figure, and the scale under it."""
    parts = ["# Published networks and ours, trained the same way", ""]
    for stage in (name for name in STAGES if name in table):
        rows, scale = table[stage]["rows"], table[stage]["scale"]
        columns = list(next(iter(rows.values())))
        order = sorted(rows, key=lambda name: -rows[name][HEADLINES[stage]])
        parts += [f"## {TITLES[stage]}", ""]
        parts += [
            f"| network | {' | '.join(column.replace('_', ' ') for column in columns)} |",
            "|---" * (len(columns) + 1) + "|",
        ]
        parts += [f"| {name} | {' | '.join(f'{rows[name][c]:.3g}' for c in columns)} |" for name in order]
        amounts = ", ".join(f"{count} {what}" for what, count in table[stage]["amounts"].items())
        parts += [
            "",
            f"{scale['side']} px, {scale['steps']} steps of {scale['batch']} images, AdamW {scale['learning_rate']:g}, "
            f"random first weights{_but(rows)}; {amounts}.{_noise(table[stage])}",
            "",
        ]
    return "\n".join(parts)


def _but(rows: Mapping[str, Any]) -> str:
    return " unless from ImageNet" if any(name in FROM_IMAGENET for name in rows) else ""


def _noise(stage: Mapping[str, Any]) -> str:
    """How far the best proportion could be from the truth by chance."""
    tested = [(what.split(", ")[-1], n) for what, n in stage["amounts"].items() if "cells to test" in what]
    tested += [("accuracy", n) for what, n in stage["amounts"].items() if what == "tiles to test"]
    texts = []
    for column, n in tested:
        best = max(row[column] for row in stage["rows"].values())
        low, high = wilson(best, n)
        texts.append(f" 95 % limits of the best {column}: {low:.3f} to {high:.3f}.")
    return "".join(texts)


def _plot(table: Mapping[str, Any], path: Path) -> None:
    stages = [name for name in STAGES if name in table]
    figure, axes = pyplot.subplots(1, len(stages), figsize=(5 * len(stages), 3.5), squeeze=False)
    for axis, stage in zip(axes[0], stages, strict=True):
        rows, key = table[stage]["rows"], HEADLINES[stage]
        order = sorted(rows, key=lambda name: rows[name][key])
        colours = ["#b03060" if "ours" in name else "#8090a0" for name in order]
        axis.barh(order, [rows[name][key] for name in order], color=colours)
        axis.set(xlim=(0, 1), title=f"{TITLES[stage]}: {key}")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _remembered(path: Path, draw: Callable[[], Any], slides: int) -> dict[str, NDArray[Any]]:
    def arrays() -> dict[str, NDArray[Any]]:
        drawn = draw()
        return {name: np.asarray(getattr(drawn, name)) for name in drawn.__slots__}

    return synthetic.remember(path, arrays, {"slides": slides})


def _kept(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}
