"""Blind review: what hides the class of the model until an expert has chosen or signed."""

from pathlib import Path

import sqlalchemy as sa
from fastapi.testclient import TestClient

from node.cases import read_case
from node.settings import ReviewSettings, Settings
from node.tables import cell_changes
from node.web.app import create_web
from node.web.identity import COOKIE
from tests.slides import STUDY
from tests.stored_cases import Site, reported_case, small_case
from tests.unit.node.web.reviewer import Reviewer


def test_blind_cells_hide_what_the_model_thinks(site: Site) -> None:
    case_id = reported_case(site)
    app = create_web(site.web_sources(site=Settings(home=site.home, review=ReviewSettings(blind_share=1.0))))
    with TestClient(app, cookies={COOKIE: site.sign_in()}) as client:
        reviewer = Reviewer(client, case_id)
        cells = reviewer.read("cells")
        assert set(cells["model"]) == {-1}
        assert set(cells["probability"]) == {0.0}
        assert set(cells["need"]) == {4}
        hidden = reviewer.read("cells/7")
        assert (hidden["class_name"], hidden["probability"], hidden["probabilities"], hidden["look_alikes"]) == (
            None, None, {}, [],
        )  # fmt: skip
        review = reviewer.change((7, 0, "basophil")).json()["review"]
        assert (review["blind"], review["needed"]) == (True, 240)
        assert reviewer.read("cells/7")["class_name"] is not None
        assert reviewer.read("cells")["model"][6] >= 0
        shown = reviewer.read("cells/7")["class_name"]
        reviewer.change((7, reviewer.read("cells/7")["version"], shown))
        reviewer.change((8, 0, "basophil"), (9, 0, "basophil"))
        figures = client.get("/api/agreement").json()
    with site.database.read() as connection:
        blind = connection.execute(sa.select(cell_changes.c.cell_id, cell_changes.c.blind)).all()
    assert [tuple(row) for row in blind] == [(7, True), (7, False), (8, True), (9, True)]
    assert (figures["blind"][0]["month"], figures["blind"][0]["n"], figures["all"][0]["n"]) == ("", 3, 3)
    assert figures["all"][0]["agree"] == figures["blind"][0]["agree"] + 1, "the newest choice counts, or the blind one"
    assert len(figures["all"]) == 2


def test_files_wait_for_the_blind_choices(site: Site) -> None:
    case_id = reported_case(site)
    app = create_web(site.web_sources(site=Settings(home=site.home, review=ReviewSettings(blind_share=0.05))))
    with TestClient(app, cookies={COOKIE: site.sign_in()}) as client:
        reviewer = Reviewer(client, case_id)
        cells = reviewer.read("cells")
        unseen = [cell for cell, place in zip(cells["id"], cells["model"], strict=True) if place == -1]
        review = reviewer.read()
        assert 0 < review["hidden"] == len(unseen) < len(cells["id"])
        for side in ("model", "expert"):
            counted = sum(row["count"] for row in review[side]["components"]) + sum(review[side]["excluded"].values())
            assert counted == len(cells["id"]) - len(unseen)
        files = client.get(reviewer.root).json()["files"]
        assert {file["kind"] for file in files if file["tells_classes"]} >= {"RESULT", "OVERVIEW", "ORU"}
        refused = client.get(f"{reviewer.root}/files/result.json")
        assert (refused.status_code, refused.json()["field"]) == (409, "name")
        assert "blind review" in refused.json()["remedy"]
        *first, last = [(cell, 0, "lymphocyte") for cell in unseen]
        assert reviewer.change(*first).json()["review"]["hidden"] == 1
        assert client.get(f"{reviewer.root}/files/result.json").status_code == 409
        assert reviewer.change(last).json()["review"]["hidden"] == 0
        assert client.get(f"{reviewer.root}/files/result.json").status_code == 200


def test_a_signature_ends_blind_review(site: Site) -> None:
    case_id = reported_case(site)
    app = create_web(site.web_sources(site=Settings(home=site.home, review=ReviewSettings(blind_share=0.05))))
    with TestClient(app, cookies={COOKIE: site.sign_in()}) as client:
        reviewer = Reviewer(client, case_id)
        cells = reviewer.read("cells")
        unseen = cells["id"][cells["model"].index(-1)]
        assert reviewer.sign(0, "nobody is there who could look at them").json()["hidden"] == 0
        assert -1 not in reviewer.read("cells")["model"]
        assert client.get(f"{reviewer.root}/files/result.json").status_code == 200
        assert reviewer.change((unseen, 0, "basophil")).status_code == 200
    with site.database.read() as connection:
        assert connection.execute(sa.select(cell_changes.c.blind)).scalar_one() is False


def test_dicomweb_keeps_back_from_a_person_what_blind_review_hides(site: Site, tmp_path: Path) -> None:
    """A viewer or archive that nobody signed in from gets the whole result."""
    case_id = small_case(site, tmp_path, run=0)
    view = read_case(site.database, case_id)
    assert view is not None
    series = {file.kind: file.series_instance_uid for file in view.files if file.sop_instance_uid}
    app = create_web(site.web_sources(site=Settings(home=site.home, review=ReviewSettings(blind_share=0.05))))
    here = {"base_url": "http://127.0.0.1", "client": ("127.0.0.1", 50000)}

    def statuses(client: TestClient) -> dict[str, int]:
        return {
            kind: client.get(f"/dicomweb/studies/{STUDY}/series/{uid}/metadata").status_code
            for kind, uid in series.items()
        }

    def modalities(client: TestClient) -> list[str]:
        found = client.get(f"/dicomweb/studies/{STUDY}/metadata").json()
        return sorted(each["00080060"]["Value"][0] for each in found)

    with TestClient(app, **here) as archive, TestClient(app, **here, cookies={COOKIE: site.sign_in()}) as client:
        assert set(statuses(archive).values()) == {200}
        assert statuses(client) == {"SEG": 409, "ANN": 409, "SR": 409, "SEGROI": 200, "SR3D": 200}
        refused = client.get(f"/dicomweb/studies/{STUDY}/series/{series['ANN']}").json()
        assert "blind review" in refused["remedy"]
        assert modalities(archive) == ["ANN", "SEG", "SEG", "SM", "SM", "SM", "SR", "SR"]
        assert modalities(client) == ["SEG", "SM", "SM", "SM", "SR"], "the regions, in either form"
        reviewer = Reviewer(client, case_id)
        cells = reviewer.read("cells")
        unseen = [cell for cell, place in zip(cells["id"], cells["model"], strict=True) if place == -1]
        assert reviewer.change(*[(cell, 0, "lymphocyte") for cell in unseen]).status_code == 200
        assert set(statuses(client).values()) == {200}
        assert modalities(client) == modalities(archive)
