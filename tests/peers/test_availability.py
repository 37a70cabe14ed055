"""A notification of availability comes in by pynetdicom's own client: N-CREATE (PS3.4 Annex R)."""

from contextlib import contextmanager

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context
from pynetdicom.sop_class import InstanceAvailabilityNotification

from dicom_io.errors import InstanceRejected
from tests.receiver import receiving


def series(uid: str, *states: str) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = uid
    item.ReferencedSOPSequence = []
    for number, state in enumerate(states):
        instance = Dataset()
        instance.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
        instance.ReferencedSOPInstanceUID = f"{uid}.{number}"
        instance.InstanceAvailability, instance.RetrieveAETitle = state, "ARCHIVE"
        item.ReferencedSOPSequence.append(instance)
    return item


def notice(study: str, *items: Dataset) -> Dataset:
    ds = Dataset()
    ds.StudyInstanceUID, ds.ReferencedSeriesSequence = study, list(items)
    return ds


@contextmanager
def archive(receiver):
    assoc = AE("ARCHIVE").associate(
        "127.0.0.1", receiver.listener.port, [build_context(InstanceAvailabilityNotification)]
    )
    assert assoc.is_established
    yield assoc
    assoc.release()


def answered(assoc, ds: Dataset) -> int:
    status, _ = assoc.send_n_create(ds, InstanceAvailabilityNotification, "2.25.1000")
    return status.Status


def test_what_an_archive_holds_is_announced(tmp_path):
    whole, part, gone = series("2.25.1", "ONLINE", "NEARLINE"), series("2.25.2", "ONLINE", "OFFLINE"), series("2.25.3")
    with receiving(tmp_path / "store") as receiver, archive(receiver) as assoc:
        assert answered(assoc, notice("2.25.9", whole, part, gone)) == 0x0000
        assert answered(assoc, notice("2.25.9", part)) == 0x0000
    assert receiver.available == [("2.25.9", frozenset({"2.25.1"}))]


@pytest.mark.parametrize("ds", [notice(""), notice("2.25.9"), notice("2.25.9", series("")), notice("9", series("a/b"))])
def test_a_notification_that_names_nothing_is_refused(tmp_path, ds):
    with receiving(tmp_path / "store") as receiver, archive(receiver) as assoc:
        assert answered(assoc, ds) == 0x0106
    assert receiver.available == []


def test_a_notification_that_cannot_be_kept_is_not_granted(tmp_path, caplog):
    with receiving(tmp_path / "store") as receiver, archive(receiver) as assoc:
        receiver.fail_with = InstanceRejected(0xA700, "no room for the patient's name")
        assert answered(assoc, notice("2.25.9", series("2.25.1", "ONLINE"))) == 0xA700
        receiver.fail_with = None
        assert answered(assoc, notice("2.25.9", series("2.25.1", "ONLINE"))) == 0x0000
    assert "patient" not in caplog.text
