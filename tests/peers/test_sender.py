"""Sending to real listeners on the loopback interface: what a caller is told when it does not work."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import VLWholeSlideMicroscopyImageStorage

from dicom_io.errors import PeerError
from dicom_io.sender import Peer, echo, send, stow
from tests.receiver import receiving
from tests.system.processes import free_port
from tests.unit.dicom_io.instances import picture, save_jpeg_level, save_level


@pytest.fixture
def level(tmp_path) -> Path:
    return save_level(tmp_path, "level", picture(100, 80), "2.25.1")


@contextmanager
def accepting(syntaxes: list[str], status: int = 0) -> Iterator[tuple[Peer, list[str]]]:
    """A plain pynetdicom SCP for slides that takes only `syntaxes` and answers `status`."""
    seen: list[str] = []

    def handle(event: evt.Event) -> int:
        seen.append(event.context.transfer_syntax)
        assert event.dataset.PatientName == "Geheim^Greta"
        return status

    ae = AE("PACS")
    ae.add_supported_context(VLWholeSlideMicroscopyImageStorage, syntaxes)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, handle)])
    try:
        yield Peer(ae_title="PACS", host="127.0.0.1", port=server.server_address[1]), seen
    finally:
        ae.shutdown()


def test_an_absent_peer_may_be_tried_again(level):
    peer = Peer(ae_title="PACS", host="127.0.0.1", port=free_port())
    for action in (lambda: echo(peer), lambda: send(peer, [level])):
        with pytest.raises(PeerError, match=rf"PACS at 127\.0\.0\.1:{peer.port} cannot be reached") as caught:
            action()
        assert caught.value.retryable


def test_a_host_without_an_address_may_be_tried_again(level):
    with pytest.raises(PeerError, match="cannot be reached") as caught:
        send(Peer(ae_title="PACS", host="pacs.invalid", port=104), [level], timeout_s=5)
    assert caught.value.retryable


@pytest.mark.parametrize("changes", [{"ae_title": "A" * 17}, {"calling_ae": ""}, {"calling_ae": "\\"}])
def test_a_title_that_is_not_one_is_said(changes):
    with pytest.raises(PeerError, match="is not an AE title") as caught:
        echo(replace(Peer(ae_title="PACS", host="127.0.0.1", port=free_port()), **changes))
    assert not caught.value.retryable


def test_a_peer_that_says_nothing_may_be_tried_again(level):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        peer = Peer(ae_title="PACS", host="127.0.0.1", port=silent.getsockname()[1])
        with pytest.raises(PeerError) as caught:
            send(peer, [level], timeout_s=0.5)
        assert caught.value.retryable


def test_a_wrong_title_is_not_tried_again(tmp_path, level):
    with receiving(tmp_path / "store", check_called_ae=True) as receiver:
        peer = Peer(ae_title="WRONG", host="127.0.0.1", port=receiver.listener.port)
        with pytest.raises(PeerError, match="Called AE title not recognised") as caught:
            send(peer, [level])
        assert not caught.value.retryable


@pytest.mark.parametrize(
    ("status", "retryable"), [(0xA700, True), (0x0110, True), (0xA900, False), (0xC123, False), (0x0124, False)]
)
def test_a_refused_object_is_named(level, status, retryable):
    with accepting([ExplicitVRLittleEndian], status) as (peer, _):
        words = rf"VL Whole Slide Microscopy Image Storage 2\.25\.1 with status 0x{status:04X}"
        with pytest.raises(PeerError, match=words) as caught:
            send(peer, [level])
        assert caught.value.retryable is retryable


def test_a_warning_is_a_success(level, caplog):
    with accepting([ExplicitVRLittleEndian], 0xB000) as (peer, _):
        send(peer, [level])
    assert "0xB000" in caplog.text


def test_a_peer_that_knows_implicit_vr_only_gets_implicit_vr(level):
    with accepting([ImplicitVRLittleEndian]) as (peer, seen):
        send(peer, [level])
    assert seen == [ImplicitVRLittleEndian]


def test_a_compressed_object_is_never_decoded(tmp_path):
    path = save_jpeg_level(tmp_path, "jpeg", picture(100, 80), "2.25.2")
    with accepting([ImplicitVRLittleEndian, ExplicitVRLittleEndian]) as (peer, _):
        with pytest.raises(PeerError, match="accepts none of: VL Whole Slide") as caught:
            send(peer, [path])
        assert not caught.value.retryable


def test_one_object_too_many_is_named(tmp_path, level):
    jpeg = save_jpeg_level(tmp_path, "jpeg", picture(100, 80), "2.25.2")
    words = r"does not accept .* 2\.25\.2 in JPEG Baseline"
    with accepting([ExplicitVRLittleEndian]) as (peer, seen), pytest.raises(PeerError, match=words):
        send(peer, [level, jpeg])
    assert seen == [ExplicitVRLittleEndian]


def test_more_contexts_than_one_association_holds(tmp_path, level, monkeypatch):
    monkeypatch.setattr("dicom_io.sender._MAXIMUM_CONTEXTS", 2)
    jpeg = save_jpeg_level(tmp_path, "jpeg", picture(100, 80), "2.25.2")
    with receiving(tmp_path / "store") as receiver:
        send(receiver.peer, [level, jpeg, level])
        assert [header.sop_instance_uid for header in receiver.instances] == ["2.25.1", "2.25.2", "2.25.1"]


def test_the_reason_a_listener_gives_is_passed_on(tmp_path, level):
    with receiving(tmp_path / "store") as receiver:
        send(receiver.peer, [level])
        ds = dcmread(level)
        ds.InstanceNumber = 5
        ds.save_as(level)
        with pytest.raises(PeerError, match=r"0xC000.*already kept with") as caught:
            send(receiver.peer, [level])
        assert "Geheim" not in str(caught.value)


class _Dicomweb(BaseHTTPRequestHandler):
    """Answers what its server's `answer` says and remembers the request."""

    def do_POST(self) -> None:
        server = self.server
        server.content_type = self.headers["Content-Type"]
        server.body = self.rfile.read(int(self.headers["Content-Length"]))
        status, body = server.answer
        self.send_response(status)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def dicomweb() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), _Dicomweb) as server:
        server.answer = (200, b"{}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def url(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/dicomweb/studies"


def test_stow_sends_every_file_as_it_is(dicomweb, level):
    stow(url(dicomweb), [level, level])
    boundary = dicomweb.content_type.split('boundary="')[1].rstrip('"').encode()
    assert dicomweb.content_type.startswith('multipart/related; type="application/dicom"')
    parts = dicomweb.body.split(b"--" + boundary)
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    expected = b"\r\nContent-Type: application/dicom\r\n\r\n" + level.read_bytes() + b"\r\n"
    assert parts[1:-1] == [expected, expected]


FAILED = (
    b'{"00081198":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["2.25.1"]},'
    b'"00081197":{"vr":"US","Value":[%d]}}]}}'
)


@pytest.mark.parametrize(
    ("status", "body", "words", "retryable"),
    [
        (202, FAILED % 0xA700, r"refused 2\.25\.1 \(0xA700\)", True),
        (200, FAILED % 0xC000, r"refused 2\.25\.1 \(0xC000\)", False),
        (409, FAILED % 0x0122, r"refused 2\.25\.1 \(0x0122\)", False),
        (409, b"", "HTTP 409", False),
        (415, b"no", "HTTP 415", False),
        (401, b"", "HTTP 401", False),
        (503, b"", "HTTP 503", True),
        (429, b"", "HTTP 429", True),
    ],
)
def test_stow_refusals(dicomweb, level, status, body, words, retryable):
    dicomweb.answer = (status, body)
    with pytest.raises(PeerError, match=words) as caught:
        stow(url(dicomweb), [level])
    assert caught.value.retryable is retryable


def test_stow_to_nobody_may_be_tried_again(level):
    with pytest.raises(PeerError, match="cannot be reached") as caught:
        stow(f"http://127.0.0.1:{free_port()}/studies", [level])
    assert caught.value.retryable
