"""Orthanc as sender and as receiver of slides, by DIMSE and by DICOMweb."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dicom_io.errors import PeerError
from dicom_io.scan import dataset_digest
from dicom_io.sender import Peer, echo, send, stow
from dicom_io.slide import DicomSlide
from tests.receiver import receiving
from tests.system.orthanc import Orthanc

DICOMWEB_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    with Orthanc(tmp_path / "orthanc", plugins=(DICOMWEB_PLUGIN,)) as running:
        yield running


@pytest.fixture
def slide(shared: Path) -> list[Path]:
    return sorted((shared / "slides" / "cmu-1-small-region").iterdir())


def peer_of(orthanc: Orthanc) -> Peer:
    return Peer(ae_title=orthanc.ae_title, host="127.0.0.1", port=orthanc.dicom_port)


def stored(orthanc: Orthanc, folder: Path) -> list[Path]:
    """Every instance Orthanc has, as files."""
    folder.mkdir()
    paths = []
    for identifier in httpx.get(f"{orthanc.url}/instances").json():
        path = folder / f"{identifier}.dcm"
        path.write_bytes(httpx.get(f"{orthanc.url}/instances/{identifier}/file").content)
        paths.append(path)
    return paths


@pytest.mark.parametrize("way", ["C-STORE", "STOW-RS"])
def test_orthanc_receives_a_slide_as_it_is(orthanc, slide, tmp_path, way):
    echo(peer_of(orthanc))
    for _ in range(2):  # sending again adds nothing
        if way == "C-STORE":
            send(peer_of(orthanc), slide)
        else:
            stow(f"{orthanc.url}/dicom-web/studies", slide)
    received = stored(orthanc, tmp_path / "received")
    assert {dataset_digest(path) for path in received} == {dataset_digest(path) for path in slide}


def test_orthanc_sends_a_slide(orthanc, slide, tmp_path):
    send(peer_of(orthanc), slide)
    with receiving(tmp_path / "store", check_called_ae=True, allowed_calling_ae=("ORTHANC",)) as receiver:
        modality = {"AET": "MARROWNODE", "Host": "127.0.0.1", "Port": receiver.listener.port}
        httpx.put(f"{orthanc.url}/modalities/node", json=modality).raise_for_status()
        identifiers = httpx.get(f"{orthanc.url}/instances").json()
        answer = httpx.post(f"{orthanc.url}/modalities/node/store", json=identifiers, timeout=60)
        assert answer.is_success, answer.text
        assert {header.sha256 for header in receiver.instances} == {dataset_digest(path) for path in slide}
        with DicomSlide.open([receiver.store.root]) as opened:
            assert opened.size == (2220, 2967)


def test_orthanc_gets_its_commitment(orthanc, slide, tmp_path, wait_for):
    """Orthanc sends, asks for commitment, and takes the report on an association of its own (PS3.4 Annex J)."""
    send(peer_of(orthanc), slide)
    with receiving(tmp_path / "store", commitment_peers=(peer_of(orthanc),)) as receiver:
        modality = {"AET": "MARROWNODE", "Host": "127.0.0.1", "Port": receiver.listener.port}
        httpx.put(f"{orthanc.url}/modalities/node", json=modality).raise_for_status()
        identifiers = httpx.get(f"{orthanc.url}/instances").json()

        def ask(references: list[list[str]]) -> dict:
            answer = httpx.post(
                f"{orthanc.url}/modalities/node/storage-commitment", json={"DicomInstances": references}
            )
            answer.raise_for_status()
            path = answer.json()["Path"]
            wait_for(lambda: httpx.get(f"{orthanc.url}{path}").json()["Status"] != "Pending")
            return httpx.get(f"{orthanc.url}{path}").json()

        httpx.post(f"{orthanc.url}/modalities/node/store", json=identifiers, timeout=60).raise_for_status()
        kept = [[header.sop_class_uid, header.sop_instance_uid] for header in receiver.instances]
        committed = ask(kept)
        assert committed["Status"] == "Success", committed
        assert len(committed["Success"]) == len(slide)

        another_class = "1.2.840.10008.5.1.4.1.1.77.1.2"
        refused = ask([kept[0], [kept[0][0], "2.25.404"], [another_class, kept[1][1]]])
        assert refused["Status"] == "Failure", refused
        assert [item["SOPInstanceUID"] for item in refused["Success"]] == [kept[0][1]]
        assert {(item["SOPInstanceUID"], item["FailureReason"]) for item in refused["Failures"]} == {
            ("2.25.404", 0x0112),
            (kept[1][1], 0x0119),
        }


def test_orthanc_that_stops_may_be_tried_again(orthanc, slide):
    send(peer_of(orthanc), slide[:1])
    orthanc.stop()
    for action in (
        lambda: send(peer_of(orthanc), slide),
        lambda: stow(f"{orthanc.url}/dicom-web/studies", slide),
    ):
        with pytest.raises(PeerError, match="cannot be reached") as caught:
            action()
        assert caught.value.retryable


def test_orthanc_refuses_what_is_not_dicom(orthanc, tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(bytes(500))
    with pytest.raises(PeerError) as caught:
        stow(f"{orthanc.url}/dicom-web/studies", [path])
    assert not caught.value.retryable
