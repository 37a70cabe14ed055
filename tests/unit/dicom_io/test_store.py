"""What the store keeps, refuses, and leaves behind."""

import errno
import os
import resource
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset

from dicom_io.errors import InstanceRejected
from dicom_io.scan import check_complete, dataset_digest
from dicom_io.store import FileStore, read_header
from tests.unit.dicom_io.instances import picture, save_jpeg_level, save_level


@pytest.fixture
def store(tmp_path) -> FileStore:
    return FileStore(tmp_path / "store", reserve_bytes=0)


def spool(store: FileStore, source: Path) -> Path:
    path = store.new_spool_path()
    path.write_bytes(source.read_bytes())
    return path


@pytest.fixture
def level(tmp_path) -> Path:
    return save_jpeg_level(tmp_path, "level", picture(200, 130), "2.25.1")


@pytest.fixture
def native(tmp_path) -> Path:
    return save_level(tmp_path, "native", picture(200, 130), "2.25.2")


def test_an_instance_is_kept_under_its_uids(store, level):
    header = store.keep(spool(store, level))
    assert header.path == store.root / "2.25.10" / "2.25.11" / "2.25.1.dcm"
    assert header.path.read_bytes() == level.read_bytes()
    assert header.sha256 == dataset_digest(level)
    assert header.patient.name == "Geheim^Greta"
    assert (header.total_pixel_matrix_columns, header.total_pixel_matrix_rows) == (200, 130)
    assert header.pixel_spacing == (0.0002, 0.0002)
    assert list(store.spool.iterdir()) == []


def test_a_backslash_in_a_single_value_stays(store, tmp_path):
    changes = {"PatientID": ["12", "34"], "PatientName": ["Geheim^Greta", "Meier"]}
    level = save_level(tmp_path, "two", picture(64, 64), "2.25.3", **changes)
    patient = store.keep(spool(store, level)).patient
    assert (patient.patient_id, patient.name) == ("12\\34", "Geheim^Greta\\Meier")


@pytest.mark.parametrize(("container", "known"), [("S26-1-A", "S26-1-A"), ("", "S26-1-B"), (None, "S26-1-B")])
def test_without_a_container_the_barcode_names_the_slide(store, tmp_path, container, known):
    level = save_level(tmp_path, "x", picture(64, 64), "2.25.3", ContainerIdentifier=container, BarcodeValue="S26-1-B")
    assert store.keep(spool(store, level)).container_identifier == known


def test_keeping_twice_is_keeping_once(store, level):
    first, second = store.keep(spool(store, level)), store.keep(spool(store, level))
    assert first == second
    assert first.path.read_bytes() == level.read_bytes()


def test_the_file_meta_information_is_not_content(store, level):
    """STOW carries the sender's, C-STORE ours: the instance is the same."""
    first = store.keep(spool(store, level))
    ds = dcmread(level)
    ds.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
    ds.save_as(level)
    assert store.keep(spool(store, level)) == first


def test_other_content_never_replaces_what_is_kept(store, level):
    kept = store.keep(spool(store, level))
    ds = dcmread(level)
    ds.InstanceNumber = 9
    ds.save_as(level)
    with pytest.raises(InstanceRejected, match=r"2\.25\.1 is already kept with other content") as caught:
        store.keep(spool(store, level))
    assert caught.value.status == 0xC000
    assert dataset_digest(kept.path) == kept.sha256
    assert list(store.spool.iterdir()) == []


@pytest.mark.parametrize("missing", [1, 9, 1000, 5000])
@pytest.mark.parametrize("which", ["level", "native"])
def test_a_truncated_file_is_refused(request, store, which, missing):
    path = spool(store, request.getfixturevalue(which))
    os.truncate(path, path.stat().st_size - missing)
    with pytest.raises(InstanceRejected) as caught:
        store.keep(path)
    assert caught.value.status == 0xC000
    assert not path.exists()
    assert list(store.root.rglob("*.dcm")) == []


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("SOPInstanceUID", "1.2/../3"),
        ("StudyInstanceUID", "../../etc"),
        ("SeriesInstanceUID", "1" * 65),
        ("SeriesInstanceUID", ""),
        ("NumberOfFrames", "many"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR", "ignore:The value length", "ignore:Value .* has")
def test_a_malformed_attribute_is_named(store, level, keyword, value):
    raw = level.read_bytes()
    ds = dcmread(level)
    ds[keyword]._value = value
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(level)
    assert level.read_bytes() != raw
    with pytest.raises(InstanceRejected, match=keyword) as caught:
        store.keep(spool(store, level))
    assert "Geheim" not in str(caught.value)
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_another_object_than_announced_is_refused(store, level):
    ds = dcmread(level)
    ds.file_meta.MediaStorageSOPInstanceUID = "2.25.999"
    path = store.new_spool_path()
    ds.save_as(path, enforce_file_format=False)
    with pytest.raises(InstanceRejected) as caught:
        store.keep(path)
    assert caught.value.status == 0xA900


@pytest.mark.parametrize("content", [b"", b"hello", bytes(200), b"\x00" * 128 + b"DICM", b"<html></html>" * 99])
def test_what_is_not_dicom_is_refused(store, content):
    path = store.new_spool_path()
    path.write_bytes(content)
    with pytest.raises(InstanceRejected, match=r"DICOM|Transfer") as caught:
        store.keep(path)
    assert caught.value.status == 0xC000


@pytest.mark.parametrize("missing", range(1, 60, 7))
def test_a_file_that_ends_inside_a_sequence_is_refused(store, level, missing):
    ds = dcmread(level, stop_before_pixels=True)
    ds.SharedFunctionalGroupsSequence.is_undefined_length = True
    ds["SharedFunctionalGroupsSequence"].is_undefined_length = True
    path = store.new_spool_path()
    ds.save_as(path, enforce_file_format=True)
    os.truncate(path, path.stat().st_size - missing)
    with pytest.raises(InstanceRejected) as caught:
        store.keep(path)
    assert caught.value.status == 0xC000


@pytest.mark.parametrize("delimited", [False, True])
def test_a_header_that_does_not_fit_into_memory_is_refused(store, level, delimited):
    """A sequence of two gigabytes, which who reads the header would hold; here it is a hole in the file."""
    ds = dcmread(level, stop_before_pixels=True)
    path = store.new_spool_path()
    kept = FileDataset(
        path, {element.tag: element for element in ds if element.tag < 0x00400560}, file_meta=ds.file_meta
    )
    kept.save_as(path, enforce_file_format=True)
    length = 2 << 30
    value = struct.pack("<HH2sHL", 0x0009, 0x1001, b"OB", 0, length)
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        if delimited:
            file.write(struct.pack("<HH2sHL", 0x0040, 0x0560, b"SQ", 0, 0xFFFFFFFF))
            file.write(struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + value)
            file.seek(length, 1)
            file.write(struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0))
        else:
            file.write(struct.pack("<HH2sHL", 0x0040, 0x0560, b"SQ", 0, length + 20))
            file.write(struct.pack("<HHL", 0xFFFE, 0xE000, length + 12) + value)
            file.seek(length - 1, 1)
            file.write(b"\0")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InstanceRejected, match=r"values before \(5200,9230\) are too large") as caught:
        store.keep(path)
    assert caught.value.status == 0xC000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


def test_too_little_space_is_out_of_resources(tmp_path):
    store = FileStore(tmp_path, reserve_bytes=1 << 60)
    with pytest.raises(InstanceRejected, match="free space") as caught:
        store.require_space()
    assert caught.value.status == 0xA700


@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_is_out_of_resources(store, level, monkeypatch, failure):
    def full(*_: object) -> None:
        raise OSError(failure, os.strerror(failure))

    path = spool(store, level)
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(InstanceRejected) as caught:
        store.keep(path)
    assert caught.value.status == 0xA700


def test_a_file_system_without_links(store, level, native, monkeypatch):
    def unsupported(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", unsupported)
    kept = store.keep(spool(store, level))
    assert kept.path.read_bytes() == level.read_bytes()
    assert store.keep(spool(store, level)) == kept
    assert store.keep(spool(store, native)).path.exists()


def test_leftovers_of_dead_processes_are_discarded(store):
    mine = store.new_spool_path()
    mine.touch()
    host, _, _ = mine.name.rpartition("-")[0].rpartition("-")
    dead = store.spool / f"{host}-{2**22 + 1}-00.dcm"
    other = store.spool / "elsewhere-17-00.dcm"
    old = store.spool / "elsewhere-18-00.dcm"
    foreign = store.spool / "upload"
    for path in (dead, other, old, foreign):
        path.touch()
    os.utime(old, (0, 0))
    assert store.discard_unfinished() == 2
    assert sorted(store.spool.iterdir()) == sorted([mine, other, foreign])


def test_nested_sequences_of_undefined_length_are_walked(tmp_path, native):
    ds = dcmread(native)
    inner = Dataset()
    inner.ConceptNameCodeSequence = [Dataset(), Dataset()]
    inner.ConceptNameCodeSequence[0].CodeValue = "1"
    ds.AcquisitionContextSequence = [inner, inner]
    for element in (ds["AcquisitionContextSequence"], inner["ConceptNameCodeSequence"]):
        element.is_undefined_length = True
    path = tmp_path / "nested.dcm"
    ds.save_as(path)
    check_complete(path)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(InstanceRejected, match="1 bytes are missing"):
        check_complete(path)


def test_zero_padding_after_the_data_set_is_no_damage(native):
    with native.open("ab") as file:
        file.write(bytes(64))
    check_complete(native)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_refused_or_read_never_worse(tmp_path, level, data):
    raw = bytearray(level.read_bytes()[:4000])
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(128, len(raw) - 1))
        raw[position : position + 1] = data.draw(st.binary(min_size=0, max_size=6))
    path = tmp_path / "fuzzed.dcm"
    path.write_bytes(raw)
    try:
        read_header(path)
        check_complete(path)
    except InstanceRejected as exc:
        assert "Geheim" not in str(exc)
