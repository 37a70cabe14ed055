"""Instances that are not what they seem: nothing is acknowledged that is not kept and known."""

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_io.errors import InstanceRejected
from dicom_io.store import FileStore, InstanceHeader
from node.database import Database
from node.intake.intake import Intake
from node.tables import instances, slides
from tests.slides import SERIES, write_slide


@pytest.fixture
def header(tmp_path: Path) -> InstanceHeader:
    store = FileStore(tmp_path / "store")
    return store.keep(write_slide(store.spool)[0])


@pytest.mark.parametrize("changes", [{"series_instance_uid": "2.25.9"}, {"study_instance_uid": "2.25.8"}])
def test_an_instance_of_another_series_under_a_known_uid_is_refused(
    intake: Intake, database: Database, header: InstanceHeader, tmp_path: Path, changes: dict[str, str]
) -> None:
    intake.instance(header, "SCANNER")
    elsewhere = tmp_path / "store" / "elsewhere.dcm"
    elsewhere.write_bytes(header.path.read_bytes())
    with pytest.raises(InstanceRejected, match="SOPInstanceUID is kept in another series") as caught:
        intake.instance(replace(header, path=elsewhere, **changes), "SCANNER")
    assert caught.value.status == 0xC000
    assert (elsewhere.exists(), header.path.exists()) == (False, True)
    with database.read() as connection:
        assert connection.execute(sa.select(instances.c.series_instance_uid)).scalars().all() == [SERIES]


def test_a_slide_that_does_not_say_its_modality_is_a_slide(
    intake: Intake, database: Database, header: InstanceHeader
) -> None:
    intake.instance(replace(header, modality=""), "SCANNER")
    with database.read() as connection:
        assert connection.execute(sa.select(slides.c.series_instance_uid)).scalars().all() == [SERIES]
