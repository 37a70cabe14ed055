"""An `Analysis` in one file, so that results can be made again without counting again.

The arrays are kept as numpy keeps them, the rest as JSON beside them; equal analyses give equal bytes.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from node.files import write_atomically
from pipeline.domain import CELL_CLASSES, Analysis, Box, Cell, DifferentialCount, Polygon, Region, Tile

_DIFFERENTIAL = TypeAdapter(DifferentialCount)
_CLASS = {name: index for index, name in enumerate(CELL_CLASSES)}


def analysis_file(cases_folder: Path, case_id: str, run: int) -> Path:
    """Where one run of a case keeps what it saw."""
    return cases_folder / case_id / f"analysis-{run}.npz"


def save_analysis(analysis: Analysis, path: Path) -> None:
    """Write `analysis` to `path`, whole or not at all."""
    cells, tiles = analysis.cells, analysis.tiles
    points, ends = _join([cell.polygon for cell in cells])
    region_points, region_ends = _join([region.polygon for region in analysis.regions])
    scalars = {
        "differential": _DIFFERENTIAL.dump_python(analysis.differential, mode="json"),
        "warnings": analysis.warnings,
        "timings_s": analysis.timings_s,
    }
    optional: dict[str, Any] = {} if analysis.saliency is None else {"cell_saliency": analysis.saliency}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        **optional,
        scalars=np.frombuffer(json.dumps(scalars).encode(), np.uint8),
        cell_ids=np.array([cell.id for cell in cells], np.int64),
        cell_boxes=_boxes([cell.box for cell in cells]),
        cell_points=points,
        cell_ends=ends,
        cell_classes=np.array([_CLASS[cell.class_name] for cell in cells], np.int16),
        cell_probability=np.array([cell.probability for cell in cells], np.float64),
        cell_probabilities=np.array([cell.probabilities for cell in cells], np.float64).reshape(-1, len(CELL_CLASSES)),
        cell_review=np.array([cell.review for cell in cells], np.bool_),
        region_points=region_points,
        region_ends=region_ends,
        region_probability=np.array([region.probability for region in analysis.regions], np.float64),
        tile_boxes=_boxes([tile.box for tile in tiles]),
        tile_probability=np.array([tile.probability for tile in tiles], np.float64),
        tile_countable=np.array([tile.countable for tile in tiles], np.bool_),
    )
    write_atomically(path, buffer.getvalue())


def load_analysis(path: Path) -> Analysis:
    """Read what `save_analysis` wrote; files written before saliency was kept have none."""
    with np.load(path) as held:
        scalars = json.loads(held["scalars"].tobytes())
        regions = zip(_split(held["region_points"], held["region_ends"]), held["region_probability"], strict=True)
        tiles = zip(held["tile_boxes"], held["tile_probability"], held["tile_countable"], strict=True)
        return Analysis(
            regions=tuple(Region(polygon=polygon, probability=float(p)) for polygon, p in regions),
            tiles=tuple(Tile(box=_box(box), probability=float(p), countable=bool(c)) for box, p, c in tiles),
            cells=tuple(_cells(held)),
            differential=_DIFFERENTIAL.validate_python(scalars["differential"]),
            warnings=tuple(scalars["warnings"]),
            timings_s=tuple((name, seconds) for name, seconds in scalars["timings_s"]),
            saliency=held.get("cell_saliency"),
        )


def _cells(held: "np.lib.npyio.NpzFile") -> list[Cell]:
    columns = zip(
        held["cell_ids"].tolist(),
        held["cell_boxes"],
        _split(held["cell_points"], held["cell_ends"]),
        held["cell_classes"].tolist(),
        held["cell_probability"].tolist(),
        held["cell_probabilities"].tolist(),
        held["cell_review"].tolist(),
        strict=True,
    )
    return [
        Cell(
            id=number,
            box=_box(box),
            polygon=polygon,
            class_name=CELL_CLASSES[class_index],
            probability=probability,
            probabilities=tuple(probabilities),
            review=review,
        )
        for number, box, polygon, class_index, probability, probabilities, review in columns
    ]


def _join(polygons: list[Polygon]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points of all polygons, (N, 2), and the row after the last point of each."""
    points = np.concatenate([np.zeros((0, 2)), *polygons]).astype(np.float64)
    return points, np.cumsum([len(polygon) for polygon in polygons], dtype=np.int64)


def _split(points: NDArray[np.float64], ends: NDArray[np.int64]) -> list[Polygon]:
    return np.split(points, ends[:-1]) if len(ends) else []


def _boxes(boxes: list[Box]) -> NDArray[np.int64]:
    return np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes], np.int64).reshape(-1, 4)


def _box(row: NDArray[np.int64]) -> Box:
    x0, y0, x1, y1 = row.tolist()
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)
