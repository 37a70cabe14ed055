"""Which series a rejection note of an archive says are not to be used."""

from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_io.rejection import read_rejection
from tests.rejections import write_rejection_note
from tests.slides import SERIES, STUDY


@pytest.mark.parametrize("title", ["113001", "113037", "113038"])
def test_what_is_not_to_be_used_is_read(tmp_path: Path, title: str) -> None:
    note = write_rejection_note(tmp_path, title, series=(SERIES, "2.25.7"))
    assert read_rejection(note) == {STUDY: {SERIES, "2.25.7"}}


@pytest.mark.parametrize("title", ["113039", "113000"])
def test_what_is_too_old_to_keep_or_of_interest_is_not_rejected(tmp_path: Path, title: str) -> None:
    assert read_rejection(write_rejection_note(tmp_path, title)) == {}


@pytest.mark.parametrize("lost", ["ConceptNameCodeSequence", "CurrentRequestedProcedureEvidenceSequence"])
def test_a_note_that_says_too_little_rejects_nothing(tmp_path: Path, lost: str) -> None:
    path = write_rejection_note(tmp_path)
    note = dcmread(path)
    delattr(note, lost)
    note.save_as(path)
    assert read_rejection(path) == {}
    setattr(note, lost, [])
    note.save_as(path)
    assert read_rejection(path) == {}


def test_a_note_that_cannot_be_read_to_its_end_is_no_error(tmp_path: Path) -> None:
    path = write_rejection_note(tmp_path)
    whole = path.read_bytes()
    for end in range(len(whole) // 2, len(whole), 7):  # within the data set
        path.write_bytes(whole[:end])
        assert len(read_rejection(path)) <= 1


def test_what_is_no_dicom_rejects_nothing(tmp_path: Path) -> None:
    (tmp_path / "note.dcm").write_bytes(b"no DICOM")
    assert read_rejection(tmp_path / "note.dcm") == {}
