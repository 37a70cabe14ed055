"""The cells of a case for viewer and gallery: all of them as columns, outlines by area, pictures by the sheet."""

from dataclasses import dataclass
from typing import Annotated, cast

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from dicom_io.rendered import encode_array
from node.review import marking
from node.review.cell_book import CellBook
from node.web.problems import RequestError
from node.web.sources import Sources
from pipeline.crops import FIELD_UM
from pipeline.domain import Analysis

cells = APIRouter(prefix="/api/cases/{case_id}", tags=["cells"])
_MOST_OUTLINES = 5000
_MOST_PICTURES = 64
_COLUMNS = 8


def get_book(request: Request) -> CellBook:
    """What `create_web` made."""
    return cast(CellBook, request.app.state.cell_book)


Book = Annotated[CellBook, Depends(get_book)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellColumns:
    """Every cell, one place in each list; classes by their place in `/api/classes`, centres in level-0 pixels.

    `expert` is -1 where nobody has chosen; `model` is -1, with a probability of 0, while it is hidden (blind review).
    `need` are the bits of `node.review.Need`; `review` says whether a cell must be looked at before the case is signed.
    """

    run: int
    id: list[int]
    x: list[int]
    y: list[int]
    model: list[int]
    probability: list[float]
    review: list[bool]
    expert: list[int]
    version: list[int]
    need: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlines:
    """Polygons by cell: x and y of each corner in turn, level-0 pixels."""

    outlines: dict[int, list[int]]
    complete: bool  # false when the area holds more than are given


@dataclass(frozen=True, slots=True, kw_only=True)
class Areas:
    """Where cells were looked for: outlines of regions, and boxes of tiles that were counted and that were not."""

    regions: list[list[int]]
    counted: list[tuple[int, int, int, int]]
    passed_over: list[tuple[int, int, int, int]]


@cells.get("/cells")
def all_cells(case_id: str, sources: Sources) -> CellColumns:
    """Every cell of the case as it stands, without its outline."""
    opened = sources.reviewing.open(case_id)
    table, marks, found = opened.table, opened.marks, opened.analysis.cells
    unseen, need = marking.hidden(table, marks), marking.needs(table, marks)
    return CellColumns(
        run=opened.run,
        id=table.ids.tolist(),
        x=[(cell.box.x0 + cell.box.x1) // 2 for cell in found],
        y=[(cell.box.y0 + cell.box.y1) // 2 for cell in found],
        model=np.where(unseen, marking.NO_CLASS, table.model).tolist(),
        probability=np.where(unseen, 0.0, table.probability.round(3)).tolist(),
        review=((need & marking.MANDATORY) > 0).tolist(),
        expert=marks.expert.tolist(),
        version=marks.versions.tolist(),
        need=need.tolist(),
    )


@cells.get("/outlines")
def outlines(case_id: str, book: Book, x0: int, y0: int, x1: int, y1: int) -> Outlines:
    """Outlines of the cells whose centre is in a half-open area."""
    analysis = book.analysis(case_id, book.run_of(case_id))
    inside = np.flatnonzero(_inside(analysis, x0, y0, x1, y1))
    chosen = [analysis.cells[number] for number in inside[:_MOST_OUTLINES]]
    found = {cell.id: np.rint(cell.polygon).astype(int).ravel().tolist() for cell in chosen}
    return Outlines(outlines=found, complete=len(inside) <= _MOST_OUTLINES)


@cells.get("/areas")
def areas(case_id: str, book: Book) -> Areas:
    """Regions and tiles of the case."""
    analysis = book.analysis(case_id, book.run_of(case_id))
    boxes = {
        countable: [(t.box.x0, t.box.y0, t.box.x1, t.box.y1) for t in analysis.tiles if t.countable is countable]
        for countable in (True, False)
    }
    regions = [np.rint(region.polygon).astype(int).ravel().tolist() for region in analysis.regions]
    return Areas(regions=regions, counted=boxes[True], passed_over=boxes[False])


@cells.get("/sheet", response_class=Response)
def sheet(
    case_id: str,
    book: Book,
    ids: Annotated[str, Query(pattern=r"^[0-9]+(,[0-9]+)*$", max_length=1000)],
    run: Annotated[int, Query(ge=0)],
    side: Annotated[int, Query(ge=16, le=256)] = 80,
) -> Response:
    """Pictures of cells as one JPEG, eight in a row, all at one scale; never changes for a run."""
    wanted = [int(number) for number in ids.split(",")]
    if len(wanted) > _MOST_PICTURES:
        remedy = f"ask for at most {_MOST_PICTURES}"
        raise RequestError(422, "too many cells", field="ids", remedy=remedy)
    try:
        picture = book.sheet(case_id, run, wanted, side, min(_COLUMNS, len(wanted)))
    except KeyError as exc:
        raise RequestError(404, "no such cell", field="ids", remedy="take the ids from /cells") from exc
    headers = {"Cache-Control": "private, max-age=86400, immutable", "X-Field-Um": str(FIELD_UM)}
    return Response(encode_array(picture, "image/jpeg", 88), headers=headers, media_type="image/jpeg")


def _inside(analysis: Analysis, x0: int, y0: int, x1: int, y1: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    boxes = np.array([(c.box.x0, c.box.y0, c.box.x1, c.box.y1) for c in analysis.cells], np.int64).reshape(-1, 4)
    x, y = (boxes[:, 0] + boxes[:, 2]) // 2, (boxes[:, 1] + boxes[:, 3]) // 2
    inside: np.ndarray[tuple[int], np.dtype[np.bool_]] = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    return inside
