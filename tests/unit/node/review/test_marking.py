"""Experts' changes of cells: what needs a look, what may be changed, and the count that comes of it."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from node.errors import ReviewRefused
from node.review.marking import (
    CellTable,
    Marks,
    Need,
    Wanted,
    corrected,
    draft,
    final,
    hidden,
    look_alikes,
    mark,
    needs,
    no_marks,
    progress,
    recount,
    shown_counts,
    stale,
    table_of,
)
from node.settings import AnalysisSettings
from pipeline.domain import CELL_CLASSES, Analysis, Cell
from tests.builders import build_analysis, build_cell, build_cells

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
SETTINGS = AnalysisSettings(minimum_cells=3, rescreen_above=0.1)


def sure(number: int, name: str, probability: float = 0.99, **others: float) -> Cell:
    """A cell of `name`; what `others` leave of the rest is nowhere."""
    likely = {name: probability, **{key.replace("_", " "): value for key, value in others.items()}}
    return build_cell(
        number,
        name,
        (50.0 * number, 50.0),
        20.0,
        probability=probability,
        probabilities=tuple(likely.get(each, 0.0) for each in CELL_CLASSES),
        review=probability < 0.6,
    )


def analysis_of(*cells: Cell) -> Analysis:
    return build_analysis(cells=cells)


def reviewed(table: CellTable, marks: Marks, *wanted: tuple[int, str | None], version: int = 100) -> Marks:
    """The marks after a person has had these cells changed."""
    asked = [Wanted(cell=cell, seen=0, class_name=name) for cell, name in wanted]
    drafted = draft(table, marks, asked, "pp", NOON)
    kept = [replace(change, version=version + number) for number, change in enumerate(drafted)]
    return mark(table, marks, kept)


def test_what_needs_a_look() -> None:
    flagged = analysis_of(
        sure(1, "monocyte"),
        sure(2, "monocyte", 0.5),
        sure(3, "lymphocyte", 0.61, atypical_lymphocyte=0.39),
        sure(4, "atypical lymphocyte", 0.55, lymphocyte=0.45),
        sure(5, "lymphocyte", 0.7, monocyte=0.6),
        sure(6, "immature monocyte", 0.62, promyelocyte=0.5),
    )
    rows = tuple(
        replace(row, flag="rescreen" if row.name == "monocyte" else "") for row in flagged.differential.components
    )
    table = table_of(replace(flagged, differential=replace(flagged.differential, components=rows)), 0.0, "C1:1")
    assert [Need(int(value)) for value in needs(table, no_marks(table))] == [
        Need.RESCREEN,
        Need.DOUBT | Need.RESCREEN,
        Need(0),
        Need.DOUBT | Need.LOOK_ALIKE,
        Need(0),
        Need.LOOK_ALIKE,
    ]
    assert look_alikes("immature monocyte") == ("promonocyte", "promyelocyte")
    assert progress(table, no_marks(table)).needed == 3  # a rescreened class is looked through, not signed cell by cell


def test_changes_are_counted_at_once_and_taken_back() -> None:
    table = table_of(analysis_of(sure(1, "myeloblast"), sure(2, "myeloblast"), sure(3, "late erythroblast")), 0, "")
    first = reviewed(table, no_marks(table), (2, "lymphocyte"), (3, "others"))
    assert CELL_CLASSES[final(table, first)[1]] == "lymphocyte"
    count = recount(table, first, SETTINGS)
    assert (count.total, count.me_ratio, dict(count.excluded)["others"]) == (2, None, 1)
    again = reviewed(table, first, (2, None), (3, "late erythroblast"), version=200)
    assert recount(table, again, SETTINGS) == recount(table, no_marks(table), SETTINGS)
    assert (again.version, again.versions.tolist()) == (201, [0, 200, 201])
    assert progress(table, again).reviewed == 1  # confirmed; the other is the model's again
    assert first.versions.tolist() == [0, 100, 101], "marks are values"


def test_a_class_is_flagged_until_experts_have_seen_its_doubtful_cells() -> None:
    table = table_of(analysis_of(sure(1, "monocyte", 0.7), sure(2, "monocyte", 0.95)), 0, "")
    flagged = {row.name for row in recount(table, no_marks(table), SETTINGS).components if row.flag}
    assert flagged == {"monocyte"}
    confirmed = reviewed(table, no_marks(table), (1, "monocyte"))
    assert not [row for row in recount(table, confirmed, SETTINGS).components if row.flag]


def test_what_somebody_else_changed_is_stale() -> None:
    table = table_of(analysis_of(sure(1, "monocyte"), sure(2, "monocyte")), 0, "")
    marks = reviewed(table, no_marks(table), (1, "lymphocyte"), version=7)
    asked = [Wanted(cell=1, seen=0, class_name="others"), Wanted(cell=2, seen=0, class_name="others")]
    assert stale(table, marks, asked) == (7,)
    assert stale(table, marks, [replace(asked[0], seen=7), replace(asked[1], seen=3)]) == (0,)
    assert stale(table, marks, [replace(asked[0], seen=7), asked[1]]) == ()


def test_a_change_remembers_what_it_was_made_from() -> None:
    table = table_of(analysis_of(sure(1, "monocyte")), 0, "")
    marks = reviewed(table, no_marks(table), (1, "lymphocyte"))
    (change,) = draft(table, marks, [Wanted(cell=1, seen=100, class_name="plasma cell")], "pp", NOON)
    assert (change.model, change.previous, change.class_name, change.actor) == (
        "monocyte", "lymphocyte", "plasma cell", "pp",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([(9, "monocyte")], "no such cell"),
        ([(0, "monocyte")], "no such cell"),
        ([(1, "monocyte"), (1, "others")], "named twice"),
        ([(1, "blast")], "no class 'blast'"),
        ([(1, None)], "nothing to take back"),
    ],
)
def test_what_cannot_be_changed(wanted: list[tuple[int, str | None]], message: str) -> None:
    table = table_of(analysis_of(sure(1, "monocyte"), sure(2, "monocyte")), 0, "")
    with pytest.raises(ReviewRefused, match=message):
        reviewed(table, no_marks(table), *wanted)


def test_a_run_without_cells_has_no_cell_to_change() -> None:
    table = table_of(replace(build_analysis(), cells=()), 0.5, "")
    with pytest.raises(ReviewRefused, match="no such cell"):
        reviewed(table, no_marks(table), (1, "others"))


def test_blind_cells_hide_the_model_until_somebody_chose() -> None:
    cells = build_cells({"lymphocyte": 400, "monocyte": 400})
    table = table_of(analysis_of(*cells), 0.25, "C1:1")
    start = no_marks(table)
    sampled = np.flatnonzero(hidden(table, start))
    assert 150 < len(sampled) < 250
    assert set(needs(table, start)[sampled].tolist()) == {Need.BLIND}
    assert table_of(analysis_of(*cells), 0.25, "C1:1").sampled.tolist() == table.sampled.tolist()
    more = table_of(analysis_of(*cells), 0.5, "C1:1").sampled
    assert more[sampled].all(), "a larger share adds cells, and takes none out"
    assert table_of(analysis_of(*cells), 0.25, "C1:2").sampled.tolist() != table.sampled.tolist()

    cell = int(table.ids[sampled[0]])
    (choice,) = draft(table, start, [Wanted(cell=cell, seen=0, class_name="basophil")], "pp", NOON)
    assert choice.blind
    marks = mark(table, start, [replace(choice, version=1)])
    assert not hidden(table, marks)[sampled[0]]
    (second,) = draft(table, marks, [Wanted(cell=cell, seen=1, class_name="others")], "pp", NOON)
    assert not second.blind, "the model's class was shown by then"
    taken_back = reviewed(table, marks, (cell, None))
    assert not hidden(table, taken_back)[sampled[0]], "what was shown stays shown"


def test_the_counts_that_are_shown_leave_hidden_cells_out() -> None:
    cells = build_cells({"lymphocyte": 400, "monocyte": 400})
    table = table_of(analysis_of(*cells), 0.25, "C1:1")
    start, settings = no_marks(table), AnalysisSettings()
    unseen = hidden(table, start)
    model, expert = shown_counts(table, start, settings)
    assert model.total == expert.total == 800 - unseen.sum()
    by_name = {row.name: row.count for row in model.components}
    assert by_name["lymphocyte"] == ((table.model == CELL_CLASSES.index("lymphocyte")) & ~unseen).sum()
    chosen = int(table.ids[np.flatnonzero(unseen)[0]])
    marks = reviewed(table, start, (chosen, "basophil"))
    model, expert = shown_counts(table, marks, settings)
    assert model.total == expert.total == 801 - unseen.sum()
    assert {row.name: row.count for row in expert.components}["basophil"] == 1
    assert recount(table, marks, settings).total == 800, "what is signed is of all cells"
    signed = replace(start, signed=True)
    assert not hidden(table, signed).any()
    assert shown_counts(table, signed, settings) == (table.count, recount(table, signed, settings))


def test_the_corrected_analysis_is_what_is_signed() -> None:
    analysis = analysis_of(sure(1, "monocyte"), sure(2, "monocyte", 0.5, lymphocyte=0.4), sure(3, "basophil", 0.5))
    analysis = replace(analysis, warnings=("Only 3 cells were counted; at least 200 are wanted.", "soft focus"))
    table = table_of(analysis, 0, "")
    marks = reviewed(table, no_marks(table), (2, "lymphocyte"), (1, "others"))
    signed = corrected(analysis, table, marks, AnalysisSettings())
    assert [cell.class_name for cell in signed.cells] == ["others", "lymphocyte", "basophil"]
    assert [cell.review for cell in signed.cells] == [False, False, True]
    assert signed.cells[1].probability == 0.4
    assert signed.differential == recount(table, marks, AnalysisSettings())
    assert signed.warnings == ("soft focus", "Only 2 cells were counted; at least 200 are wanted.")
    assert analysis.cells[0].class_name == "monocyte"
