"""A database with the tables of the node and of DBOS, and the parts that work on it; no process, no network."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dbos import DBOS

from node.database import Database
from node.intake.intake import Intake
from node.intake.linking import Linking
from node.opening import prepare
from node.queues import Work
from node.settings import IntakeSettings, Settings
from tests.stored_cases import Site


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'node.sqlite'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = prepare(url)
    DBOS.migrate(url)
    yield database
    database.close()


@pytest.fixture
def work(url: str, database: Database) -> Iterator[Work]:
    work = Work(url)
    yield work
    work.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, intake=IntakeSettings(quiet_s=0.001, incomplete_s=0.001))


@pytest.fixture
def intake(settings: Settings, database: Database, work: Work) -> Intake:
    return Intake(settings, database, work)


@pytest.fixture
def linking(settings: Settings, database: Database, work: Work) -> Linking:
    return Linking(settings.intake, database, work)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.at(tmp_path) as site:
        yield site
