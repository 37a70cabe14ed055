"""The pictures of a model card."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from pipeline import metrics
from pipeline.domain import CELL_CLASSES, RgbImage

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure


def confusion(path: Path, report: metrics.ClassReport) -> None:
    """True groups by predicted classes, each row adding to 1."""
    share = report.confusion / report.confusion.sum(1, keepdims=True).clip(1)
    figure, axis = pyplot.subplots(figsize=(9, 0.3 * len(report.groups) + 3.5))
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.set_xticks(range(len(CELL_CLASSES)), CELL_CLASSES, rotation=90, fontsize=7)
    axis.set_yticks(range(len(report.groups)), report.groups, fontsize=7)
    axis.set(xlabel="predicted", ylabel="true", title=f"accuracy {report.accuracy:.3f}, {report.n} cells")
    _save(figure, path)


def reliability(path: Path, probability: metrics.Floats, right: NDArray[np.bool_]) -> None:
    """Accuracy against confidence, and how many cells have each confidence."""
    rows = metrics.reliability(probability, right)
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(4, 4.6), height_ratios=(3, 1), sharex=True)
    above.plot([0, 1], [0, 1], linestyle="--", linewidth=0.8, color="grey")
    above.plot([row[0] for row in rows], [row[1] for row in rows], marker="o")
    error = metrics.calibration_error(probability, right)
    above.set(ylabel="accuracy", title=f"expected calibration error {error:.3f}", ylim=(0, 1.02))
    below.bar([row[0] for row in rows], [row[2] for row in rows], width=0.05)
    below.set(xlabel="confidence", ylabel="cells", xlim=(0, 1.02))
    _save(figure, path)


def agreement(path: Path, own: metrics.Floats, true: metrics.Floats, slides: Sequence[str]) -> None:
    """Model against truth, and their difference against their mean (Bland and Altman), a colour for each slide."""
    limits = metrics.bland_altman(own, true)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9.5, 4))
    names = np.array(slides)
    for name in dict.fromkeys(slides):
        mine = names == name
        left.scatter(true[mine], own[mine], s=10, label=name)
        right.scatter((own[mine] + true[mine]) / 2, own[mine] - true[mine], s=10)
    top = float(max(own.max(), true.max()))
    left.plot([0, top], [0, top], linestyle="--", linewidth=0.8, color="grey")
    left.set(xlabel="truth, %", ylabel="model, %", title="16 components of each slide")
    left.legend(fontsize=7)
    for value in limits.values():
        right.axhline(value, linestyle="--", linewidth=0.8, color="grey")
    right.set(xlabel="mean of model and truth, %", ylabel="model - truth, %", title="Bland-Altman")
    _save(figure, path)


def curves(path: Path, title: str, lines: Mapping[str, Mapping[str, float]]) -> None:
    """One line of accuracy for each name over the same named conditions."""
    figure, axis = pyplot.subplots(figsize=(7, 3.6))
    for name, values in lines.items():
        axis.plot(list(values), list(values.values()), marker=".", label=name)
    axis.set(ylim=(0, 1.02), ylabel="accuracy", title=title)
    axis.tick_params(axis="x", rotation=60, labelsize=7)
    axis.legend(fontsize=7)
    _save(figure, path)


def overlays(path: Path, images: Sequence[RgbImage], maps: Sequence[NDArray[np.uint8]], columns: int = 8) -> None:
    """Crops above where the classifier looked in them."""
    rows = -(-len(images) // columns)
    figure, axes = pyplot.subplots(2 * rows, columns, figsize=(1.3 * columns, 2.7 * rows), squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    for number, (image, looked) in enumerate(zip(images, maps, strict=True)):
        row, column = 2 * (number // columns), number % columns
        fine = cv2.resize(looked, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        axes[row][column].imshow(image)
        axes[row + 1][column].imshow(image)
        axes[row + 1][column].imshow(fine, cmap="inferno", alpha=0.55, vmin=0, vmax=255)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
