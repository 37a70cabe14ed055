"""DICOMweb as its clients ask (PS3.18, and what viewers and archives really send)."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pydicom import dcmread

from dicom_io.frames import locate_frames
from dicom_io.header import InstanceHeader
from dicom_io.results import write_results
from node.settings import WebSettings
from node.web.app import create_web
from node.web.sources import WebSources
from tests.builders import build_analysis, build_cells, build_codes, build_report
from tests.slides import write_slide
from tests.stored_cases import Site

OCTETS = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
JPEG = "1.2.840.10008.1.2.4.50"
SLIDE = "google-multi_frame_jpeg_camelyon_challenge_image.dcm"
FILES = (SLIDE, "highdicom-sm_image.dcm", "highdicom-seg_image_sm_dots.dcm", "highdicom-sr_document.dcm")


@pytest.fixture
def kept(site: Site, shared: Path) -> dict[str, InstanceHeader]:
    return {name: site.receive(shared / "dicom" / name) for name in FILES}


def address(header: InstanceHeader, *more: str) -> str:
    series = f"/dicomweb/studies/{header.study_instance_uid}/series/{header.series_instance_uid}"
    return "/".join((series, "instances", header.sop_instance_uid, *more))


def parts(answer) -> list[Message]:
    assert len(answer.content) == int(answer.headers["content-length"])
    assert answer.content.startswith(b"--")
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    return list(BytesParser().parsebytes(head + answer.content).get_payload())


def bodies(answer) -> list[bytes]:
    boundary = answer.headers["content-type"].split('boundary="')[1].split('"')[0].encode()
    pieces = answer.content.split(b"--" + boundary)[1:-1]
    return [piece.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for piece in pieces]


def stow(client: TestClient, files: Sequence[bytes], path: str = "/dicomweb/studies", **headers: str):
    boundary = "limit"
    body = b"".join(b"--limit\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files)
    content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return client.post(path, content=body + b"--limit--\r\n", headers={"Content-Type": content_type, **headers})


def test_studies_are_found_with_what_they_hold(client: TestClient, kept: dict[str, InstanceHeader]) -> None:
    slide = kept["highdicom-sm_image.dcm"]
    assert len(client.get("/dicomweb/studies").json()) == len({header.study_instance_uid for header in kept.values()})
    (study,) = client.get("/dicomweb/studies", params={"StudyInstanceUID": slide.study_instance_uid}).json()
    together = [header for header in kept.values() if header.study_instance_uid == slide.study_instance_uid]
    assert study["00080061"]["Value"] == sorted({header.modality for header in together})
    assert study["00201208"]["Value"] == [len(together)]
    assert study["00081190"]["Value"] == [f"http://testserver/dicomweb/studies/{slide.study_instance_uid}"]
    found = client.get("/dicomweb/studies", params={"ModalitiesInStudy": "SM", "fuzzymatching": "true"}).json()
    assert {row["0020000D"]["Value"][0] for row in found} >= {slide.study_instance_uid}
    assert client.get("/dicomweb/studies", params={"ModalitiesInStudy": "CT"}).json() == []


def test_series_of_all_studies_carry_the_studys_attributes(client: TestClient, kept: dict[str, InstanceHeader]) -> None:
    slide = kept["highdicom-sm_image.dcm"]
    asked = {"Modality": "SM", "StudyInstanceUID": slide.study_instance_uid}
    (series,) = client.get("/dicomweb/series", params=asked).json()
    assert series["0020000E"]["Value"] == [slide.series_instance_uid]
    assert "00100020" in series
    (within,) = client.get(f"/dicomweb/studies/{slide.study_instance_uid}/series", params={"Modality": "SM"}).json()
    assert "00100020" not in within
    assert within["00201209"]["Value"] == [1]


def test_instances_are_found_by_lists_of_uids(client: TestClient, kept: dict[str, InstanceHeader]) -> None:
    slide = kept[SLIDE]
    asked = {"SeriesInstanceUID": f"9.9,{slide.series_instance_uid}", "includefield": "AvailableTransferSyntaxUID"}
    (found,) = client.get(f"/dicomweb/studies/{slide.study_instance_uid}/instances", params=asked).json()
    assert found["00080018"]["Value"] == [slide.sop_instance_uid]
    assert found["00083002"]["Value"] == [JPEG]


def test_a_page_says_how_many_follow(client: TestClient, kept: dict[str, InstanceHeader]) -> None:
    answer = client.get("/dicomweb/instances", params={"limit": 2})
    assert len(answer.json()) == 2
    assert f"There are {len(kept) - 2} additional results" in answer.headers["warning"]
    assert len(client.get("/dicomweb/instances", params={"offset": 3}).json()) == len(kept) - 3
    assert client.get("/dicomweb/instances", params={"limit": "many"}).json()["field"] == "limit"


def test_metadata_is_that_of_the_file(client: TestClient, kept: dict[str, InstanceHeader]) -> None:
    slide = kept["highdicom-sm_image.dcm"]
    answer = client.get(address(slide, "metadata"), headers={"Accept": "application/dicom+json"})
    assert answer.headers["content-type"] == "application/dicom+json"
    (document,) = answer.json()
    assert document["00080018"]["Value"] == [slide.sop_instance_uid]
    uri = document["00480105"]["Value"][0]["00282000"]["BulkDataURI"]
    assert uri == f"http://testserver{address(slide, 'bulkdata', '00480105/1/00282000')}"
    profile = client.get(uri, headers={"Accept": OCTETS})
    assert bodies(profile) == [dcmread(slide.path).OpticalPathSequence[0].ICCProfile]
    again = client.get(address(slide, "metadata"), headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_json_is_compressed_and_nothing_else(client: TestClient, kept: dict[str, InstanceHeader]) -> None:
    """Pixels and objects are compressed as they are, or shall come byte for byte."""
    slide = address(kept[SLIDE])
    assert client.get(f"{slide}/metadata").headers["content-encoding"] == "gzip"
    assert "content-encoding" not in client.get(f"{slide}/metadata", headers={"Accept-Encoding": ""}).headers
    for path, accept in ((f"{slide}/frames/1", OCTETS), (slide, "application/dicom"), (f"{slide}/thumbnail", "*/*")):
        answer = client.get(path, headers={"Accept": accept, "Accept-Encoding": "gzip"})
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers


def test_bulk_addresses_follow_the_name_the_client_uses(client: TestClient, kept: dict[str, InstanceHeader]) -> None:
    slide = kept["highdicom-sm_image.dcm"]
    client.get(address(slide, "metadata"))
    document = client.get(address(slide, "metadata"), headers={"Host": "other:81"}).text
    assert "http://other:81/dicomweb/studies/" in document
    assert "testserver" not in document
    assert "@root@" not in document


def test_addresses_are_those_the_site_names(
    client: TestClient, sources: WebSources, kept: dict[str, InstanceHeader]
) -> None:
    slide = kept["highdicom-sm_image.dcm"]
    settings = WebSettings(public_url="https://marrow.example.org/node")
    with TestClient(create_web(replace(sources, settings=settings)), cookies=client.cookies) as other:
        (document,) = other.get(address(slide, "metadata")).json()
        (study,) = other.get("/dicomweb/studies", params={"StudyInstanceUID": slide.study_instance_uid}).json()
    start = "https://marrow.example.org/node/dicomweb/studies/"
    assert document["00480105"]["Value"][0]["00282000"]["BulkDataURI"].startswith(start)
    assert study["00081190"]["Value"] == [f"{start}{slide.study_instance_uid}"]


@pytest.mark.parametrize("name", [SLIDE, "highdicom-sm_image.dcm", "highdicom-seg_image_sm_dots.dcm"])
def test_viewers_get_frames_as_stored(client: TestClient, kept: dict[str, InstanceHeader], name: str) -> None:
    header = kept[name]
    table = locate_frames(header.path)
    answer = client.get(address(header, "frames", f"{table.count},1"), headers={"Accept": OCTETS})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith('multipart/related; type="application/octet-stream"')
    assert bodies(answer) == [table.read(table.count), table.read(1)]
    assert "content-encoding" not in answer.headers
    assert parts(answer)[0]["Content-Type"].startswith("application/octet-stream; transfer-syntax=")


def test_frames_in_another_syntax_are_refused_or_decoded(client: TestClient, kept: dict[str, InstanceHeader]) -> None:
    header = kept[SLIDE]
    jls = 'multipart/related; type="image/jls"; transfer-syntax=1.2.840.10008.1.2.4.80'
    assert client.get(address(header, "frames", "1"), headers={"Accept": jls}).status_code == 406
    exact = f'multipart/related; type="image/jpeg"; transfer-syntax={JPEG}'
    (frame,) = bodies(client.get(address(header, "frames", "1"), headers={"Accept": exact}))
    assert frame.startswith(b"\xff\xd8")
    raw = 'multipart/related; type="application/octet-stream"'
    (pixels,) = bodies(client.get(address(header, "frames", "1"), headers={"Accept": raw}))
    assert len(pixels) == header.rows * header.columns * 3
    alone = client.get(address(header, "frames", "1"), headers={"Accept": "image/jpeg"})
    assert alone.content == frame
    known = client.get(
        address(header, "frames", "1"), headers={"Accept": "image/jpeg", "If-None-Match": alone.headers["etag"]}
    )
    assert known.status_code == 304
    assert known.headers["cache-control"] == alone.headers["cache-control"]
    assert alone.headers["cache-control"].startswith("private")


@pytest.mark.parametrize(("frames", "status"), [("0", 400), ("x", 400), ("1,", 400), ("999", 404)])
def test_frames_that_are_not_there(
    client: TestClient, kept: dict[str, InstanceHeader], frames: str, status: int
) -> None:
    assert client.get(address(kept[SLIDE], "frames", frames), headers={"Accept": OCTETS}).status_code == status


def test_a_document_has_no_frames(client: TestClient, kept: dict[str, InstanceHeader]) -> None:
    answer = client.get(address(kept["highdicom-sr_document.dcm"], "frames", "1"))
    assert answer.status_code == 404
    assert answer.json()["remedy"] == "retrieve the instance"


def test_instances_come_back_byte_for_byte(client: TestClient, kept: dict[str, InstanceHeader]) -> None:
    header = kept[SLIDE]
    accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    assert bodies(client.get(address(header), headers=accept)) == [header.path.read_bytes()]
    study = client.get(f"/dicomweb/studies/{header.study_instance_uid}", headers=accept)
    assert header.path.read_bytes() in bodies(study)
    alone = client.get(address(header), headers={"Accept": "application/dicom", "Range": "bytes=0-1"})
    assert (alone.status_code, alone.content) == (200, header.path.read_bytes())


def test_pictures_fit_the_viewport(client: TestClient, kept: dict[str, InstanceHeader]) -> None:
    header = kept[SLIDE]
    answer = client.get(address(header, "rendered"), params={"viewport": "64,64"}, headers={"Accept": "image/png"})
    assert Image.open(io.BytesIO(answer.content)).width <= 64
    frame = client.get(address(header, "frames", "2", "rendered"), headers={"Accept": "image/jpeg"})
    assert Image.open(io.BytesIO(frame.content)).size == (header.columns, header.rows)
    segment = client.get(address(kept["highdicom-seg_image_sm_dots.dcm"], "rendered"))
    assert Image.open(io.BytesIO(segment.content)).mode == "L"
    for place in (f"/dicomweb/studies/{header.study_instance_uid}/thumbnail", address(header, "thumbnail")):
        assert max(Image.open(io.BytesIO(client.get(place).content)).size) <= 256
    part = client.get(address(header, "rendered"), params={"viewport": "64,64,100,,200,50"}).content
    assert Image.open(io.BytesIO(part)).size == (64, 16)
    assert client.get(address(kept["highdicom-sr_document.dcm"], "rendered")).status_code == 404


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"viewport": "0,1"}, 400),
        ({"viewport": "64"}, 400),
        ({"viewport": "64,64,-1,0"}, 400),
        ({"viewport": "64,64,0,0,9,9,9"}, 400),
        ({"viewport": "64,64,1e9,0"}, 400),
        ({"viewport": "64,64,99999,0"}, 422),
        ({"quality": "0"}, 400),
        ({"iccprofile": "adobergb"}, 400),
        ({"accept": "image/gif"}, 406),
    ],
)
def test_pictures_that_cannot_be_made(
    client: TestClient, kept: dict[str, InstanceHeader], asked: dict[str, str], status: int
) -> None:
    answer = client.get(address(kept[SLIDE], "rendered"), params=asked)
    assert (answer.status_code, bool(answer.json()["error"])) == (status, True)


def test_a_printed_report_comes_as_pdf(client: TestClient, site: Site, tmp_path: Path) -> None:
    pdf = b"%PDF-1.7 " + bytes(2000)
    report = build_report(analysis=build_analysis(cells=build_cells({"myeloblast": 1})))
    made = write_results(report, write_slide(tmp_path), build_codes(), tmp_path, pdf=pdf)
    header = site.receive(next(item.path for item in made if item.kind == "PDFDCM"))
    wanted = {"Accept": "application/pdf"}
    (document,) = client.get(address(header, "metadata")).json()
    for place in (address(header, "rendered"), document["00420011"]["BulkDataURI"]):
        answer = client.get(place, headers=wanted)
        assert (answer.content, answer.headers["content-type"]) == (pdf, "application/pdf")
        assert "content-encoding" not in answer.headers
    assert client.get(document["00420011"]["BulkDataURI"], params={"accept": "application/pdf"}).content == pdf
    assert bodies(client.get(document["00420011"]["BulkDataURI"], headers={"Accept": OCTETS})) == [pdf + b"\0"]
    assert client.get(address(header, "rendered"), headers={"Accept": "image/png"}).status_code == 406


@pytest.mark.parametrize("path", ["", "/metadata", "/thumbnail", "/series/1.2/metadata", "/series/1/instances/2"])
def test_what_is_not_kept_is_not_found(client: TestClient, kept: dict[str, InstanceHeader], path: str) -> None:
    assert client.get(f"/dicomweb/studies/1.2.3{path}").status_code == 404


def test_stored_objects_are_kept_indexed_and_found(client: TestClient, site: Site, shared: Path) -> None:
    files = [(shared / "dicom" / name).read_bytes() for name in FILES[:2]]
    answer = stow(client, files)
    assert answer.status_code == 200
    assert len(answer.json()["00081199"]["Value"]) == 2
    assert len(client.get("/dicomweb/instances").json()) == 2
    assert len(site.released) == 1
    assert list(site.store.spool.iterdir()) == []
    assert stow(client, files).status_code == 200


def test_a_damaged_object_is_named_and_the_others_kept(client: TestClient, site: Site, shared: Path) -> None:
    whole = (shared / "dicom" / FILES[0]).read_bytes()
    answer = stow(client, [whole[:-500], whole, b"no DICOM"])
    assert answer.status_code == 202
    reasons = [item["00081197"]["Value"][0] for item in answer.json()["00081198"]["Value"]]
    assert reasons == [0xC000, 0xC000]
    assert stow(client, [b"no DICOM"]).status_code == 409
    assert list(site.store.spool.iterdir()) == []


def test_an_object_of_another_study_is_refused(client: TestClient, shared: Path) -> None:
    answer = stow(client, [(shared / "dicom" / FILES[0]).read_bytes()], "/dicomweb/studies/1.2.3")
    assert answer.status_code == 409
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ('multipart/related; type="application/dicom+json"; boundary=x', b"", 415),
        ('multipart/related; type="application/dicom"', b"", 400),
        ('multipart/related; type="application/dicom"; boundary=x', b"--x\r\nA: b\r\n\r\ncut", 400),
        ('multipart/related; type="application/dicom"; boundary=x', b"nothing of the kind", 400),
    ],
)
def test_bodies_that_are_none_are_refused(
    client: TestClient, site: Site, content_type: str, body: bytes, status: int
) -> None:
    answer = client.post("/dicomweb/studies", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert json.loads(answer.content)["remedy"]
    assert list(site.store.spool.iterdir()) == []
