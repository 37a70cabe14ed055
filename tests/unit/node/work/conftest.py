"""A case that was counted, at a site with one LIS and one archive that are away."""

from pathlib import Path

import pytest

from node.settings import LisSettings, PacsSettings, Settings
from tests.stored_cases import Site, small_case


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    lis = LisSettings(name="lis", host="127.0.0.1", port=1)
    pacs = PacsSettings(name="pacs", ae_title="PACS", host="127.0.0.1", port=1)
    return Settings(home=tmp_path, lis=(lis,), pacs=(pacs,))


@pytest.fixture
def case_id(site: Site, tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_case(site, tmp_path_factory.mktemp("scanner"))
