"""What the index answers is what its records say, whichever part of a question the database decides."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.uid import VLWholeSlideMicroscopyImageStorage

from dicom_io.qido import Level, parse_query
from node.catalogue import Catalogue, Held
from node.tables import dicom_index, instances
from tests.stored_cases import Site
from tests.unit.dicom_io.instances import save, slide_dataset

Key = tuple[str, str]
STUDIES = (  # patient, name, accession, date, modalities
    ("P-1", "Muster^Maria", "S26-1", "20260301", ("SM", "SEG")),
    ("P-2", "Muster^Max=山田^太郎", "S26-2", "20260302", ("SM",)),
    ("p_1", "O'Neil^Sam", "S26-10", "", ("SM", "ANN", "SR")),
    ("P%1", "", "", "20260401", ("SR",)),
)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    """Four studies of other kinds."""
    with Site.at(tmp_path_factory.mktemp("catalogue")) as site:
        for study, (patient, name, accession, date, modalities) in enumerate(STUDIES, 1):
            for number, modality in enumerate(modalities):
                receive(
                    site,
                    f"2.25.{study}",
                    f"2.25.{study}.{number}",
                    PatientID=patient,
                    PatientName=name,
                    AccessionNumber=accession,
                    StudyDate=date,
                    Modality=modality,
                )
        yield Catalogue(site.database)


def receive(site: Site, study: str, series: str, **values: object) -> Path:
    ds = slide_dataset((64, 64), f"{series}.7", StudyInstanceUID=study, SeriesInstanceUID=series, **values)
    ds.SpecificCharacterSet = "ISO_IR 192"
    return site.receive(save(ds, site.folder.parent / f"{series}.dcm", [bytes(64 * 64 * 3)])).path


def search(catalogue: Catalogue, level: Level, *keys: Key) -> list[dict]:
    return [json.loads(record) for record in catalogue.search(parse_query(level, keys), "http://node").records]


QUESTIONS: Sequence[Sequence[Key]] = (
    (),
    (("StudyInstanceUID", "2.25.1,2.25.3"),),
    (("StudyInstanceUID", "*"),),
    (("PatientID", "P-1"),),
    (("PatientID", "p-1"),),
    (("PatientID", "P?1"),),
    (("PatientID", "p_*"),),
    (("PatientID", "P%1"),),
    (("PatientID", "P-1\\P-2"),),
    (("AccessionNumber", "S26-1"),),
    (("AccessionNumber", "S26-1*"),),
    (("AccessionNumber", "s26*"),),
    (("PatientName", "muster*"),),
    (("PatientName", "*max"),),
    (("PatientName", "山田*"),),
    (("PatientName", "max muster"), ("fuzzymatching", "true")),
    (("PatientName", "^"), ("fuzzymatching", "true")),
    (("StudyDate", "20260301"),),
    (("StudyDate", "20260301-20260331"),),
    (("StudyDate", "20260302-"),),
    (("StudyDate", "-20260302"),),
    (("StudyDate", "-"),),
    (("StudyDate", "202603"),),
    (("ModalitiesInStudy", "ANN,SEG"),),
    (("ModalitiesInStudy", "S?"),),
    (("ModalitiesInStudy", "*"),),
    (("ModalitiesInStudy", "SEG"), ("AccessionNumber", "S26*")),
    (("SOPClassesInStudy", "1.2.3"),),
    (("Modality", "SM"),),
    (("Modality", "S*"), ("PatientID", "P-1")),
    (("SOPClassUID", "1.2.840.10008.5.1.4.1.1.77.1.6"), ("StudyDate", "20260302")),
    (("SeriesInstanceUID", "2.25.3.1"),),
    (("Rows", "64"), ("AccessionNumber", "S26-2")),
    (("Rows", "65"),),
)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("keys", QUESTIONS, ids=str)
def test_the_index_finds_what_matches(catalogue: Catalogue, level: Level, keys: Sequence[Key]) -> None:
    everything = search(catalogue, level, ("includefield", "all"))
    modalities = {uid: [] for uid in (f"2.25.{n}" for n in range(1, 5))}
    for record in search(catalogue, Level.SERIES):
        modalities[record["0020000D"]["Value"][0]] += record["00080060"]["Value"]
    expected = []
    for record in everything:  # as if every record said what its study holds
        whole = record | {"00080061": {"vr": "CS", "Value": modalities[record["0020000D"]["Value"][0]]}}
        whole["00080062"] = {"vr": "UI", "Value": [VLWholeSlideMicroscopyImageStorage]}
        if level is Level.STUDY:
            whole["00080060"] = whole["00080061"]
            whole["0020000E"] = {"vr": "UI", "Value": [f"{record['0020000D']['Value'][0]}.{n}" for n in range(3)]}
        if parse_query(level, keys).matches(whole):
            expected.append(record["00081190"])
    assert [record["00081190"] for record in search(catalogue, level, *keys)] == expected


@pytest.mark.parametrize("keys", [(), (("PatientID", "*-*"),)], ids=["decided", "sifted"])
def test_pages_say_how_many_follow(catalogue: Catalogue, keys: Sequence[Key]) -> None:
    whole = search(catalogue, Level.INSTANCE, *keys)
    for offset in (0, 2, 9):
        query = parse_query(Level.INSTANCE, [*keys, ("limit", "2"), ("offset", str(offset))])
        found = catalogue.search(query, "http://node")
        assert [json.loads(record) for record in found.records] == whole[offset : offset + 2]
        assert found.remaining == max(0, len(whole) - offset - 2)


def test_a_study_says_what_it_holds_also_when_part_of_it_was_asked_for(catalogue: Catalogue) -> None:
    (study,) = search(catalogue, Level.STUDY, ("ModalitiesInStudy", "ANN"))
    assert study["00080061"]["Value"] == ["ANN", "SM", "SR"]
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([3], [3])


def test_what_comes_later_is_found(tmp_path: Path) -> None:
    with Site.at(tmp_path) as site:
        catalogue = Catalogue(site.database)
        assert search(catalogue, Level.STUDY) == []
        receive(site, "2.25.1", "2.25.1.1")
        assert len(search(catalogue, Level.STUDY)) == 1
        receive(site, "2.25.2", "2.25.2.1")
        assert len(catalogue.held("2.25.2", "2.25.2.1", "2.25.2.1.7")) == 1


def test_a_row_of_a_slow_clock_is_found(tmp_path: Path) -> None:
    with Site.at(tmp_path) as site:
        catalogue = Catalogue(site.database)
        search(catalogue, Level.STUDY)
        receive(site, "2.25.1", "2.25.1.1")
        with site.database.write() as connection:
            connection.execute(instances.update().values(received_at=datetime.now(UTC) - timedelta(minutes=5)))
        assert len(search(catalogue, Level.STUDY)) == 1


def test_a_frame_does_not_look_for_what_came_since(tmp_path: Path) -> None:
    """Looking takes longer the more is kept; a viewer asks for thousands of frames of one instance."""
    with Site.at(tmp_path) as site:
        catalogue = Catalogue(site.database)
        place = ("2.25.1", "2.25.1.1", "2.25.1.1.7")
        path = receive(site, *place[:2])
        (held,) = catalogue.held(*place)
        assert isinstance(held, Held)
        assert held.path == path
        receive(site, "2.25.2", "2.25.2.1")
        assert catalogue.held(*place) == (held,)
        with site.database.read() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(dicom_index)).scalar_one() == 1
