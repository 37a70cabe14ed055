"""dcmtk sends to this node's listener: what is accepted, what is refused, and with which answer."""

import re
import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import UID

from dicom_io.scan import dataset_digest
from tests.receiver import receiving


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)


def address(receiver) -> tuple[str, str]:
    return "127.0.0.1", str(receiver.listener.port)


@pytest.fixture
def receiver(tmp_path):
    with receiving(tmp_path / "store") as started:
        yield started


def test_echo(receiver):
    assert run("echoscu", *address(receiver)).returncode == 0


@pytest.mark.parametrize("folder", ["marrow-fields", "cmu-1-small-region"])
def test_a_jpeg_slide_is_kept_byte_for_byte(receiver, shared, wait_for, folder):
    sent = sorted((shared / "slides" / folder).iterdir())
    result = run("dcmsend", "-v", "--scan-directories", *address(receiver), sent[0].parent)
    assert result.returncode == 0, result.stderr
    kept = {header.sop_instance_uid: header for header in receiver.instances}
    assert len(kept) == len(sent)
    for path in sent:
        header = kept[dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID]
        assert dataset_digest(header.path) == dataset_digest(path) == header.sha256
        assert header.transfer_syntax_uid == "1.2.840.10008.1.2.4.50"
    assert wait_for(lambda: receiver.released) == [frozenset({next(iter(kept.values())).series_instance_uid})]
    assert set(receiver.calling) == {"DCMSEND"}
    assert receiver.spooled() == []


@pytest.mark.parametrize(
    "name",
    [
        "highdicom-sm_image.dcm",  # uncompressed slide
        "highdicom-sm_image_jpegls_nobot.dcm",
        "highdicom-seg_image_sm_control_labelmap.dcm",
        "highdicom-seg_image_sm_dots.dcm",
        "highdicom-sr_document.dcm",
    ],
)
def test_other_objects_are_accepted(receiver, shared, name):
    path = shared / "dicom" / name
    result = run("dcmsend", "--decompress-never", "-v", *address(receiver), path)
    assert result.returncode == 0, result.stderr
    assert [dcmread(header.path) for header in receiver.instances] == [dcmread(path)]  # dcmtk encodes lengths anew


def test_annotations_are_accepted(receiver, shared, tmp_path):
    """An ANN object: dcmtk's storescu knows only the classes named to it."""
    ds = dcmread(shared / "dicom" / "highdicom-sr_document.dcm")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.91.1")
    path = tmp_path / "ann.dcm"
    ds.save_as(path)
    result = run("dcmsend", "-v", *address(receiver), path)
    assert result.returncode == 0, result.stderr
    assert receiver.instances[0].sop_class_uid.endswith(".91.1")


def test_an_object_sent_twice_is_kept_once(receiver, shared):
    path = shared / "dicom" / "highdicom-sm_image.dcm"
    for _ in range(2):
        assert run("dcmsend", *address(receiver), path).returncode == 0
    assert len(list(receiver.store.root.rglob("*.dcm"))) == 1


def test_other_content_under_a_kept_uid_is_refused_and_changes_nothing(receiver, shared, tmp_path):
    path = shared / "dicom" / "highdicom-sm_image.dcm"
    assert run("dcmsend", *address(receiver), path).returncode == 0
    ds = dcmread(path)
    ds.InstanceNumber = 77
    changed = tmp_path / "changed.dcm"
    ds.save_as(changed)
    result = run("storescu", "-R", "-v", *address(receiver), changed)
    assert "0xc000" in result.stderr.lower() or "CannotUnderstand" in result.stderr, result.stderr
    assert dataset_digest(receiver.instances[0].path) == dataset_digest(path)
    assert len(receiver.instances) == 1
    assert receiver.spooled() == []


@pytest.mark.parametrize("uid", ["1.2/../../../3", "1.2..3", "1.2.x"])
def test_a_uid_that_is_not_one_is_refused(receiver, shared, tmp_path, uid):
    raw = (shared / "dicom" / "highdicom-sr_document.dcm").read_bytes()
    ds = dcmread(shared / "dicom" / "highdicom-sr_document.dcm")
    for old in (ds.StudyInstanceUID,):
        raw = raw.replace(old.encode(), uid.encode().ljust(len(old), b"\0"))
    path = tmp_path / "bad.dcm"
    path.write_bytes(raw)
    result = run("storescu", "-R", "-v", *address(receiver), path)
    assert "CannotUnderstand" in result.stderr, result.stderr
    assert receiver.instances == []
    assert receiver.spooled() == []
    assert [path for path in receiver.store.root.rglob("*") if path.is_file()] == []


def test_a_sop_instance_uid_with_a_slash_is_refused(receiver, shared, tmp_path):
    path = shared / "dicom" / "highdicom-sr_document.dcm"
    uid = dcmread(path).SOPInstanceUID
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(path.read_bytes().replace(uid.encode(), b"1.2/../3".ljust(len(uid), b"\0")))
    result = run("storescu", "-R", "-v", *address(receiver), bad)
    assert "Success" not in result.stderr.split("C-STORE", 1)[-1], result.stderr
    assert receiver.instances == []
    assert run("echoscu", *address(receiver)).returncode == 0


def test_a_truncated_file_is_refused(receiver, shared, tmp_path):
    whole = (shared / "dicom" / "highdicom-sm_image.dcm").read_bytes()
    path = tmp_path / "cut.dcm"
    path.write_bytes(whole[:-1000])
    run("storescu", "-R", "-v", *address(receiver), path)
    assert receiver.instances == []
    assert receiver.spooled() == []


def test_a_full_disk_is_answered_out_of_resources(tmp_path, shared):
    with receiving(tmp_path / "store", reserve_bytes=1 << 60) as receiver:
        result = run("storescu", "-R", "-v", *address(receiver), shared / "dicom" / "highdicom-sm_image.dcm")
        assert "OutOfResources" in result.stderr, result.stderr
        assert receiver.instances == []
        assert receiver.spooled() == []
        receiver.store.reserve_bytes = 0
        assert run("dcmsend", *address(receiver), shared / "dicom" / "highdicom-sm_image.dcm").returncode == 0


def test_an_index_that_fails_is_not_acknowledged(receiver, shared, caplog):
    path = shared / "dicom" / "highdicom-sm_image.dcm"
    receiver.fail_with = RuntimeError("database is locked: INSERT 'Geheim^Greta'")
    result = run("storescu", "-R", "-v", *address(receiver), path)
    assert "0x110" in result.stderr, result.stderr
    assert "database" not in result.stderr
    assert "RuntimeError" in caplog.text
    assert "Geheim" not in caplog.text
    receiver.fail_with = None
    assert run("dcmsend", *address(receiver), path).returncode == 0
    assert len(receiver.instances) == 1


@pytest.mark.parametrize(
    ("config", "arguments", "accepted"),
    [
        ({"check_called_ae": True}, ["-aec", "MARROWNODE"], True),
        ({"check_called_ae": True}, ["-aec", "ELSEWHERE"], False),
        ({"check_called_ae": False}, ["-aec", "ELSEWHERE"], True),
        ({"allowed_calling_ae": ("SCANNER", "PACS")}, ["-aet", "PACS"], True),
        ({"allowed_calling_ae": ("SCANNER", "PACS")}, ["-aet", "STRANGER"], False),
        ({"allowed_addresses": ("10.1.0.0/16", "127.0.0.1")}, [], True),
        ({"allowed_addresses": ("10.1.0.0/16",)}, [], False),
    ],
)
def test_who_may_associate(tmp_path, config, arguments, accepted):
    with receiving(tmp_path / "store", **config) as receiver:
        result = run("echoscu", "-v", *arguments, *address(receiver))
        assert (result.returncode == 0) == accepted, result.stderr
        assert accepted or re.search("Not Recognized|never connected", result.stderr)


def test_several_senders_at_once(receiver, shared):
    slides = [shared / "slides" / name for name in ("marrow-fields", "mll-cells", "cmu-1-small-region")]
    senders = [
        subprocess.Popen(["dcmsend", "--scan-directories", *address(receiver), str(slide)], stderr=subprocess.DEVNULL)
        for slide in slides
    ]
    assert [sender.wait(timeout=120) for sender in senders] == [0, 0, 0]
    assert len(receiver.instances) == sum(len(list(slide.iterdir())) for slide in slides)


def test_a_port_in_use_is_named(receiver):
    from dicom_io.errors import PeerError
    from dicom_io.listener import DicomListener, ListenerConfig

    port = receiver.listener.port
    second = DicomListener(
        ListenerConfig(port=port), receiver.store, receiver.index, receiver.released.append, lambda _: 0
    )
    with pytest.raises(PeerError, match=f"127.0.0.1:{port}"):
        second.start()


def test_spool_is_beside_the_instances(receiver):
    assert Path(receiver.store.spool).stat().st_dev == receiver.store.root.stat().st_dev
