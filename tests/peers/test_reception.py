"""Reception under strain: large instances, a killed receiver, a sender that goes away."""

import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    VLWholeSlideMicroscopyImageStorage,
)

from dicom_io.errors import PeerError
from dicom_io.scan import dataset_digest
from dicom_io.sender import Peer, echo, send
from tests.large import write_large_instance
from tests.receiver import receiving

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class ReceivingProcess:
    process: subprocess.Popen[str]
    peer: Peer
    index: Path

    def acknowledged(self) -> list[str]:
        return self.index.read_text().split() if self.index.exists() else []

    def peak_memory_mib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) >> 10


@contextmanager
def receiving_process(root: Path, *, largest_file: int = resource.RLIM_INFINITY) -> Iterator[ReceivingProcess]:
    """A listener in its own process, whose files cannot grow beyond `largest_file` bytes: a disk that is full."""
    index = root.with_suffix(".index")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.peers.receiving_process", root, index, str(largest_file)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        try:
            assert process.stdout is not None
            peer = Peer(ae_title="MARROWNODE", host="127.0.0.1", port=int(process.stdout.readline()))
            yield ReceivingProcess(process, peer, index)
        finally:
            process.kill()


def test_memory_does_not_grow_with_the_instance(tmp_path):
    with receiving_process(tmp_path / "store") as receiver:
        send(receiver.peer, [write_large_instance(tmp_path / "small.dcm", 30, uid="2.25.1")])
        before = receiver.peak_memory_mib()
        large = write_large_instance(tmp_path / "large.dcm", 600, uid="2.25.2")
        send(receiver.peer, [large], timeout_s=120)
        assert receiver.peak_memory_mib() - before < 60
        kept = next((tmp_path / "store").rglob("2.25.2.dcm"))
        assert kept.stat().st_size >= 600 << 20


def test_a_killed_receiver_has_lost_nothing_it_acknowledged(tmp_path, wait_for):
    files = [write_large_instance(tmp_path / f"{n}.dcm", 25, uid=f"2.25.{n}") for n in range(12)]
    root = tmp_path / "store"
    with receiving_process(root) as receiver:
        thread = threading.Thread(target=_send_quietly, args=(receiver.peer, files))
        thread.start()
        wait_for(lambda: len(receiver.acknowledged()) >= 3 and any((root / ".spool").iterdir()))
        receiver.process.kill()
        receiver.process.wait()
        thread.join(timeout=60)
    acknowledged = receiver.acknowledged()
    assert 3 <= len(acknowledged) < len(files)
    named = {path.stem: path for path in root.glob("*/*/*.dcm")}
    assert set(acknowledged) <= set(named)
    for uid, path in named.items():
        assert dataset_digest(path) == dataset_digest(files[int(uid.removeprefix("2.25."))])

    with receiving_process(root) as again:
        assert list((root / ".spool").iterdir()) == []
        send(again.peer, files)
    assert len(list(root.glob("*/*/*.dcm"))) == len(files)


def _send_quietly(peer: Peer, files: list[Path]) -> None:
    try:
        send(peer, files, timeout_s=20)
    except PeerError:
        return
    pytest.fail("the receiver was not killed in time")


def test_a_file_that_cannot_be_written_is_answered_out_of_resources(tmp_path):
    large = write_large_instance(tmp_path / "large.dcm", 60, uid="2.25.1")
    small = write_large_instance(tmp_path / "small.dcm", 25, uid="2.25.2")
    with receiving_process(tmp_path / "store", largest_file=40 << 20) as receiver:
        with pytest.raises(PeerError, match=r"0xA700.*cannot be written") as caught:
            send(receiver.peer, [large])
        assert caught.value.retryable
        assert list((tmp_path / "store" / ".spool").iterdir()) == []
        send(receiver.peer, [small])
        assert receiver.acknowledged() == ["2.25.2"]


def test_a_sender_that_goes_away_leaves_nothing_behind(tmp_path, wait_for):
    large = write_large_instance(tmp_path / "large.dcm", 400)
    with receiving(tmp_path / "store") as receiver:
        with subprocess.Popen(
            ["storescu", "-R", "127.0.0.1", str(receiver.listener.port), large],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as sender:
            wait_for(lambda: any(path.stat().st_size > 1 << 20 for path in receiver.spooled()))
            sender.kill()
        wait_for(lambda: receiver.spooled() == [])
        assert receiver.instances == []
        assert receiver.released == []
        echo(receiver.peer)


def test_a_disk_that_fills_up_while_receiving_is_answered_out_of_resources(tmp_path, wait_for):
    """The reserve is reached in the middle of an instance; the association goes on."""
    large = write_large_instance(tmp_path / "large.dcm", 200)
    with receiving(tmp_path / "store") as receiver:

        def fill_up() -> None:
            wait_for(lambda: any(path.stat().st_size > 1 << 20 for path in receiver.spooled()))
            receiver.store.reserve_bytes = 1 << 60

        thread = threading.Thread(target=fill_up)
        thread.start()
        with pytest.raises(PeerError, match=r"0xA700.*disk full") as caught:
            send(receiver.peer, [large])
        thread.join()
        assert caught.value.retryable
        assert receiver.spooled() == []
        receiver.store.reserve_bytes = 0
        send(receiver.peer, [large])
        assert len(receiver.instances) == 1


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x01\x00\xff\xff\xff\xff",
        b"\x04\x00\x7f\xff\xff\xff",
        b"\x16\x03\x01\x02\x00\x01",
        bytes(4096),
    ],
)
def test_noise_on_the_port_does_not_stop_the_listener(tmp_path, noise):
    with receiving(tmp_path / "store") as receiver:
        with socket.create_connection(("127.0.0.1", receiver.listener.port), timeout=10) as connection:
            connection.sendall(noise)
        echo(receiver.peer)


def test_stopping_does_not_wait_for_a_peer_that_says_nothing(tmp_path, wait_for):
    """No thread is left that would keep the process alive."""
    before = set(threading.enumerate())
    with receiving(tmp_path / "store") as receiver:
        connection = socket.create_connection(("127.0.0.1", receiver.listener.port), timeout=10)
        wait_for(lambda: any("AcceptorThread" in thread.name for thread in threading.enumerate()))
        started = time.monotonic()
    assert time.monotonic() - started < 10
    wait_for(lambda: all(thread.daemon for thread in set(threading.enumerate()) - before), timeout_s=10)
    connection.close()


def test_a_request_without_a_data_set_is_refused(tmp_path):
    with receiving(tmp_path / "store") as receiver:
        ae = AE("ODD")
        contexts = [build_context(VLWholeSlideMicroscopyImageStorage)]
        assoc = ae.associate("127.0.0.1", receiver.listener.port, contexts)
        request = C_STORE()
        request.MessageID, request.Priority = 1, 2
        request.AffectedSOPClassUID = VLWholeSlideMicroscopyImageStorage
        request.AffectedSOPInstanceUID = "2.25.1"
        assoc._reactor_checkpoint.clear()
        assoc.dimse.send_msg(request, assoc.accepted_contexts[0].context_id)
        _, answer = assoc.dimse.get_msg(block=True)
        assoc._reactor_checkpoint.set()
        assert answer.Status == 0xC000
        assoc.release()


@pytest.mark.parametrize(
    ("calling", "action", "instance", "filled", "status"),
    [
        ("SCANNER", 1, StorageCommitmentPushModelInstance, True, 0x0000),
        ("STRANGER", 1, StorageCommitmentPushModelInstance, True, 0x0124),
        ("SCANNER", 2, StorageCommitmentPushModelInstance, True, 0x0123),
        ("SCANNER", 1, "2.25.1", True, 0x0112),
        ("SCANNER", 1, StorageCommitmentPushModelInstance, False, 0x0115),
    ],
)
def test_requests_for_commitment(tmp_path, wait_for, calling, action, instance, filled, status):
    """The report comes on an association of its own; what cannot be reported is refused at once."""
    reports = []

    def take(event: evt.Event) -> tuple[int, None]:
        reports.append((event.event_type, event.event_information))
        return 0, None

    scanner = AE("SCANNER")
    scanner.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    server = scanner.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)])
    peer = Peer(ae_title="SCANNER", host="127.0.0.1", port=server.server_address[1])
    request, reference = Dataset(), Dataset()
    reference.ReferencedSOPClassUID = VLWholeSlideMicroscopyImageStorage
    reference.ReferencedSOPInstanceUID = "2.25.5"
    request.TransactionUID = "2.25.6"
    if filled:
        request.ReferencedSOPSequence = [reference]
    with receiving(tmp_path / "store", commitment_peers=(peer,)) as receiver:
        send(receiver.peer, [write_large_instance(tmp_path / "a.dcm", 1, uid="2.25.5")])
        context = build_context(StorageCommitmentPushModel)
        assoc = AE(calling).associate("127.0.0.1", receiver.listener.port, [context])
        answer, _ = assoc.send_n_action(request, action, StorageCommitmentPushModel, instance)
        assoc.release()
        assert answer.Status == status
        if status == 0:
            wait_for(lambda: reports)
            assert reports[0][0] == 1
            assert reports[0][1].TransactionUID == "2.25.6"
            assert reports[0][1].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.5"
    server.shutdown()
    assert len(reports) == (status == 0)


def test_no_more_associations_than_allowed(tmp_path):
    with receiving(tmp_path / "store", maximum_associations=2) as receiver:
        ae = AE("MANY")
        contexts = [build_context(VLWholeSlideMicroscopyImageStorage)]
        held = [ae.associate("127.0.0.1", receiver.listener.port, contexts) for _ in range(2)]
        assert all(assoc.is_established for assoc in held)
        with pytest.raises(PeerError, match=r"rejected.*[Ll]imit") as caught:
            echo(receiver.peer)
        assert caught.value.retryable
        for assoc in held:
            assoc.release()
