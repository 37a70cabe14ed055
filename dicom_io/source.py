"""The images that results refer to: the levels of one slide, as headers without pixels (PS3.3 A.32.8)."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import VLWholeSlideMicroscopyImageStorage
from pydicom.valuerep import DA, TM, DSfloat

from dicom_io.errors import InstanceRejected, SlideError
from dicom_io.header import read_dataset
from dicom_io.uids import derive_uid

_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
PATIENT_AND_STUDY = (  # empty where a lax writer left them out
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """The VOLUME images of one slide; `levels` go from fine to coarse and the first is `base`."""

    levels: tuple[Dataset, ...]

    @property
    def base(self) -> Dataset:
        """The image whose pixels are the level-0 coordinates of a Report."""
        return self.levels[0]


def matrix_size(level: Dataset) -> tuple[int, int]:
    """Width and height of the total pixel matrix."""
    return int(level.TotalPixelMatrixColumns), int(level.TotalPixelMatrixRows)


def pixel_spacing(level: Dataset) -> tuple[float, float]:
    """Distance between rows and between columns, mm."""
    row, column = level.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    return float(row), float(column)


def matrix_origin(level: Dataset) -> tuple[float, float]:
    """Where the centre of the first pixel of the matrix lies on the slide, mm."""
    origin = level.TotalPixelMatrixOriginSequence[0]
    return float(origin.XOffsetInSlideCoordinateSystem), float(origin.YOffsetInSlideCoordinateSystem)


def coarser(level: Dataset) -> Iterator[Dataset]:
    """Levels that are not there: this one halved again and again, down to a single pixel."""
    while max(matrix_size(level)) > 1:
        width, height = matrix_size(level)
        level = deepcopy(level)  # a shallow copy of a Dataset shares its elements
        level.TotalPixelMatrixColumns, level.TotalPixelMatrixRows = -(-width // 2), -(-height // 2)
        measures = level.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.PixelSpacing = [DSfloat(2 * spacing, auto_format=True) for spacing in pixel_spacing(level)]
        yield level


def slide_coordinates(points: NDArray[np.float64], level: Dataset) -> NDArray[np.float64]:
    """Points of the pixel matrix in the slide's frame of reference (PS3.3 C.7.6.2.1.1 with C.8.12.2).

    Parameters
    ----------
    points : (N, 2) of (x, y), pixels; (0, 0) is the outer corner of the first pixel
    level : the image whose pixels they are

    Returns
    -------
    (N, 3) of (x, y, z), mm
    """
    orientation = np.array(level.ImageOrientationSlide, dtype=np.float64).reshape(2, 3)  # along a row, down a column
    spacing = np.array(pixel_spacing(level))[::-1]  # between columns, between rows
    offset = np.array([*matrix_origin(level), 0.0])
    return np.asarray(offset + (points - 0.5) * spacing @ orientation)


def frame_of_reference_uid(image: Dataset) -> str:
    """The image's FrameOfReferenceUID; where its writer left it out, the one that all results of its series carry."""
    return image.get("FrameOfReferenceUID") or derive_uid(str(image.SeriesInstanceUID), "frame of reference")


def read_source(paths: Sequence[Path]) -> Source:
    """Read the headers of a slide's VOLUME images.

    What a lax writer left out but a result must have is filled in: empty where PS3.3 allows empty, derived from the
    series where it does not (frame of reference, specimen UID), so that all results of a slide agree.

    Parameters
    ----------
    paths : files, or folders of them; what is not DICOM is passed over

    Raises
    ------
    SlideError
        If no VOLUME image is among them, or one lacks its geometry.
    """
    volumes = sorted(filter(is_volume, _headers(paths)), key=_rank)
    if not volumes:
        raise SlideError("No VL Whole Slide Microscopy image with ImageType VOLUME is among the slide's files.")
    volumes = [level for level in volumes if level.SeriesInstanceUID == volumes[0].SeriesInstanceUID]
    for level in volumes:
        _require_geometry(level)
    levels = {matrix_size(level): level for level in reversed(volumes)}
    return Source(levels=tuple(_complete(level) for _, level in sorted(levels.items(), reverse=True)))


def read_uncounted(paths: Sequence[Path]) -> Source:
    """Read what a document without a result refers to: one image of the slide, whatever its kind and geometry.

    Raises
    ------
    SlideError
        If none of the files is a DICOM image.
    """
    images = sorted(_headers(paths), key=lambda header: (not is_volume(header), _rank(header)))
    if not images:
        raise SlideError("None of the slide's files is a DICOM image; send the slide again.")
    return Source(levels=(_complete(images[0]),))


def is_volume(image: Dataset) -> bool:
    """Whether the image shows the specimen, not its label (PS3.3 C.8.12.4.1.1)."""
    return image.SOPClassUID == VLWholeSlideMicroscopyImageStorage and "VOLUME" in (image.get("ImageType") or ())


def _headers(paths: Sequence[Path]) -> Iterator[Dataset]:
    files = {file for path in paths for file in (path.rglob("*") if path.is_dir() else (path,))}
    for file in sorted(files):
        try:
            header = read_dataset(file)
        except (InstanceRejected, OSError):
            continue
        if all(header.get(keyword) for keyword in _IDENTITY):
            header.decode()  # text that is copied must not keep the bytes of the slide's character set
            yield header


def _rank(header: Dataset) -> tuple[int, bool, int, str]:
    """The fine before the coarse, the scanned before the resampled, the first part of a concatenation first."""
    return (
        -int(header.get("TotalPixelMatrixColumns") or 0),
        "RESAMPLED" in (header.get("ImageType") or ()),
        int(header.get("InConcatenationNumber") or 0),
        str(header.SOPInstanceUID),
    )


def _require_geometry(level: Dataset) -> None:
    for keyword in (
        "TotalPixelMatrixColumns",
        "TotalPixelMatrixRows",
        "TotalPixelMatrixOriginSequence",
        "ImageOrientationSlide",
        "SharedFunctionalGroupsSequence",
    ):
        if not level.get(keyword):
            raise SlideError(f"{keyword} is absent in {level.SOPInstanceUID}; export the slide again with it.")
    measures = level.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence") or [Dataset()]
    if not measures[0].get("PixelSpacing"):
        raise SlideError(f"PixelSpacing is absent in {level.SOPInstanceUID}; export the slide again with it.")
    try:
        slide_coordinates(np.zeros((1, 2)), level)
    except (AttributeError, TypeError, ValueError) as exc:
        raise SlideError(
            "TotalPixelMatrixOriginSequence, ImageOrientationSlide or PixelSpacing does not say where "
            f"{level.SOPInstanceUID} lies; export the slide again with them."
        ) from exc


def _complete(level: Dataset) -> Dataset:
    for keyword in (*PATIENT_AND_STUDY, "ContainerIdentifier"):
        if keyword not in level:
            setattr(level, keyword, "")
    for keyword, parse in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        if not _can(parse, level[keyword].value):
            setattr(level, keyword, "")
    if not _can(_utc_offset, level.get("TimezoneOffsetFromUTC", "+0000")):
        del level.TimezoneOffsetFromUTC
    if level.PatientSex not in ("M", "F", "O"):
        level.PatientSex = ""
    if isinstance(level.PatientName, MultiValue):  # a backslash stands in it, which PN does not have
        level.PatientName = str(level.PatientName[0])
    series = str(level.SeriesInstanceUID)
    level.Modality = level.get("Modality") or "SM"
    level.FrameOfReferenceUID = frame_of_reference_uid(level)
    if not level.get("PositionReferenceIndicator"):
        level.PositionReferenceIndicator = "SLIDE_CORNER"
    if not level.get("SpecimenDescriptionSequence"):
        level.SpecimenDescriptionSequence = [Dataset()]
    for specimen in level.SpecimenDescriptionSequence:
        named = [specimen.SpecimenIdentifier] if specimen.get("SpecimenIdentifier") else []
        specimen.SpecimenUID = specimen.get("SpecimenUID") or derive_uid(series, "specimen", *named)
        specimen.SpecimenIdentifier = next(iter(named), level.ContainerIdentifier)
    return level


def _utc_offset(text: str) -> datetime:
    return datetime.strptime(text, "%z")


def _can(parse: Callable[[Any], object], value: object) -> bool:
    try:
        parse(value)
    except (TypeError, ValueError):
        return False
    return True
