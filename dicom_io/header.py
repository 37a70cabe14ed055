"""What an instance says of itself before its pixels: identity, geometry, place in a concatenation (PS3.3 A.32.8)."""

from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.multival import MultiValue

from dicom_io.errors import InstanceRejected
from dicom_io.scan import CANNOT_UNDERSTAND, UNREADABLE, dataset_digest, is_of_the_disk, read_start, require_moderate
from dicom_io.uids import is_uid
from pipeline.domain import Patient

# What other makers wrote is read as it is; the attributes used are checked here, one by one.
config.settings.reading_validation_mode = config.IGNORE

_PER_FRAME_FUNCTIONAL_GROUPS = 0x52009230
_LARGEST_HEADER = 1 << 30  # annotations of a million cells have a third of it
_LARGEST_HEADER_VALUE = 16 << 20

UNKNOWN_PATIENT = Patient(patient_id="")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHeader:
    """One instance without its pixels; numbers are 0 and texts empty where the attribute is absent.

    `container_identifier` is the barcode read from the label where a scanner names no container. `pixel_spacing` is
    DICOM's order, (row, column) in mm. `sha256` is that of the data set (`dataset_digest`).
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str = ""
    image_type: tuple[str, ...] = ()
    accession_number: str = ""
    container_identifier: str = ""
    specimen_identifier: str = ""
    patient: Patient = UNKNOWN_PATIENT
    number_of_frames: int = 1
    rows: int = 0
    columns: int = 0
    total_pixel_matrix_columns: int = 0
    total_pixel_matrix_rows: int = 0
    pixel_spacing: tuple[float, float] | None = None
    imaged_volume: tuple[float, float] | None = None  # width, height in mm
    dimension_organization_type: str = ""
    total_pixel_matrix_focal_planes: int = 1
    number_of_optical_paths: int = 1
    frame_of_reference_uid: str = ""
    optical_path_identifier: str = ""  # of the first, when the instance has several
    z_offset_um: float = 0.0
    concatenation_uid: str = ""
    in_concatenation_number: int = 0
    in_concatenation_total_number: int = 0
    sha256: str = ""

    @property
    def flavor(self) -> str:
        """ImageType value 3: VOLUME, LABEL, OVERVIEW or THUMBNAIL (PS3.3 C.8.12.4.1.1)."""
        return self.image_type[2] if len(self.image_type) > 2 else ""

    @property
    def resampled(self) -> bool:
        """ImageType value 4 says that this level was computed from another one."""
        return len(self.image_type) > 3 and self.image_type[3] == "RESAMPLED"

    def at(self, path: Path) -> "InstanceHeader":
        """The same header for the file moved to `path`."""
        return replace(self, path=path)


def read_dataset(path: Path) -> Dataset:
    """The data set up to the per-frame functional groups; large values stay on the disk.

    Raises
    ------
    InstanceRejected
        0xC000 when the file cannot be understood.
    """
    try:
        require_moderate(path, _PER_FRAME_FUNCTIONAL_GROUPS, _LARGEST_HEADER)
        with path.open("rb") as file:
            return read_partial(
                file, lambda tag, vr, length: int(tag) >= _PER_FRAME_FUNCTIONAL_GROUPS, defer_size=_LARGEST_HEADER_VALUE
            )
    except (OSError, *UNREADABLE) as exc:
        if is_of_the_disk(exc):
            raise
        raise InstanceRejected(CANNOT_UNDERSTAND, f"{path.name} is not a DICOM file that can be read") from exc


def read_header(path: Path, *, sha256: str = "") -> InstanceHeader:
    """`parse_header` and the digest of the data set, computed when not given."""
    header = parse_header(path)
    return replace(header, sha256=sha256 or dataset_digest(path))


def parse_header(path: Path) -> InstanceHeader:
    """The header of the file at `path` without a digest: reads only its beginning.

    Parameters
    ----------
    path : Path
        A DICOM file (PS3.10).

    Raises
    ------
    InstanceRejected
        0xC000 when the file cannot be understood or an identifying UID is absent or malformed.
    """
    start = read_start(path)
    ds = read_dataset(path)
    try:
        return _header(path, ds, start.transfer_syntax_uid)
    except UNREADABLE as exc:
        raise InstanceRejected(CANNOT_UNDERSTAND, f"{path.name} has an attribute that cannot be decoded") from exc


def _header(path: Path, ds: Dataset, transfer_syntax_uid: str) -> InstanceHeader:
    specimens = ds.get("SpecimenDescriptionSequence") or [Dataset()]
    return InstanceHeader(
        path=path,
        sop_class_uid=_uid(ds, "SOPClassUID"),
        sop_instance_uid=_uid(ds, "SOPInstanceUID"),
        study_instance_uid=_uid(ds, "StudyInstanceUID"),
        series_instance_uid=_uid(ds, "SeriesInstanceUID"),
        transfer_syntax_uid=transfer_syntax_uid,
        modality=text(ds, "Modality"),
        image_type=tuple(str(value) for value in _values(ds, "ImageType")),
        accession_number=text(ds, "AccessionNumber"),
        container_identifier=text(ds, "ContainerIdentifier") or text(ds, "BarcodeValue"),
        specimen_identifier=text(specimens[0], "SpecimenIdentifier"),
        patient=_patient(ds),
        number_of_frames=_number(ds, "NumberOfFrames", 1),
        rows=_number(ds, "Rows"),
        columns=_number(ds, "Columns"),
        total_pixel_matrix_columns=_number(ds, "TotalPixelMatrixColumns"),
        total_pixel_matrix_rows=_number(ds, "TotalPixelMatrixRows"),
        pixel_spacing=_pixel_spacing(ds),
        imaged_volume=_imaged_volume(ds),
        dimension_organization_type=text(ds, "DimensionOrganizationType"),
        total_pixel_matrix_focal_planes=_number(ds, "TotalPixelMatrixFocalPlanes", 1),
        number_of_optical_paths=_number(ds, "NumberOfOpticalPaths", 1),
        frame_of_reference_uid=text(ds, "FrameOfReferenceUID"),
        optical_path_identifier=text((ds.get("OpticalPathSequence") or [Dataset()])[0], "OpticalPathIdentifier"),
        z_offset_um=_z_offset(ds),
        concatenation_uid=text(ds, "ConcatenationUID"),
        in_concatenation_number=_number(ds, "InConcatenationNumber"),
        in_concatenation_total_number=_number(ds, "InConcatenationTotalNumber"),
    )


def text(ds: Dataset, keyword: str) -> str:
    """A single text value, trimmed; empty where absent; as it is written where a backslash makes several of it."""
    value = ds.get(keyword)
    if isinstance(value, MultiValue):
        return "\\".join(str(part) for part in value).strip()
    return "" if value is None else str(value).strip()


def _values(ds: Dataset, keyword: str) -> list[Any]:
    value = ds.get(keyword)
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else list(value)


def _uid(ds: Dataset, keyword: str) -> str:
    value = text(ds, keyword)
    if not is_uid(value):
        state = "is absent" if not value else "is not a UID (digits and dots, at most 64; PS3.5 9.1)"
        raise InstanceRejected(CANNOT_UNDERSTAND, f"{keyword} {state}")
    return value


def _number(ds: Dataset, keyword: str, absent: int = 0) -> int:
    value = ds.get(keyword)
    try:
        return absent if value is None or value == "" else int(value)
    except (TypeError, ValueError) as exc:
        raise InstanceRejected(CANNOT_UNDERSTAND, f"{keyword} is not one whole number") from exc


def _pixel_spacing(ds: Dataset) -> tuple[float, float] | None:
    shared = ds.get("SharedFunctionalGroupsSequence") or [Dataset()]
    measures = shared[0].get("PixelMeasuresSequence") or [ds]
    values = _values(measures[0], "PixelSpacing")
    if len(values) != 2:
        return None
    return float(values[0]), float(values[1])


def _imaged_volume(ds: Dataset) -> tuple[float, float] | None:
    width, height = ds.get("ImagedVolumeWidth"), ds.get("ImagedVolumeHeight")
    return None if width is None or height is None else (float(width), float(height))


def _z_offset(ds: Dataset) -> float:
    """Of the whole image, where the writer states it once (C.8.12.4.1.2 or C.8.12.6.1)."""
    origins = ds.get("TotalPixelMatrixOriginSequence") or [Dataset()]
    shared = ds.get("SharedFunctionalGroupsSequence") or [Dataset()]
    positions = shared[0].get("PlanePositionSlideSequence") or [Dataset()]
    for item in (origins[0], positions[0]):
        if item.get("ZOffsetInSlideCoordinateSystem") not in (None, ""):
            return float(item.ZOffsetInSlideCoordinateSystem)
    return 0.0


def _patient(ds: Dataset) -> Patient:
    return Patient(
        patient_id=text(ds, "PatientID"),
        issuer=text(ds, "IssuerOfPatientID"),
        name=text(ds, "PatientName").split("=", maxsplit=1)[0].rstrip("^"),
        birth_date=_date(text(ds, "PatientBirthDate")),
        sex=text(ds, "PatientSex"),
    )


def _date(value: str) -> date | None:
    try:
        return datetime.strptime(value, "%Y%m%d").date()
    except ValueError:
        return None
