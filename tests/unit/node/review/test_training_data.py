"""What experts chose is read by the training, and holds nothing of the patient."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from typer.testing import CliRunner

from node.cli.commands import app
from node.people.accounts import Person, Role
from node.review.marking import Wanted
from node.review.reviewing import Reviewing
from node.web.app import create_web
from node.web.identity import COOKIE
from pipeline.domain import CELL_CLASSES
from pipeline.training.datasets import CellFolder, load_cells
from pipeline.training.labels import split_of
from tests.stored_cases import Site, small_case

PETRA = Person(name="petra", full_name="Dr. Petra Prüfer", role=Role.REVIEWER)
Give = Callable[[int, str | None], None]


@pytest.fixture
def case_id(site: Site, tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_case(site, tmp_path_factory.mktemp("scanner"), run=0)


@pytest.fixture
def give(site: Site, case_id: str) -> Give:
    desk: Reviewing = site.web_sources().reviewing

    def change(cell: int, class_name: str | None) -> None:
        seen = int(desk.open(case_id).marks.versions[cell - 1])
        desk.change(case_id, 0, [Wanted(cell=cell, seen=seen, class_name=class_name)], PETRA)

    return change


@pytest.fixture
def export(site: Site, tmp_path: Path) -> Callable[..., str]:
    """`marrow-node review export` into a folder; returns what it prints."""
    config = tmp_path / "node.toml"
    config.write_text(f'home = "{site.home}"\n')

    def run(out: Path, *options: str) -> str:
        done = CliRunner().invoke(app, ["review", "export", "--out", str(out), "--config", str(config), *options])
        if done.exception is not None:
            raise done.exception
        return done.output

    return run


def test_choices_become_folders_that_training_reads(
    case_id: str, give: Give, export: Callable[..., str], tmp_path: Path
) -> None:
    give(1, "basophil")
    give(2, "plasma cell")
    give(2, "late erythroblast")
    give(3, "others")
    give(3, None)
    out = tmp_path / "export"
    said = export(out)
    assert f"2 cells in {out}" in said
    assert f"--cells {out}:0.125" in said
    index = json.loads((out / "cells.json").read_text())
    first, second = index["cells"]
    assert (second["to"], second["who"], second["signed_version"]) == ("late erythroblast", "petra", None)
    assert [change["to"] for change in second["history"]] == ["plasma cell", "late erythroblast"]
    assert second["history"][1]["from"] == "plasma cell"
    assert second["from"] in CELL_CLASSES
    assert (first["bundle"]["name"], first["case"], first["run"]) == ("marrow-small", case_id, 0)
    assert (out / first["file"]).parent.name == "basophil"
    crops = load_cells([CellFolder(root=out, mpp=index["mpp"])])
    assert sorted(crops.codes) == ["basophil", "late_erythroblast"]
    for text in ("Muster", "TEST-4711", "S26-00017"):
        assert text not in (out / "cells.json").read_text()


def test_all_cells_of_a_case_are_on_one_side_of_the_split(
    case_id: str, give: Give, export: Callable[..., str], tmp_path: Path
) -> None:
    for cell in range(1, 25):
        give(cell, CELL_CLASSES[cell % 2])
    export(tmp_path / "out")
    crops = load_cells([CellFolder(root=tmp_path / "out", mpp=0.125)])
    assert len(crops) == 24
    assert {split_of(name) for name in crops.names} == {split_of(f"{case_id}#")}


def test_only_choices_since_a_day(give: Give, export: Callable[..., str], tmp_path: Path) -> None:
    give(1, "basophil")
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    assert export(tmp_path / "none", "--since", tomorrow).strip() == "no choices yet"
    assert "1 cells" in export(tmp_path / "one", "--since", "2020-01-01")


def test_a_folder_with_files_is_not_mixed_in(give: Give, export: Callable[..., str], tmp_path: Path) -> None:
    give(1, "basophil")
    export(tmp_path / "out")
    with pytest.raises(Exception, match="give a new folder"):
        export(tmp_path / "out")


def test_the_pages_get_a_zip_of_one_case(site: Site, case_id: str, give: Give) -> None:
    sources = site.web_sources()
    with TestClient(create_web(sources), cookies={COOKIE: site.sign_in()}) as client:
        address = f"/api/cases/{case_id}/training-data"
        assert client.get(address).status_code == 404
        give(1, "basophil")
        answer = client.get(address)
        assert answer.headers["content-type"] == "application/zip"
        with ZipFile(io.BytesIO(answer.content)) as archive:
            picture, index = archive.namelist()
            assert (picture, index) == (f"basophil/{case_id}#0-1.png", "cells.json")
            image = np.asarray(Image.open(io.BytesIO(archive.read(picture))))
        assert image.shape == (224, 224, 3)
    sources.cells.close()
    with TestClient(create_web(site.web_sources()), cookies={COOKIE: site.sign_in(Role.VIEWER)}) as viewer:
        assert viewer.get(address).status_code == 403
