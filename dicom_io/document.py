"""The printed report in the archive: Encapsulated PDF (PS3.3 A.45.1, C.24)."""

from highdicom.base import SOPClass
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from dicom_io import codes
from dicom_io.provenance import ResultKind, caution, construct, is_verified
from dicom_io.source import Source
from pipeline.domain import Report

_TITLE = "Bone marrow differential count"


def encode_document(report: Report, source: Source, pdf: bytes) -> Dataset:
    """The PDF of a report as an object of the slide's study, byte for byte, to be read beside the images.

    Parameters
    ----------
    pdf : bytes
        As `pdf.report.encode_pdf` made it of the same report.
    """
    return construct(
        _EncapsulatedPdf,
        report,
        ResultKind.DOCUMENT,
        source.base,
        source_image=source.base,
        pdf=pdf,
        title=f"{_TITLE}: {caution(report)}",
        is_verified=is_verified(report),
    )


class _EncapsulatedPdf(SOPClass):  # type: ignore[misc] # highdicom's types are not followed
    """What highdicom has no class for; `construct` gives the identity."""

    def __init__(self, *, source_image: Dataset, pdf: bytes, title: str, is_verified: bool, **identity: object) -> None:
        super().__init__(
            study_instance_uid=source_image.StudyInstanceUID,
            sop_class_uid=EncapsulatedPDFStorage,
            modality="DOC",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            patient_id=source_image.PatientID,
            patient_name=source_image.PatientName,
            patient_birth_date=source_image.PatientBirthDate,
            patient_sex=source_image.PatientSex,
            accession_number=source_image.AccessionNumber,
            study_id=source_image.StudyID,
            study_date=source_image.StudyDate,
            study_time=source_image.StudyTime,
            referring_physician_name=source_image.ReferringPhysicianName,
            **identity,
        )
        self.copy_patient_and_study_information(source_image)
        self.ConversionType = "WSD"
        self.AcquisitionDateTime = None
        self.BurnedInAnnotation = "YES"  # the page names the patient
        self.SourceInstanceSequence = [_reference(source_image)]
        self.DocumentTitle = title
        self.ConceptNameCodeSequence = [codes.DOCUMENT_TITLE]
        self.VerificationFlag = "VERIFIED" if is_verified else "UNVERIFIED"
        self.MIMETypeOfEncapsulatedDocument = "application/pdf"
        self.EncapsulatedDocumentLength = len(pdf)
        self.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return item
