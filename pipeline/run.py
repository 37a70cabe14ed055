"""The stages in order: slide → regions → tiles → cells → classes → differential count (Zhou et al. 2025)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline import counting, quality, regions
from pipeline.bundle import Bundle
from pipeline.cells import CellMask, merge_seams
from pipeline.domain import CELL_CLASSES, Analysis, Cell, Region, Slide, Tile
from pipeline.errors import NoCountableRegion, OutOfMemory, TooFewCells
from pipeline.geometry import box_of

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSettings:
    """A site's choices. `roi="whole"` and `tiles="all"` suit scanners that deliver only the countable area."""

    roi: Literal["auto", "whole"] = "auto"
    tiles: Literal["auto", "all"] = "auto"
    cells: Literal["prompted", "everything"] = "prompted"
    minimum_cells: int = 200
    review_below: float = 0.6
    rescreen_above: float = 0.10
    me_include_monocytic: bool = True
    max_tiles: int | None = None
    check_quality: bool = True


def analyse(slide: Slide, bundle: Bundle, settings: AnalysisSettings, progress: Progress) -> Analysis:
    """Count a slide. The same slide, bundle and settings give the same analysis.

    Parameters
    ----------
    progress
        Called with the stage (quality, regions, tiles, cells, classes, count) and how much of it is done, 0..1.

    Raises
    ------
    NoCountableRegion
        Quality, region or tiles say that the slide cannot be counted; the message is the reason.
    TooFewCells
        No cell of the 16 counted classes was found.
    OutOfMemory
        The device's memory is too small.

    """
    try:
        return _analyse(slide, bundle, settings, progress)
    except (torch.cuda.OutOfMemoryError, MemoryError) as exc:
        raise OutOfMemory(
            'the device\'s memory was exhausted; give this worker a larger GPU or device = "cpu"'
        ) from exc


def _analyse(slide: Slide, bundle: Bundle, settings: AnalysisSettings, progress: Progress) -> Analysis:
    clock = _Clock()
    warnings: list[str] = []
    progress("quality", 0.0)
    thumbnail, thumbnail_mpp = bundle.regions.thumbnail(slide)
    if settings.check_quality and (problem := quality.slide_problem(slide, thumbnail)):
        raise NoCountableRegion(problem)
    progress("quality", 1.0)
    clock.lap("quality")

    progress("regions", 0.0)
    found = _regions(slide, bundle, settings, thumbnail, thumbnail_mpp)
    progress("regions", 1.0)
    clock.lap("regions")

    tiles = _tiles(slide, bundle, settings, found, progress)
    countable = _choose(tiles, settings.max_tiles)
    if not countable:
        raise NoCountableRegion(
            "No tile of the region is countable: too crowded, too thin, out of focus or overstained."
        )
    if len(countable) < sum(tile.countable for tile in tiles):
        warnings.append(f"Only the {len(countable)} best tiles were counted (setting max_tiles).")
    if settings.check_quality and (problem := quality.tiles_problem(slide, [tile.box for tile in countable])):
        raise NoCountableRegion(problem)
    clock.lap("tiles")

    masks = _masks(slide, bundle, settings, countable, progress)
    clock.lap("cells")
    cells, saliency = classify(slide, bundle, masks, settings.review_below, lambda done: progress("classes", done))
    clock.lap("classes")

    progress("count", 0.0)
    differential = counting.count(
        [cell.class_name for cell in cells],
        me_include_monocytic=settings.me_include_monocytic,
        flags=rescreen(cells, settings.rescreen_above),
    )
    if differential.total == 0:
        raise TooFewCells("No countable cell was found in the region.")
    warnings += _doubts(bundle, settings, differential.total)
    clock.lap("count")
    progress("count", 1.0)
    return Analysis(
        regions=found,
        tiles=tiles,
        cells=cells,
        differential=differential,
        warnings=tuple(warnings),
        timings_s=tuple(clock.laps),
        saliency=saliency,
    )


def classify(
    slide: Slide, bundle: Bundle, masks: Sequence[CellMask], review_below: float, progress: Callable[[float], None]
) -> tuple[tuple[Cell, ...], NDArray[np.uint8]]:
    """Masks in level-0 pixels → classed cells numbered from 1, top to bottom, and where the model looked, (N, g, g)."""
    cells: list[Cell] = []
    maps: list[NDArray[np.uint8]] = []
    crops = bundle.classes.crops(slide, [mask.polygon for mask in masks])
    batch = bundle.classes.config.batch
    for start in range(0, len(masks), batch):
        rows, looked = bundle.classes.explained(crops[start : start + batch])
        maps.append(looked)
        for mask, row in zip(masks[start : start + batch], rows, strict=True):
            cells.append(_cell(len(cells) + 1, mask, row, review_below))
        progress(len(cells) / len(masks))
    return tuple(cells), np.concatenate([bundle.classes.explained([])[1], *maps])


def rescreen(cells: Sequence[Cell], above: float) -> tuple[tuple[str, str], ...]:
    """Counted classes whose expected error (mean of 1 - probability) reaches `above` (Zhou et al. 2025)."""
    classes = np.array([CELL_CLASSES.index(cell.class_name) for cell in cells], np.int16)
    return counting.rescreen(classes, np.array([1 - cell.probability for cell in cells]), above)


def _cell(number: int, mask: CellMask, row: NDArray[np.float64], review_below: float) -> Cell:
    best = int(row.argmax())
    probability = round(float(row[best]), 4)
    return Cell(
        id=number,
        box=box_of(mask.polygon),
        polygon=mask.polygon,
        class_name=CELL_CLASSES[best],
        probability=probability,
        probabilities=tuple(round(value, 4) for value in row.tolist()),
        review=probability < review_below,
    )


def _regions(
    slide: Slide, bundle: Bundle, settings: AnalysisSettings, thumbnail: NDArray[np.uint8], mpp: float
) -> tuple[Region, ...]:
    if settings.roi == "whole":
        return (regions.whole(slide),)
    found = bundle.regions.polygons(bundle.regions.probability(thumbnail), mpp, slide.mpp)
    if not found:
        raise NoCountableRegion(
            "No countable region was found: the slide shows no body-tail junction of a marrow smear."
        )
    return found


def _tiles(
    slide: Slide, bundle: Bundle, settings: AnalysisSettings, found: Sequence[Region], progress: Progress
) -> tuple[Tile, ...]:
    progress("tiles", 0.0)
    boxes = bundle.tiles.candidates(slide, found)
    if settings.tiles == "all":
        progress("tiles", 1.0)
        return tuple(Tile(box=box, probability=1.0, countable=True) for box in boxes)
    return bundle.tiles.judge(slide, boxes, lambda done: progress("tiles", done))


def _choose(tiles: Sequence[Tile], most: int | None) -> tuple[Tile, ...]:
    """The countable tiles, or the `most` likeliest of them, in the slide's order."""
    countable = [tile for tile in tiles if tile.countable]
    best = sorted(range(len(countable)), key=lambda i: (-countable[i].probability, i))[:most]
    return tuple(countable[i] for i in sorted(best))


def _masks(
    slide: Slide, bundle: Bundle, settings: AnalysisSettings, tiles: Sequence[Tile], progress: Progress
) -> list[CellMask]:
    progress("cells", 0.0)
    found: list[CellMask] = []
    for done, tile in enumerate(tiles, start=1):
        found += bundle.cells.cut(slide, tile.box, settings.cells)
        progress("cells", done / len(tiles))
    return merge_seams(found)


def _doubts(bundle: Bundle, settings: AnalysisSettings, total: int) -> list[str]:
    doubts = []
    if few := counting.few_cells(total, settings.minimum_cells):
        doubts.append(few)
    if bundle.info.unrecognised:
        doubts.append(f"This model cannot recognise: {', '.join(bundle.info.unrecognised)}.")
    return doubts


class _Clock:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.laps: list[tuple[str, float]] = []
        self._last = time.monotonic()

    def lap(self, stage: str) -> None:
        now = time.monotonic()
        self.laps.append((stage, round(now - self._last, 3)))
        self._last = now
