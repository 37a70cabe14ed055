"""dicomweb-client (PyPI) against our DICOMweb: it finds, fetches and stores what the files hold."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from requests import HTTPError, Session
from wsidicom import WsiDicom

from tests.peers.conftest import Archive
from tests.serving import serving
from tests.stored_cases import Site

JPEG = "1.2.840.10008.1.2.4.50"


@pytest.fixture
def client(archive: Archive) -> Iterator[DICOMwebClient]:
    with Session() as session:
        yield DICOMwebClient(archive.url, session=session)


def uids(ds: Dataset) -> tuple[str, str, str]:
    return ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID


def values(rows: list[dict[str, dict]], tag: str) -> list[object]:
    return [row[tag]["Value"][0] for row in rows]


def stored_frames(path: Path) -> list[bytes]:
    ds = dcmread(path)
    return list(generate_frames(ds.PixelData, number_of_frames=int(ds.NumberOfFrames)))


@pytest.mark.parametrize(
    "filters",
    [
        {"ModalitiesInStudy": "SM"},
        {"PatientName": "mos*", "PatientID": "MOSAIC-?"},
        {"AccessionNumber": "BMA26-0001", "StudyDate": "20261001-20261231"},
        {"StudyDate": "20261101", "StudyTime": "1100-1300"},
        {"00100020": "MOSAIC-1", "StudyDescription": "*marrow"},
    ],
)
def test_studies_are_found(client: DICOMwebClient, archive: Archive, filters: dict[str, str]) -> None:
    (study,) = client.search_for_studies(search_filters=filters)
    assert study["0020000D"]["Value"] == [archive.base.StudyInstanceUID]
    assert study["00100010"]["Value"] == [{"Alphabetic": str(archive.base.PatientName)}]
    assert study["00080061"]["Value"] == ["ANN", "SEG", "SM", "SR"]


def test_a_name_is_found_by_its_parts_only_when_asked(client: DICOMwebClient) -> None:
    asked = {"PatientName": "test mosaic"}
    assert client.search_for_studies(search_filters=asked) == []
    assert len(client.search_for_studies(search_filters=asked, fuzzymatching=True)) == 1


@pytest.mark.parametrize("filters", [{"PatientID": "MOSAIC"}, {"StudyDate": "-20261031"}, {"ModalitiesInStudy": "CT"}])
def test_other_studies_are_not(client: DICOMwebClient, filters: dict[str, str]) -> None:
    assert client.search_for_studies(search_filters=filters) == []


def test_pages_make_the_whole(client: DICOMwebClient, archive: Archive) -> None:
    whole = values(client.search_for_instances(), "00080018")
    assert len(whole) == len(archive.slide) + len(archive.results)
    pages = [values(client.search_for_instances(limit=4, offset=offset), "00080018") for offset in (0, 4, 8, 12)]
    assert [len(page) for page in pages] == [4, 4, 2, 0]
    assert [uid for page in pages for uid in page] == whole
    assert values(client.search_for_instances(limit=3, get_remaining=True), "00080018") == whole


def test_series_are_those_of_the_modality(client: DICOMwebClient, archive: Archive) -> None:
    study = archive.base.StudyInstanceUID
    (slide,) = client.search_for_series(search_filters={"Modality": "SM", "StudyInstanceUID": study})
    assert slide["00201209"]["Value"] == [len(archive.slide)]
    found = client.search_for_series(study, search_filters={"Modality": "SEG"})
    assert set(values(found, "0020000E")) == {archive.result(kind).SeriesInstanceUID for kind in ("SEG", "SEGROI")}


def test_fields_are_included(client: DICOMwebClient, archive: Archive) -> None:
    study, series, _ = uids(archive.base)
    (plain, *_) = client.search_for_instances(study, series)
    (asked, *_) = client.search_for_instances(study, series, fields=["Manufacturer", "00080060"])
    assert "00080070" not in plain
    assert asked["00080070"]["Value"] == [archive.base.Manufacturer]
    assert asked["00080060"]["Value"] == ["SM"]


@pytest.mark.parametrize("kind", ["SLIDE", "SEG", "SEGROI", "ANN", "SR", "SR3D"])
def test_metadata_and_bulk_data_make_the_data_set(client: DICOMwebClient, archive: Archive, kind: str) -> None:
    ds = archive.base if kind == "SLIDE" else archive.result(kind)
    told = client.retrieve_instance_metadata(*uids(ds))
    made = Dataset.from_json(told, lambda _tag, _vr, uri: bytes(client.retrieve_bulkdata(uri)[0]))
    kept = Dataset({element.tag: element for element in ds if element.tag.group != 0x7FE0})
    kept.SpecificCharacterSet = "ISO_IR 192"
    assert made == kept


def test_the_metadata_of_a_series_is_that_of_its_instances(client: DICOMwebClient, archive: Archive) -> None:
    study, series, instance = uids(archive.base)
    told = client.retrieve_series_metadata(study, series)
    assert set(values(told, "00080018")) == {dcmread(path).SOPInstanceUID for path in archive.slide}
    assert client.retrieve_instance_metadata(study, series, instance) in told
    assert len(client.retrieve_study_metadata(study)) == len(archive.slide) + len(archive.results)


@pytest.mark.parametrize(
    "accept",
    [
        None,
        (("image/jpeg", JPEG),),
        ("image/jpeg",),
        ("image/*",),
        (("image/jls", "1.2.840.10008.1.2.4.80"), "image/jpeg"),
    ],
)
def test_frames_come_as_stored(client: DICOMwebClient, archive: Archive, accept: tuple[object, ...] | None) -> None:
    stored = stored_frames(archive.slide[0])
    numbers = [240, 1, 17]
    assert client.retrieve_instance_frames(*uids(archive.base), numbers, media_types=accept) == [
        stored[number - 1] for number in numbers
    ]


def test_frames_come_decoded_where_octets_are_asked_for(client: DICOMwebClient, archive: Archive) -> None:
    (pixels,) = client.retrieve_instance_frames(*uids(archive.base), [17], media_types=("application/octet-stream",))
    decoded = np.frombuffer(pixels, np.uint8).reshape(512, 512, 3)
    file = Image.open(io.BytesIO(stored_frames(archive.slide[0])[16])).convert("RGB")
    assert np.abs(decoded.astype(int) - np.asarray(file)).max() <= 1


def test_segmentation_frames_start_on_bytes(client: DICOMwebClient, archive: Archive) -> None:
    seg = archive.result("SEG")
    planes = seg.pixel_array
    for number, frame in zip((1, 333), client.retrieve_instance_frames(*uids(seg), [1, 333]), strict=True):
        bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
        assert np.array_equal(bits.reshape(512, 512), planes[number - 1])


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"])
def test_another_compression_is_not_acceptable(client: DICOMwebClient, archive: Archive, syntax: str) -> None:
    media = {"1.2.840.10008.1.2.4.80": "image/jls", "1.2.840.10008.1.2.4.90": "image/jp2"}[syntax]
    with pytest.raises(HTTPError) as caught:
        client.retrieve_instance_frames(*uids(archive.base), [1], media_types=((media, syntax),))
    assert caught.value.response.status_code == 406


def test_a_frame_that_is_not_there_is_not_found(client: DICOMwebClient, archive: Archive) -> None:
    with pytest.raises(HTTPError) as caught:
        client.retrieve_instance_frames(*uids(archive.base), [241])
    assert caught.value.response.status_code == 404


@pytest.mark.parametrize("accept", [None, (("application/dicom", JPEG),)])
def test_an_instance_is_the_file(client: DICOMwebClient, archive: Archive, accept: tuple[object, ...] | None) -> None:
    assert client.retrieve_instance(*uids(archive.base), media_types=accept) == archive.base


@pytest.mark.parametrize("fetch", ["retrieve", "iter"])
def test_series_and_study_come_whole(client: DICOMwebClient, archive: Archive, fetch: str) -> None:
    study, series, _ = uids(archive.base)
    slide = {dcmread(path).SOPInstanceUID for path in archive.slide}
    results = {archive.result(kind).SOPInstanceUID for kind in archive.results}
    of_series: Callable = getattr(client, f"{fetch}_series")
    of_study: Callable = getattr(client, f"{fetch}_study")
    assert {ds.SOPInstanceUID for ds in of_series(study, series)} == slide
    assert {ds.SOPInstanceUID for ds in of_study(study)} == slide | results


def test_pictures_are_the_slides(client: DICOMwebClient, archive: Archive) -> None:
    level = dcmread(archive.slide[-1])
    size = (level.TotalPixelMatrixColumns, level.TotalPixelMatrixRows)
    rendered = client.retrieve_instance_rendered(*uids(level), media_types=("image/png",))
    with WsiDicom.open(archive.slide) as opened:
        expected = opened.read_region((0, 0), 4, size)
    difference = np.asarray(Image.open(io.BytesIO(rendered))).astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= 2
    thumbnail = client.retrieve_instance_rendered(
        *uids(archive.base), media_types=("image/jpeg",), params={"viewport": "200,200", "quality": "80"}
    )
    assert Image.open(io.BytesIO(thumbnail)).size == (200, 112)


def test_what_is_stored_comes_back(shared: Path, tmp_path: Path) -> None:
    sent = [dcmread(path) for path in sorted((shared / "slides" / "cmu-1-small-region").iterdir())]
    with Site.at(tmp_path) as site, serving(site) as address, Session() as session:
        client = DICOMwebClient(f"{address}/dicomweb", session=session)
        for _ in range(2):  # storing again changes nothing
            told = client.store_instances(sent, sent[0].StudyInstanceUID)
            assert "FailedSOPSequence" not in told
            assert {item.ReferencedSOPInstanceUID for item in told.ReferencedSOPSequence} == {
                ds.SOPInstanceUID for ds in sent
            }
        assert client.retrieve_instance(*uids(sent[0])) == sent[0]
        assert len(client.search_for_instances(get_remaining=True)) == len(sent)
        assert site.released[0] == {sent[0].SeriesInstanceUID}
        with pytest.raises(HTTPError) as caught:
            client.store_instances(sent[:1], "1.2.3")
        assert caught.value.response.status_code == 409
