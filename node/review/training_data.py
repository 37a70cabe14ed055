"""What experts chose, as training data: a picture of each cell in the folder of its class, and `cells.json`.

`marrow-node train classes --cells FOLDER:0.125` reads it. Of each cell the newest choice counts, of a case that was
counted again the newest run with choices; nothing in it says whose cells they are. The case stands before the `#` of
a file's name, which is what training splits by: a slide's cells are all on one side.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby

import sqlalchemy as sa
from PIL import Image
from sqlalchemy.engine import Connection

from node.database import Database
from node.results import run_book
from node.review import review_book
from node.review.cell_book import CellBook
from node.review.marking import Change
from node.tables import cell_changes

MPP = 0.125  # µm per pixel of every picture: finer than a model sees, so that training may choose its own
SIDE = 224  # pixels, 28 µm
INDEX = "cells.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Example:
    """A cell with a class that an expert gave it."""

    case_id: str
    run: int
    choice: Change
    history: tuple[Change, ...]

    @property
    def file(self) -> str:
        folder = str(self.choice.class_name).replace(" ", "_")
        return f"{folder}/{self.case_id}#{self.run}-{self.choice.cell}.png"


def training_files(
    database: Database, book: CellBook, *, case_id: str | None = None, since: datetime | None = None
) -> Iterator[tuple[str, bytes]]:
    """The files as (path in the folder, content), the index last; none at all when nobody chose anything.

    Parameters
    ----------
    database : Database
    book : CellBook
        Where analyses and pictures come from.
    case_id : str, optional
        Only this case.
    since : datetime, optional
        Only cells whose newest choice was made then or later.

    Raises
    ------
    UnknownCase, NoAnalysis, SlideError
        A case, what it counted or its slide is gone.
    """
    rows: list[dict[str, object]] = []
    for key, group in groupby(_examples(database, case_id, since), key=lambda each: (each.case_id, each.run)):
        examples = tuple(group)
        with database.read() as connection:
            about = _about(connection, *key)
        pictures = book.crops(*key, [each.choice.cell for each in examples], MPP, SIDE)
        for example, picture in zip(examples, pictures, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, format="PNG")
            yield example.file, buffer.getvalue()
            rows.append(_row(example) | about)
    if rows:
        yield INDEX, json.dumps({"mpp": MPP, "cells": rows}, ensure_ascii=False, indent=1).encode()


def _examples(database: Database, case_id: str | None, since: datetime | None) -> Iterator[_Example]:
    """By case, then cell."""
    newest = sa.select(cell_changes.c.case_id, sa.func.max(cell_changes.c.run)).group_by(cell_changes.c.case_id)
    if case_id is not None:
        newest = newest.where(cell_changes.c.case_id == case_id)
    with database.read() as connection:
        for of_case, run in connection.execute(newest.order_by(cell_changes.c.case_id)).all():
            changes = sorted(review_book.read_changes(connection, of_case, run), key=lambda each: each.cell)
            for _cell, group in groupby(changes, key=lambda each: each.cell):
                history = tuple(group)
                choice = history[-1]
                if choice.class_name is not None and (since is None or choice.at >= since):
                    yield _Example(case_id=of_case, run=run, choice=choice, history=history)


def _about(connection: Connection, case_id: str, run: int) -> dict[str, object]:
    """What holds for every cell of a run: the model, and the newest version of the review that is signed."""
    record = run_book.read_run(connection, case_id, run)
    bundle = {} if record is None else asdict(record.bundle)
    signed = review_book.last_signature(connection, case_id)
    version = signed.version if signed is not None and signed.run == run else None
    return {
        "case": case_id,
        "run": run,
        "signed_version": version,
        "bundle": {key: bundle[key] for key in ("name", "version", "digest") if key in bundle},
    }


def _row(example: _Example) -> dict[str, object]:
    choice = example.choice
    return {
        "file": example.file,
        "cell": choice.cell,
        "from": choice.model,
        "to": choice.class_name,
        "who": choice.actor,
        "when": choice.at.isoformat(),
        "blind": choice.blind,
        "version": choice.version,
        "history": [
            {"from": each.previous, "to": each.class_name, "who": each.actor, "when": each.at.isoformat()}
            for each in example.history
        ],
    }
