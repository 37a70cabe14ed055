"""What experts make of a count: which cells need a look, their changes, and the recount (Zhou et al. 2025).

Values in, values out; `node/review/review_book.py` keeps the changes. The cells of one run are columns, `CellTable`,
and what experts chose of them is `Marks` beside it: a cell's class is the expert's, else the model's.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from node.errors import ReviewRefused
from node.settings import AnalysisSettings
from pipeline import counting
from pipeline.domain import CELL_CLASSES, Analysis, DifferentialCount

# Classes that are mistaken for each other: where both are nearly as likely, the likelier one says little.
LOOK_ALIKES = (
    ("promonocyte", "immature monocyte"),  # published as monoblast / immature monocyte; the 22 have no monoblast
    ("lymphocyte", "atypical lymphocyte"),
    ("prolymphocyte", "immature lymphocyte"),
    ("promyelocyte", "immature monocyte"),
)
LOOK_ALIKE_MARGIN = 0.2  # of probability
NO_CLASS = -1

_PLACE = {name: place for place, name in enumerate(CELL_CLASSES)}
Places = NDArray[np.int16]  # places in CELL_CLASSES, NO_CLASS where there is none


class Need(IntFlag):
    """Why an expert should look at a cell."""

    DOUBT = 1  # the probability of its class is below `analysis.review_below`
    LOOK_ALIKE = 2  # its class and one that is mistaken for it are nearly as likely
    BLIND = 4  # sampled for review without the model's class
    RESCREEN = 8  # its class as a whole is doubtful


MANDATORY = Need.DOUBT | Need.LOOK_ALIKE | Need.BLIND  # before a case is signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A change as a person asks for it: `seen` is the version of the cell it was made from, None is the model again."""

    cell: int
    seen: int
    class_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change as it is kept. `version` numbers all changes of all cases; `previous` is the class before."""

    version: int = 0
    cell: int
    class_name: str | None
    previous: str
    model: str
    actor: str
    at: datetime
    blind: bool  # chosen while the model's class was hidden


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellTable:
    """The cells of one run as the model saw them, one place in each column; `ids` ascend."""

    ids: NDArray[np.int64]
    model: Places
    probability: NDArray[np.float64]
    need: NDArray[np.uint8]  # `Need` without BLIND
    sampled: NDArray[np.bool_]  # for blind review
    count: DifferentialCount

    def rows(self, cells: Sequence[int]) -> NDArray[np.int64]:
        """Where the cells stand.

        Raises
        ------
        ReviewRefused
            One of them is not in this run.
        """
        wanted = np.array(cells, np.int64)
        rows = np.minimum(np.searchsorted(self.ids, wanted), max(len(self.ids) - 1, 0))
        if not len(self.ids) or (self.ids[rows] != wanted).any():
            raise ReviewRefused("the run has no such cell; take the ids from /cells")
        return rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Marks:
    """What experts have chosen so far: class (or NO_CLASS) and newest change of each cell, and the newest of all."""

    expert: Places
    versions: NDArray[np.int64]
    version: int = 0
    signed: bool = False  # once: nothing is hidden after that


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How many cells must be looked at, how many of these nobody has, and how many somebody has in all."""

    needed: int
    open: int
    reviewed: int


def table_of(analysis: Analysis, blind_share: float, seed: str) -> CellTable:
    """The cells of an analysis as columns, a share of them sampled for blind review; equal seeds sample the same."""
    cells = analysis.cells
    model = np.array([_PLACE[cell.class_name] for cell in cells], np.int16)
    likely = np.array([cell.probabilities for cell in cells], np.float32).reshape(-1, len(CELL_CLASSES))
    flagged = [row.name for row in analysis.differential.components if row.flag]
    need = (
        Need.DOUBT * np.array([cell.review for cell in cells], np.uint8)
        + Need.LOOK_ALIKE * _look_alike(model, likely)
        + Need.RESCREEN * np.isin(model, [_PLACE[name] for name in flagged])
    )
    chance = np.random.default_rng(list(hashlib.sha256(seed.encode()).digest())).random(len(cells))
    return CellTable(
        ids=np.array([cell.id for cell in cells], np.int64),
        model=model,
        probability=np.array([cell.probability for cell in cells], np.float64),
        need=need.astype(np.uint8),
        sampled=chance < blind_share,
        count=analysis.differential,
    )


def _look_alike(model: Places, likely: NDArray[np.float32]) -> NDArray[np.bool_]:
    found = np.zeros(len(model), np.bool_)
    for pair in LOOK_ALIKES:
        first, second = (_PLACE[name] for name in pair)
        close = np.abs(likely[:, first] - likely[:, second]) < LOOK_ALIKE_MARGIN
        found |= close & ((model == first) | (model == second))
    return found


def look_alikes(class_name: str) -> tuple[str, ...]:
    """The classes that are mistaken for this one."""
    return tuple(other for pair in LOOK_ALIKES if class_name in pair for other in pair if other != class_name)


def no_marks(table: CellTable) -> Marks:
    """Before the first change."""
    size = len(table.ids)
    return Marks(expert=np.full(size, NO_CLASS, np.int16), versions=np.zeros(size, np.int64))


def mark(table: CellTable, marks: Marks, changes: Sequence[Change]) -> Marks:
    """The marks after further changes, oldest first."""
    if not changes:
        return marks
    rows = table.rows([change.cell for change in changes])
    expert, versions = marks.expert.copy(), marks.versions.copy()
    expert[rows] = [NO_CLASS if change.class_name is None else _PLACE[change.class_name] for change in changes]
    versions[rows] = [change.version for change in changes]
    return replace(marks, expert=expert, versions=versions, version=changes[-1].version)


def stale(table: CellTable, marks: Marks, wanted: Sequence[Wanted]) -> tuple[int, ...]:
    """The newest versions of cells that are not those from which a change is wanted; 0 for one nobody changed."""
    rows = table.rows([each.cell for each in wanted])
    versions = marks.versions[rows]
    return tuple(versions[versions != [each.seen for each in wanted]].tolist())


def draft(table: CellTable, marks: Marks, wanted: Sequence[Wanted], actor: str, at: datetime) -> tuple[Change, ...]:
    """The changes to keep for what a person asks, versions not yet given.

    Raises
    ------
    ReviewRefused
        An unknown cell or class, a cell twice, or one without an expert's class given back to the model.
    """
    if len({each.cell for each in wanted}) < len(wanted):
        raise ReviewRefused("a cell is named twice; send one change for each cell")
    if unknown := {each.class_name for each in wanted} - {None, *CELL_CLASSES}:
        raise ReviewRefused(f"there is no class {sorted(map(str, unknown))[0]!r}; take the names from /api/classes")
    rows = table.rows([each.cell for each in wanted]).tolist()
    if any(each.class_name is None and marks.expert[row] < 0 for row, each in zip(rows, wanted, strict=True)):
        raise ReviewRefused("nobody has chosen a class for this cell; there is nothing to take back")
    before, unseen = final(table, marks), hidden(table, marks)
    return tuple(
        Change(
            cell=each.cell,
            class_name=each.class_name,
            previous=CELL_CLASSES[before[row]],
            model=CELL_CLASSES[table.model[row]],
            actor=actor,
            at=at,
            blind=bool(unseen[row]),
        )
        for row, each in zip(rows, wanted, strict=True)
    )


def final(table: CellTable, marks: Marks) -> Places:
    """Each cell's class: the expert's, else the model's."""
    return np.where(marks.expert >= 0, marks.expert, table.model)


def hidden(table: CellTable, marks: Marks) -> NDArray[np.bool_]:
    """Cells whose class of the model is not shown yet: sampled for blind review, never chosen or signed."""
    unseen: NDArray[np.bool_] = table.sampled & (marks.versions == 0) & (not marks.signed)
    return unseen


def needs(table: CellTable, marks: Marks) -> NDArray[np.uint8]:
    """`Need` of each cell as it may be shown: that of a hidden one would tell what the model thinks."""
    shown = table.need + Need.BLIND * table.sampled.astype(np.uint8)
    return np.where(hidden(table, marks), np.uint8(Need.BLIND), shown).astype(np.uint8)


def progress(table: CellTable, marks: Marks) -> Progress:
    """How far the review is."""
    must = ((table.need & MANDATORY) > 0) | table.sampled
    seen = marks.expert >= 0
    return Progress(needed=int(must.sum()), open=int((must & ~seen).sum()), reviewed=int(seen.sum()))


def recount(table: CellTable, marks: Marks, settings: AnalysisSettings) -> DifferentialCount:
    """The count of the final classes; a class is flagged for what nobody has looked at yet."""
    return _count(final(table, marks), _doubt(table, marks), settings)


def shown_counts(
    table: CellTable, marks: Marks, settings: AnalysisSettings
) -> tuple[DifferentialCount, DifferentialCount]:
    """The model's and the experts' count without hidden cells: a count that holds them tells what their classes are."""
    shown = ~hidden(table, marks)
    if shown.all():
        return table.count, recount(table, marks, settings)
    model = _count(table.model[shown], 1 - table.probability[shown], settings)
    return model, _count(final(table, marks)[shown], _doubt(table, marks)[shown], settings)


def _doubt(table: CellTable, marks: Marks) -> NDArray[np.float64]:
    return np.where(marks.expert >= 0, 0.0, 1 - table.probability)


def _count(classes: Places, doubt: NDArray[np.float64], settings: AnalysisSettings) -> DifferentialCount:
    numbers = np.bincount(classes, minlength=len(CELL_CLASSES)).tolist()
    return counting.differential(
        dict(zip(CELL_CLASSES, numbers, strict=True)),
        me_include_monocytic=settings.me_include_monocytic,
        flags=counting.rescreen(classes, doubt, settings.rescreen_above),
    )


def corrected(analysis: Analysis, table: CellTable, marks: Marks, settings: AnalysisSettings) -> Analysis:
    """The analysis with the experts' classes; a cell's probability is what the model gives the class it now has."""
    chosen = [(row, int(marks.expert[row])) for row in np.flatnonzero(marks.expert >= 0).tolist()]
    cells = list(analysis.cells)
    for row, place in chosen:
        name, likely = CELL_CLASSES[place], cells[row].probabilities[place]
        cells[row] = replace(cells[row], class_name=name, probability=likely, review=False)
    count = recount(table, marks, settings)
    former, few = (counting.few_cells(each.total, settings.minimum_cells) for each in (analysis.differential, count))
    warnings = [text for text in (*analysis.warnings, few) if text and text != former]
    return replace(analysis, cells=tuple(cells), differential=count, warnings=tuple(warnings))
