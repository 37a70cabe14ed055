"""The review over HTTP: what stands, changes of cells, one cell in detail, the signature, the agreement."""

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated
from zipfile import ZipFile

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from node import audit
from node.errors import ReviewConflict
from node.people.accounts import full_names
from node.review.agreement import agreement
from node.review.marking import Wanted
from node.review.training_data import training_files
from node.web.identity import Reviewer
from node.web.problems import RequestError
from node.web.review_answers import (
    AgreementAnswer,
    CellAnswer,
    Changes,
    ChangesMade,
    ReviewAnswer,
    cell_answer,
    change_answers,
    review_answer,
)
from node.web.sources import Sources

reviews = APIRouter(prefix="/api", tags=["review"])
_MOST_CHANGES = 10_000
_PACKED_IN_MEMORY = 16 * 1024 * 1024
Version = Annotated[int, Field(ge=0, le=2**62)]


class WantedChange(BaseModel):
    """A change of one cell: made from the version `seen`; null gives the cell back to the model."""

    model_config = ConfigDict(extra="forbid")

    cell: Annotated[int, Field(ge=0, le=2**31 - 1)]
    seen: Version
    class_name: Annotated[str, Field(max_length=64)] | None


class WantedChanges(BaseModel):
    """Changes that are made all or not at all."""

    model_config = ConfigDict(extra="forbid")

    run: Annotated[int, Field(ge=0, le=2**31 - 1)]
    changes: Annotated[list[WantedChange], Field(min_length=1, max_length=_MOST_CHANGES)]


class WantedSignature(BaseModel):
    """A signature of the review as it was seen; `reason` when cells are left that must be reviewed."""

    model_config = ConfigDict(extra="forbid")

    run: Annotated[int, Field(ge=0, le=2**31 - 1)]
    version: Version
    reason: Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x08\x0b-\x1f]*$")] = ""


@reviews.get("/cases/{case_id}/review")
def read_review(case_id: str, sources: Sources) -> ReviewAnswer:
    """The review as it stands."""
    return review_answer(sources.reviewing.open(case_id))


@reviews.get("/cases/{case_id}/review/changes")
def read_changes(case_id: str, sources: Sources, since: Annotated[int, Query(ge=0, le=2**62)] = 0) -> Changes:
    """Everybody's changes of the current run after a version, oldest first."""
    changes = change_answers(sources.reviewing.changes(case_id, since), full_names(sources.database))
    return Changes(version=changes[-1].version if changes else since, changes=changes)


@reviews.post("/cases/{case_id}/review/changes")
def change(case_id: str, wanted: WantedChanges, person: Reviewer, sources: Sources) -> ChangesMade:
    """Change cells; 409 with `conflicts` when somebody else did so first."""
    asked = [Wanted(cell=each.cell, seen=each.seen, class_name=each.class_name) for each in wanted.changes]
    try:
        kept = sources.reviewing.change(case_id, wanted.run, asked, person)
    except ReviewConflict as exc:
        raise RequestError(
            409,
            str(exc),
            field="changes" if exc.changes else "run",
            remedy="look at the cells again, then decide" if exc.changes else "load the case again",
            details={"conflicts": change_answers(exc.changes, full_names(sources.database))},
        ) from exc
    after = review_answer(sources.reviewing.open(case_id))
    changes = change_answers(kept, {person.name: person.full_name})
    return ChangesMade(version=kept[-1].version, changes=changes, review=after)


@reviews.get("/cases/{case_id}/cells/{cell_id}")
def read_cell(case_id: str, cell_id: Annotated[int, Field(ge=0, le=2**31 - 1)], sources: Sources) -> CellAnswer:
    """One cell: what the model thought, where it looked, its size, and what experts chose."""
    opened = sources.reviewing.open(case_id)
    places = np.flatnonzero(opened.table.ids == cell_id)
    if not len(places):
        raise RequestError(404, "no such cell", field="cell_id", remedy="take the ids from /cells")
    history = sources.reviewing.history(case_id, opened.run, cell_id)
    return cell_answer(opened, int(places[0]), change_answers(history, full_names(sources.database)))


@reviews.post("/cases/{case_id}/sign", status_code=202)
def sign(case_id: str, wanted: WantedSignature, person: Reviewer, sources: Sources) -> ReviewAnswer:
    """Sign the review; the worker then makes and sends the signed result, first as final, later as corrected."""
    sources.reviewing.sign(case_id, wanted.run, wanted.version, person, wanted.reason.strip())
    return review_answer(sources.reviewing.open(case_id))


@reviews.get("/cases/{case_id}/training-data", response_class=StreamingResponse)
def training_data(case_id: str, person: Reviewer, sources: Sources) -> StreamingResponse:
    """The cells of the case that experts chose a class for, as a zip of what `marrow-node review export` writes."""
    packed = SpooledTemporaryFile(_PACKED_IN_MEMORY)  # noqa: SIM115 - `_pieces` closes it
    count = 0
    with ZipFile(packed, "w") as archive:
        for name, content in training_files(sources.database, sources.cells, case_id=case_id):
            archive.writestr(name, content)
            count += 1
    if not count:
        packed.close()
        raise RequestError(404, "nobody has chosen a class in this case", remedy="review some of its cells")
    with sources.database.write() as connection:
        audit.record(connection, person.name, "training data exported", subject=case_id)
    packed.seek(0)
    headers = {"Content-Disposition": f'attachment; filename="{case_id}-cells.zip"'}
    return StreamingResponse(_pieces(packed), headers=headers, media_type="application/zip")


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(1 << 16):
            yield piece


@reviews.get("/agreement")
def read_agreement(sources: Sources) -> AgreementAnswer:
    """How often experts and model gave a cell the same class, by class and month."""
    blind, every = (sources.reviewing.choices(blind=blind) for blind in (True, False))
    return AgreementAnswer(blind=agreement(blind), all=agreement(every))
