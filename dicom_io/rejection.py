"""A note that objects no longer hold: archives that know IHE's IOCM hide what it lists (RAD TF-2 4.66.4.1.3).

It is a Key Object Selection (PS3.3 A.35.4) whose title says why. An archive that does not know what it means keeps it
as any other document.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom import Dataset

from dicom_io import codes
from dicom_io.errors import DicomError
from dicom_io.header import read_dataset
from dicom_io.provenance import Predecessor, ResultKind, construct
from dicom_io.scan import UNREADABLE, is_of_the_disk
from dicom_io.source import PATIENT_AND_STUDY, Source
from dicom_io.sr import device_observer, reference_to, requests_of
from pipeline.domain import Report

_NOT_TO_BE_USED = {
    (title.value, title.scheme_designator)
    for title in (codes.REJECTED_FOR_QUALITY, codes.REJECTED_FOR_SAFETY, codes.WRONG_ORDER)
}


def encode_rejection(report: Report, source: Source, rejected: Sequence[Predecessor]) -> Dataset:
    """That the objects were made for the wrong order (113038, Incorrect Modality Worklist Entry), with the reason.

    Parameters
    ----------
    report : says in `reason` why there is no result any more
    rejected : at least one object, all in the study of `source`
    """
    references = [_reference(each, source.base) for each in rejected]
    content = KeyObjectSelection(
        document_title=codes.WRONG_ORDER,
        referenced_objects=references,
        observer_device_context=device_observer(report),
        description=report.reason,
    )
    return construct(
        KeyObjectSelectionDocument,
        report,
        ResultKind.REJECTION,
        source.base,
        evidence=references,
        content=content,
        requested_procedures=requests_of(report, source),
    )


def _reference(each: Predecessor, image: Dataset) -> Dataset:
    """The object as highdicom wants to be given it: with the patient and the study, which are those of its slide."""
    item = reference_to(each)
    for keyword in PATIENT_AND_STUDY:
        setattr(item, keyword, image.get(keyword))
    return item


def read_rejection(path: Path) -> Mapping[str, frozenset[str]]:
    """The series of which a note says that they are not to be used, by study; empty for any other document.

    Not to be used is what was rejected for its quality, for the patient's safety or as of the wrong order (PS3.16
    CID 7011); what an archive no longer keeps for its age was good.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    try:
        note = read_dataset(path)
        title = note.ConceptNameCodeSequence[0]
        if (title.CodeValue, title.CodingSchemeDesignator) not in _NOT_TO_BE_USED:
            return {}
        for study in note.CurrentRequestedProcedureEvidenceSequence:
            found[str(study.StudyInstanceUID)] |= {str(e.SeriesInstanceUID) for e in study.ReferencedSeriesSequence}
    except (DicomError, OSError, IndexError, *UNREADABLE) as exc:
        if is_of_the_disk(exc):
            raise
        return {}  # a note that names no series rejects none, and is kept
    return {study: frozenset(series) for study, series in found.items()}
