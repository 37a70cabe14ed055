"""What a hostile or broken client sends is refused, costs little, and leaves nothing behind."""

import zlib
from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest
from fastapi.testclient import TestClient
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    VLWholeSlideMicroscopyImageStorage,
)

from dicom_io.header import InstanceHeader
from dicom_io.store import FileStore
from node.web.app import create_web
from node.web.limits import TimelyBodies
from node.web.sources import WebSources
from tests.stored_cases import Site
from tests.unit.dicom_io.instances import save, slide_dataset
from tests.unit.node.web.test_dicomweb import address, stow

MULTIPART = 'multipart/related; type="application/dicom"; boundary=x'


def element(tag: str, vr: str, value: bytes) -> bytes:
    return bytes.fromhex(tag) + vr.encode() + len(value).to_bytes(2, "little") + value


def part10(sop_class: str, syntax: str, body: bytes) -> bytes:
    """A DICOM file whose data set is `body`."""
    meta = b"".join(
        element(tag, "UI", uid.encode() + b"\0" * (len(uid) % 2))
        for tag, uid in (("02000200", sop_class), ("02000300", "2.25.5"), ("02001000", syntax))
    )
    length = element("02000000", "UL", len(meta).to_bytes(4, "little"))
    return bytes(128) + b"DICM" + length + meta + body


def reasons(answer: httpx.Response) -> list[int]:
    return [item["00081197"]["Value"][0] for item in answer.json()["00081198"]["Value"]]


def test_a_bomb_is_not_inflated(client: TestClient, site: Site) -> None:
    squeezer = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(squeezer.compress(bytes(1 << 20)) for _ in range(200)) + squeezer.flush()
    assert len(bomb) < 1 << 20
    answer = stow(client, [part10(VLWholeSlideMicroscopyImageStorage, DeflatedExplicitVRLittleEndian, bomb)])
    assert (answer.status_code, reasons(answer)) == (409, [0xC122])
    assert list(site.store.spool.iterdir()) == []


@pytest.mark.parametrize(
    ("sop_class", "syntax", "reason"),
    [
        (CTImageStorage, "1.2.840.10008.1.2.1", 0x0122),
        (VLWholeSlideMicroscopyImageStorage, ExplicitVRBigEndian, 0xC122),
        (VLWholeSlideMicroscopyImageStorage, "1.2.3", 0xC122),
    ],
)
def test_what_no_association_would_take_is_not_stored(
    client: TestClient, sop_class: str, syntax: str, reason: int
) -> None:
    answer = stow(client, [part10(sop_class, syntax, element("08001600", "UI", sop_class.encode()))])
    assert (answer.status_code, reasons(answer)) == (409, [reason])


@pytest.mark.parametrize("uid", ["../../../etc/passwd", "1.2/3", "..", "1.2.3\\4", "1" * 65, "1..2", "/etc"])
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_a_uid_is_no_path(client: TestClient, site: Site, tmp_path: Path, keyword: str, uid: str) -> None:
    values = {"StudyInstanceUID": "2.25.1", "SeriesInstanceUID": "2.25.2", keyword: uid}
    uid_of_file = values.pop("SOPInstanceUID", "2.25.3")
    file = save(slide_dataset((64, 64), uid_of_file, **values), tmp_path / "a.dcm", [bytes(64 * 64 * 3)])
    answer = stow(client, [file.read_bytes()])
    assert (answer.status_code, reasons(answer)) == (409, [0xC000])
    assert [path for path in site.store.root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "path",
    [
        "/dicomweb/studies/..%2F..%2Fetc/series/1/instances/1",
        "/dicomweb/studies/%00/metadata",
        "/dicomweb/studies/1.2.3%00/series",
        "/dicomweb/studies/1.2.3/series/1/instances/1/bulkdata/../../../../../etc/passwd",
        "/dicomweb/studies/1.2.3/series/1/instances/1/bulkdata/..%2F..%2Fetc%2Fpasswd",
        "/dicomweb/studies/1.2.3/series/1/instances/%F0%9F%92%A3",
    ],
)
def test_addresses_lead_nowhere(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in {200, 404}
    assert b"root:" not in client.get(path).content


def test_bulk_addresses_stay_in_the_instance(client: TestClient, site: Site, shared: Path) -> None:
    header = site.receive(shared / "dicom" / "highdicom-sm_image.dcm")
    for place in ("..%2Fmetadata", "00480105/999999999/00282000", "00480105/1/" * 300 + "00282000", "G0000000"):
        assert client.get(address(header, "bulkdata", place)).status_code in {404, 422}


@pytest.mark.parametrize(
    "body",
    [
        b"--x\r\n" + b"A" * 100_000 + b": b\r\n\r\nz\r\n--x--\r\n",
        b"--x\r\nA: " + b"b" * 100_000 + b"\r\n\r\nz\r\n--x--\r\n",
        b"--x\r\n" + b"A: b\r\n" * 1000 + b"\r\nz\r\n--x--\r\n",
        b"--x\r\nContent-Type: application/dicom\r\n\r\n" + b"z" * 1000,
        b"--x",
        b"--x--\r\n",
        b"",
    ],
    ids=["long name", "long value", "many headers", "no end", "begun", "no part", "empty"],
)
def test_broken_bodies_are_refused(client: TestClient, site: Site, body: bytes) -> None:
    answer = client.post("/dicomweb/studies", content=body, headers={"Content-Type": MULTIPART})
    assert answer.status_code == 400
    assert list(site.store.spool.iterdir()) == []


def test_parts_are_counted(client: TestClient, site: Site) -> None:
    body = b"--x\r\nA: b\r\n\r\n\r\n" * 10_001 + b"--x--\r\n"
    answer = client.post("/dicomweb/studies", content=body, headers={"Content-Type": MULTIPART})
    assert answer.status_code == 413
    assert list(site.store.spool.iterdir()) == []


def test_a_full_disk_ends_a_body_before_its_end(sources: WebSources, site: Site, tmp_path: Path) -> None:
    full = FileStore(tmp_path / "full", reserve_bytes=1 << 60)
    receiver = replace(sources.receiver, store=full)
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + bytes(80 << 20)
    app = create_web(replace(sources, receiver=receiver))
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50000)) as client:
        answer = client.post("/dicomweb/studies", content=body, headers={"Content-Type": MULTIPART})
        assert answer.status_code == 507
        assert list(full.spool.iterdir()) == []
        small = stow(client, [b"no DICOM"])
        assert (small.status_code, reasons(small)) == (503, [0xA700])


def test_ten_thousand_fields(client: TestClient, site: Site, shared: Path) -> None:
    site.receive(shared / "dicom" / "highdicom-sm_image.dcm")
    fields = ",".join(f"F{number}" for number in range(10_000))
    answer = client.get(f"/dicomweb/instances?includefield={fields}")
    assert (answer.status_code, len(answer.json())) == (200, 1)
    assert "10000" in answer.headers["warning"]


def test_a_long_list_of_frames_is_not_held_in_memory(client: TestClient, site: Site, shared: Path) -> None:
    header: InstanceHeader = site.receive(shared / "dicom" / "google-multi_frame_jpeg_camelyon_challenge_image.dcm")
    numbers = ",".join(["1"] * 5000)
    with client.stream("GET", address(header, "frames", numbers)) as answer:
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) > 5000 * 1000


def test_a_body_that_stops_ends() -> None:
    """The application is told 408 when no piece comes for the longest pause."""
    told: list[int] = []

    async def application(scope: dict, receive, send) -> None:
        try:
            while (await receive()).get("more_body"):
                pass
        except Exception as error:
            told.append(error.status_code)

    async def run() -> None:
        pieces = iter([{"type": "http.request", "body": b"a", "more_body": True}])

        async def receive() -> dict:
            for piece in pieces:
                return piece
            await anyio.sleep_forever()
            raise AssertionError

        scope = {"type": "http", "path": "/dicomweb/studies", "headers": []}
        await TimelyBodies(application, pause_s=0.05)(scope, receive, lambda _message: None)

    anyio.run(run)
    assert told == [408]
