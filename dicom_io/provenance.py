"""Who made a result object, when, and under which UIDs; the same report gives the same bytes."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version

from pydicom import Dataset, config
from pydicom.valuerep import DA, DT, TM

from dicom_io.codes import MANUFACTURER, coding_schemes
from dicom_io.uids import derive_uid
from pipeline.domain import Report, ResultStatus

UTF8 = "ISO_IR 192"


class ResultKind(StrEnum):
    """The objects made of one report, each in a series of its own."""

    CELLS = "SEG"
    REGIONS = "SEGROI"
    ANNOTATIONS = "ANN"
    MEASUREMENTS = "SR"
    REGIONS_3D = "SR3D"
    DOCUMENT = "PDFDCM"
    REJECTION = "KO"


_SERIES = {
    ResultKind.CELLS: (9101, "Nucleated cells by class"),
    ResultKind.REGIONS: (9102, "Countable regions"),
    ResultKind.ANNOTATIONS: (9103, "Cell outlines by class"),
    ResultKind.MEASUREMENTS: (9104, "Bone marrow differential count"),
    ResultKind.REGIONS_3D: (9105, "Countable regions, report"),
    ResultKind.DOCUMENT: (9106, "Bone marrow differential count, printed"),
    ResultKind.REJECTION: (9107, "Withdrawn results"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """An earlier version of a document, for PredecessorDocumentsSequence (PS3.3 C.17.2)."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


def result_uid(report: Report, *role: str) -> str:
    """The UID of one thing that this report gives rise to, e.g. `result_uid(report, "SEG", "series")`."""
    return derive_uid(report.case_id, report.slide.digest, report.bundle.digest, *role, str(report.revision))


def is_verified(report: Report) -> bool:
    """Whether a named person stands for the result."""
    return report.status in (ResultStatus.FINAL, ResultStatus.CORRECTED)


def person_name(name: str) -> str:
    """A name as PN (PS3.5 6.2.1.2); a plain name is taken as a family name."""
    return name if "^" in name or not name else f"{name}^"


def caution(report: Report) -> str:
    """What a reader must know first, in at most 64 characters (LO)."""
    if report.slide.synthetic:
        return "Synthetic, not for diagnostic use"
    return "Reviewed AI result" if is_verified(report) else "Unverified AI result, not for diagnostic use"


def construct(
    make: Callable[..., Dataset], report: Report, kind: ResultKind, image: Dataset, **content: object
) -> Dataset:
    """Call a highdicom constructor with the identity that belongs to report and kind, and fix every time of day.

    Parameters
    ----------
    make : a highdicom class
    image : the source image; its offset from UTC, when it has one, is that of the result
    content : what the class takes beside identity: source images, pixels, groups or document

    Returns
    -------
    The object; all its dates and times are those of the signature, without one of the analysis.
    """
    at = _clock(report.signed_at or report.analysed_at, image)
    # What the slide's writer wrote is kept as it is; a warning about it would quote it, patient and all, in the log.
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The string .* is unlikely to represent", category=UserWarning)
        ds = _make(make, report, kind, at, content)
    if offset := image.get("TimezoneOffsetFromUTC"):
        ds.TimezoneOffsetFromUTC = offset
    _fix_times(ds, at)
    return ds


def _make(
    make: Callable[..., Dataset], report: Report, kind: ResultKind, at: datetime, content: Mapping[str, object]
) -> Dataset:
    number, description = _SERIES[kind]
    return make(
        series_instance_uid=result_uid(report, kind, "series"),
        series_number=number,
        series_description=f"{description}; synthetic" if report.slide.synthetic else description,
        sop_instance_uid=result_uid(report, kind),
        instance_number=report.revision + 1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name="marrow-node",
        software_versions=[f"marrow-node {_own_version()}", f"{report.bundle.name} {report.bundle.version}"[:64]],
        device_serial_number=report.bundle.digest[:16] or "0",
        content_date=at.date(),
        content_time=at.time(),
        series_date=at.date(),
        series_time=at.time(),
        specific_character_set=UTF8,
        coding_schemes=coding_schemes(),
        **content,
    )


def _clock(at: datetime, image: Dataset) -> datetime:
    """The time as the clock of the image's device shows it (PS3.3 C.12.1.1.8), where the image says where that is."""
    offset = str(image.get("TimezoneOffsetFromUTC", ""))
    return at.astimezone(datetime.strptime(offset, "%z").tzinfo) if offset and at.tzinfo else at


def _own_version() -> str:
    try:
        return version("marrow-node")
    except PackageNotFoundError:
        return "from source"


def _fix_times(ds: Dataset, at: datetime) -> None:
    """Replace the times highdicom takes from the clock."""
    ds.InstanceCreationDate, ds.InstanceCreationTime = DA(at.date()), TM(at.time())
    for item in ds.get("ContributingEquipmentSequence", []):
        if item.get("ManufacturerModelName") == "highdicom":
            item.ContributionDateTime = DT(at)
    for item in ds.get("VerifyingObserverSequence", []):
        item.VerificationDateTime = DT(at)
