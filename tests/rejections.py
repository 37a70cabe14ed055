"""A rejection note as an archive sends it (IHE RAD IOCM): a Key Object Selection on disk."""

from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage, VLWholeSlideMicroscopyImageStorage

from tests.slides import SERIES, STUDY


def write_rejection_note(folder: Path, title: str = "113037", *, series: Sequence[str] = (SERIES,)) -> Path:
    """A note with a title of PS3.16 CID 7011 about the series of the study of `tests.slides`."""
    note = Dataset()
    note.SOPClassUID, note.SOPInstanceUID = KeyObjectSelectionDocumentStorage, "2.25.120.1"
    note.StudyInstanceUID, note.SeriesInstanceUID, note.Modality = STUDY, "2.25.120", "KO"
    note.PatientName, note.PatientID = "Muster^Maria", "TEST-4711"
    note.ValueType, note.ConceptNameCodeSequence = "CONTAINER", [_code(title)]
    note.CurrentRequestedProcedureEvidenceSequence = [_study(series)]
    note.file_meta = FileMetaDataset()
    note.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / "note.dcm"
    note.save_as(path, enforce_file_format=True)
    return path


def _code(value: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", "Rejected"
    return code


def _study(series: Sequence[str]) -> Dataset:
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = STUDY, [_series(uid) for uid in series]
    return study


def _series(uid: str) -> Dataset:
    image, series = Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = VLWholeSlideMicroscopyImageStorage, f"{uid}.1"
    series.SeriesInstanceUID, series.ReferencedSOPSequence = uid, [image]
    return series
