"""The review as the pages use it: two reviewers, undo, blind cells, and what may be signed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from node import cases
from node.people.accounts import Role
from node.results.archive import analysis_file, load_analysis, save_analysis
from node.review.marking import MANDATORY
from node.tables import audit, cell_changes, objects, signatures
from node.tables import cases as case_table
from node.views import CaseState
from pipeline.domain import CELL_CLASSES
from tests.builders import build_analysis, build_cells, build_slide_info
from tests.stored_cases import Site, reported_case, store_case
from tests.unit.node.web.reviewer import Reviewer


@pytest.fixture
def case_id(site: Site) -> str:
    return reported_case(site)


@pytest.fixture
def first(client: TestClient, case_id: str) -> Reviewer:
    return Reviewer(client, case_id)


@pytest.fixture
def second(client_of: Callable[[Role], TestClient], case_id: str) -> Reviewer:
    return Reviewer(client_of(Role.ADMIN), case_id)


def share(count: dict[str, Any], name: str) -> int:
    return int(next(row["count"] for row in count["components"] if row["name"] == name))


def test_nothing_is_changed_at_first(first: Reviewer) -> None:
    review = first.read()
    assert (review["version"], review["reviewed"], review["signed"], review["status"]) == (0, 0, None, "P")
    assert review["expert"]["total"] == review["model"]["total"] == 220
    assert review["open"] == review["needed"] == sum(first.read("cells")["review"])
    assert review["may_sign"] is True
    assert {alert["kind"] for alert in review["alerts"]} >= {"review", "excluded_lymphoid"}


def test_a_change_is_counted_and_shown_to_the_others(first: Reviewer, second: Reviewer, site: Site) -> None:
    cells = first.read("cells")
    place = cells["model"].index(CELL_CLASSES.index("plasma cell"))
    cell = cells["id"][place]
    done = first.change((cell, 0, "others"))
    assert done.status_code == 200, done.text
    answer = done.json()
    assert share(answer["review"]["model"], "plasma cell") == 3
    assert share(answer["review"]["expert"], "plasma cell") == 2
    assert answer["review"]["expert"]["total"] == 219
    assert answer["review"]["expert"]["excluded"]["others"] == answer["review"]["model"]["excluded"]["others"] + 1
    seen = second.read("review/changes", since=0)
    assert seen["version"] == answer["version"]
    assert [(change["cell"], change["class_name"], change["actor"]) for change in seen["changes"]] == [
        (cell, "others", "reviewer")
    ]
    assert second.read("review/changes", since=answer["version"]) == {"version": answer["version"], "changes": []}
    after = second.read("cells")
    assert (after["expert"][place], after["version"][place]) == (CELL_CLASSES.index("others"), answer["version"])
    assert after["model"][place] == cells["model"][place]
    with site.database.read() as connection:
        kept = connection.execute(sa.select(audit).where(audit.c.action == "cells changed")).one()
    assert (kept.actor, kept.detail) == (
        "reviewer",
        f"run 0: 1 cells, versions {answer['version']} to {answer['version']}",
    )


def test_two_reviewers_do_not_overwrite_each_other(first: Reviewer, second: Reviewer) -> None:
    made = first.change((1, 0, "lymphocyte"), (2, 0, "lymphocyte")).json()
    late = second.change((2, 0, "plasma cell"), (3, 0, "plasma cell"))
    assert late.status_code == 409
    refused = late.json()
    assert refused["field"] == "changes"
    assert refused["remedy"]
    (conflict,) = refused["conflicts"]
    assert (conflict["cell"], conflict["class_name"], conflict["actor"]) == (2, "lymphocyte", "reviewer")
    assert conflict["full_name"] == "Test Reviewer"
    assert conflict["version"] == made["changes"][1]["version"]
    assert second.read("cells")["expert"][2] == -1, "all or nothing"
    again = second.change((2, conflict["version"], "plasma cell"), (3, 0, "plasma cell"))
    assert again.status_code == 200
    history = first.read("cells/2")["history"]
    assert [change["actor"] for change in history] == ["reviewer", "admin"]
    assert [change["full_name"] for change in history] == ["Test Reviewer", "Test Admin"]


def test_undo_is_one_more_change(first: Reviewer) -> None:
    before = first.read()
    one = first.change((5, 0, "basophil")).json()["version"]
    two = first.change((5, one, None)).json()
    assert two["review"]["expert"] == before["expert"]
    assert two["review"]["reviewed"] == 0
    cell = first.read("cells/5")
    assert (cell["expert"], cell["version"]) == (None, two["version"])
    assert [change["class_name"] for change in cell["history"]] == ["basophil", None]


def test_confirming_is_a_change_that_ends_the_need(first: Reviewer) -> None:
    open_before = first.read()["open"]
    cells = first.read("cells")
    place = cells["review"].index(True)
    name = CELL_CLASSES[cells["model"][place]]
    review = first.change((cells["id"][place], 0, name)).json()["review"]
    assert (review["open"], review["reviewed"]) == (open_before - 1, 1)
    assert review["expert"]["components"] == [
        {**row, "flag": after["flag"]}
        for row, after in zip(review["model"]["components"], review["expert"]["components"], strict=True)
    ]


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ([(9999, 0, "lymphocyte")], 422, ""),
        ([(1, 0, "blast")], 422, ""),
        ([(1, 0, None)], 422, ""),
        ([(1, 0, "lymphocyte"), (1, 0, "others")], 422, ""),
        ([], 422, "changes"),
        ([(-1, 0, "lymphocyte")], 422, "changes.0.cell"),
        ([(1, 7, "lymphocyte")], 409, "run"),
    ],
)
def test_changes_that_make_no_sense(first: Reviewer, changes: list[Any], status: int, field: str) -> None:
    answer = first.change(*changes)
    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert first.read()["version"] == 0


def test_a_case_that_is_counted_again_takes_no_change_and_keeps_the_old_ones(first: Reviewer, site: Site) -> None:
    version = first.change((1, 0, "basophil")).json()["version"]
    case_id = first.root.rpartition("/")[2]
    with site.database.write() as connection:
        cases.move(connection, case_id, CaseState.QUEUED, "requeued", run=1)
    for answer in (first.change((1, version, "others")), first.sign(version)):
        assert (answer.status_code, answer.json()["error"]) == (
            409,
            "the case was counted again since; load its new count",
        )
    assert first.change((1, 0, "others"), run=1).status_code == 404, "there is no count yet"
    save_analysis(load_analysis(analysis_file(site.folder, case_id, 0)), analysis_file(site.folder, case_id, 1))
    assert "wait for its new count" in first.change((1, 0, "others"), run=1).json()["error"]
    with site.database.write() as connection:
        for state in (CaseState.RUNNING, CaseState.DELIVERING):
            cases.move(connection, case_id, state, "")
    review = first.read()
    assert (review["run"], review["version"], review["reviewed"]) == (1, 0, 0)
    with site.database.read() as connection:
        assert connection.execute(sa.select(cell_changes.c.run)).scalars().all() == [0]


def test_viewers_look_and_change_nothing(client_of: Callable[[Role], TestClient], case_id: str) -> None:
    viewer = Reviewer(client_of(Role.VIEWER), case_id)
    assert viewer.read()["version"] == 0
    for answer in (viewer.change((1, 0, "others")), viewer.sign(0)):
        assert answer.status_code == 403


def test_a_cell_in_detail(first: Reviewer) -> None:
    cell = first.read("cells/7")
    assert cell["probabilities"][cell["class_name"]] == cell["probability"]
    assert sum(cell["probabilities"].values()) == pytest.approx(1, abs=0.01)
    side = cell["box"][2] - cell["box"][0]
    assert cell["diameter_um"] == pytest.approx(side * build_slide_info().mpp, rel=0.05)
    assert cell["area_um2"] == pytest.approx(3.14 * (cell["diameter_um"] / 2) ** 2, rel=0.02)
    assert (cell["field_um"], cell["saliency"], cell["history"]) == (21.6, None, [])
    unknown = first.client.get(f"{first.root}/cells/9999")
    assert (unknown.status_code, unknown.json()["field"]) == (404, "cell_id")


def test_saliency_is_that_of_the_cell(site: Site, client: TestClient) -> None:
    import numpy as np

    analysis = build_analysis()
    maps = np.arange(len(analysis.cells), dtype=np.uint8).reshape(-1, 1, 1).repeat(2, 1).repeat(2, 2)
    case_id = reported_case(site, analysis=replace(analysis, saliency=maps))
    assert Reviewer(client, case_id).read("cells/7")["saliency"] == [[6, 6], [6, 6]]


def test_mandatory_reviews_or_a_reason_come_before_the_signature(first: Reviewer, site: Site) -> None:
    refused = first.sign(0)
    assert refused.status_code == 422
    assert "must be reviewed first" in refused.json()["error"]
    version = first.finish()
    assert first.read()["open"] == 0
    signed = first.sign(version)
    assert signed.status_code == 202, signed.text
    review = signed.json()
    assert review["signed"] | {"at": ""} == {
        "by": "reviewer", "full_name": "Test Reviewer", "at": "", "run": 0, "version": version, "revision": 1,
        "status": "F", "reason": "",
    }  # fmt: skip
    assert (review["changed_since_signed"], review["may_sign"], review["revision"]) == (False, False, 1)
    view = cases.read_case(site.database, first.root.rpartition("/")[2])
    assert view is not None
    assert (view.row.state, view.row.cause) == (CaseState.DELIVERING, "signed by Test Reviewer")
    assert {file.revision for file in view.files} == {0}, "the files stay until the worker has made the new ones"
    with site.database.read() as connection:
        asked = connection.execute(
            sa.text("SELECT queue_name FROM workflow_status WHERE workflow_uuid LIKE 'sign:%'")
        ).scalars()
        assert list(asked) == ["signatures"]
        audited = connection.execute(sa.select(audit.c.detail).where(audit.c.action == "case signed")).scalar_one()
    assert audited == f"revision 1, F, run 0, version {version}, 0 open"


def test_a_reason_signs_with_cells_open(first: Reviewer, site: Site) -> None:
    signed = first.sign(0, "  urgent, blasts are certain  ")
    assert signed.status_code == 202
    assert signed.json()["signed"]["reason"] == "urgent, blasts are certain"


def test_what_moved_on_is_not_signed(first: Reviewer, second: Reviewer) -> None:
    version = first.finish()
    second.change((1, first.read("cells")["version"][0], "basophil"))
    refused = first.sign(version)
    assert (refused.status_code, refused.json()["error"][:24]) == (409, "the review has moved on ")
    assert first.sign(first.read()["version"]).status_code == 202
    assert "signature is being carried out" in second.sign(first.read()["version"]).json()["error"]


def test_a_signed_review_is_corrected_by_a_further_signature(first: Reviewer, site: Site) -> None:
    case_id = first.root.rpartition("/")[2]
    version = first.finish()
    first.sign(version)
    with site.database.write() as connection:  # as the worker leaves it
        made = {"kind": "RESULT", "name": "result.json", "media_type": "application/json", "path": "-", "sha256": ""}
        connection.execute(objects.insert().values(case_id=case_id, revision=1, created_at=datetime.now(UTC), **made))
        cases.note(connection, case_id, "made", stage="deliver")
        cases.move(connection, case_id, CaseState.REPORTED, "delivered")
    again = first.sign(version)
    assert (again.status_code, "signed as it stands" in again.json()["error"]) == (409, True)
    later = first.change((1, first.read("cells")["version"][0], "basophil")).json()
    assert (later["review"]["changed_since_signed"], later["review"]["may_sign"]) == (True, True)
    corrected = first.sign(later["version"]).json()
    assert (corrected["signed"]["status"], corrected["signed"]["revision"]) == ("C", 2)
    with site.database.read() as connection:
        times = connection.execute(sa.select(signatures.c.at).order_by(signatures.c.revision)).scalars().all()
    assert (times[1] - times[0]).total_seconds() >= 1, "OBR-22 has whole seconds"


def test_blasts_put_the_case_on_top_as_long_as_they_are_there(client: TestClient, site: Site) -> None:
    stat = store_case(site, CaseState.QUEUED, priority="S")
    analysis = build_analysis(cells=build_cells({"myeloblast": 59, "promonocyte": 1, "lymphocyte": 240}))
    case_id = reported_case(site, analysis=analysis)
    reviewer = Reviewer(client, case_id)
    cells = reviewer.read("cells")
    blasts = [
        cell for cell, place in zip(cells["id"], cells["model"], strict=True) if CELL_CLASSES[place] == "myeloblast"
    ]

    def top() -> dict[str, Any]:
        return client.get("/api/worklist").json()["rows"][0]

    fewer = reviewer.change((blasts[0], 0, "lymphocyte")).json()
    assert top()["case_id"] == stat
    assert "blasts" not in {alert["kind"] for alert in fewer["review"]["alerts"]}
    more = reviewer.change((blasts[0], fewer["version"], "promonocyte")).json()
    assert (top()["case_id"], top()["urgent"]) == (case_id, True)
    assert "20.0 % of the 300 counted nucleated cells" in top()["alerts"][0]
    assert more["review"]["alerts"][0]["kind"] == "blasts"
    assert reviewer.sign(more["version"], "seen").status_code == 202
    assert (top()["case_id"], [row["urgent"] for row in client.get("/api/worklist").json()["rows"]]) == (
        stat, [False, False],
    )  # fmt: skip
    reviewer.change((blasts[1], 0, "promonocyte"))
    assert (top()["case_id"], top()["urgent"]) == (case_id, True)


def test_a_held_case_may_be_signed_and_a_cancelled_one_not(client: TestClient, site: Site) -> None:
    held = Reviewer(client, reported_case(site))
    gone = Reviewer(client, reported_case(site))
    with site.database.write() as connection:
        for reviewer, state in ((held, CaseState.HELD), (gone, CaseState.CANCELLED)):
            connection.execute(
                case_table.update().where(case_table.c.id == reviewer.root[-11:]).values(state=state, hold_cause="few")
            )
    assert held.sign(0, "few cells, but clear").status_code == 202
    refused = gone.sign(0, "x")
    assert (refused.status_code, refused.json()["error"]) == (
        409,
        "the case is cancelled; only a counted case is reviewed",
    )
    with site.database.read() as connection:
        assert cases.current(connection, held.root[-11:]).hold_cause == ""


def test_a_count_without_cells_is_not_signed(client: TestClient, site: Site) -> None:
    reviewer = Reviewer(client, reported_case(site, analysis=build_analysis(cells=build_cells({"monocyte": 2}))))
    version = reviewer.change((1, 0, "others"), (2, 0, "others")).json()["version"]
    assert reviewer.read()["may_sign"] is False
    assert "no counted cell is left" in reviewer.sign(version, "x").json()["error"]


def test_needs_are_told_apart(first: Reviewer) -> None:
    cells = first.read("cells")
    for need, must in zip(cells["need"], cells["review"], strict=True):
        assert must == bool(need & MANDATORY)
