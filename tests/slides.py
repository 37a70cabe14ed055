"""A small whole slide image on disk: real DICOM in geometry and identity, every tile the same pale JPEG."""

from datetime import date
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sr.codedict import codes
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

TILE = 256
STUDY, SERIES, FRAME_OF_REFERENCE = "2.25.101", "2.25.102", "2.25.103"


def write_slide(
    folder: Path, *, size: tuple[int, int] = (2000, 1600), mpp: float = 0.19, downsamples: tuple[int, ...] = (1, 2, 8)
) -> list[Path]:
    """Write one file per level into `folder`, finest first, and return the paths."""
    return [_write_level(folder, i + 1, size, mpp, factor) for i, factor in enumerate(downsamples)]


def _write_level(folder: Path, number: int, size: tuple[int, int], mpp: float, factor: int) -> Path:
    width, height = -(-size[0] // factor), -(-size[1] // factor)
    level = Dataset()
    _identify(level, number)
    _describe_specimen(level)
    level.ImageType = [
        "ORIGINAL" if factor == 1 else "DERIVED",
        "PRIMARY",
        "VOLUME",
        "NONE" if factor == 1 else "RESAMPLED",
    ]
    _place(level, width, height, mpp * factor / 1000)
    frames = -(-width // TILE) * -(-height // TILE)
    level.NumberOfFrames = frames
    level.PixelData = encapsulate([_jpeg()] * frames)
    level["PixelData"].VR = "OB"
    level.file_meta = FileMetaDataset()
    level.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    path = folder / f"level-{number}.dcm"
    level.save_as(path, enforce_file_format=True)
    return path


def _identify(level: Dataset, number: int) -> None:
    level.SpecificCharacterSet = "ISO_IR 192"
    level.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    level.SOPInstanceUID = f"{SERIES}.{number}"
    level.StudyInstanceUID, level.SeriesInstanceUID = STUDY, SERIES
    level.FrameOfReferenceUID, level.PositionReferenceIndicator = FRAME_OF_REFERENCE, "SLIDE_CORNER"
    level.PatientName, level.PatientID, level.PatientSex = "Muster^Maria", "TEST-4711", "F"
    level.PatientBirthDate = date(1961, 4, 2).strftime("%Y%m%d")
    level.AccessionNumber, level.StudyID = "S26-00017", "1"
    level.StudyDate = level.ContentDate = "20261005"
    level.StudyTime = level.ContentTime = "083000"
    level.AcquisitionDateTime = "20261005083000"
    level.ReferringPhysicianName = ""
    level.Modality, level.SeriesNumber, level.InstanceNumber = "SM", 1, number
    level.Manufacturer, level.ManufacturerModelName = "ScannerWorks", "SW-100"
    level.DeviceSerialNumber, level.SoftwareVersions = "7", "1.0"


def _describe_specimen(level: Dataset) -> None:
    specimen = Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = "S26-00017-A", "2.25.104"
    specimen.IssuerOfTheSpecimenIdentifierSequence = []
    specimen.SpecimenPreparationSequence = []
    level.ContainerIdentifier = "S26-00017-A-1"
    level.IssuerOfTheContainerIdentifierSequence = []
    level.ContainerTypeCodeSequence = [_code(codes.SCT.MicroscopeSlide)]
    level.SpecimenDescriptionSequence = [specimen]
    level.AcquisitionContextSequence = []


def _place(level: Dataset, width: int, height: int, spacing_mm: float) -> None:
    """Geometry: a slide with its label to the left, the matrix origin at (20, 40) mm."""
    level.TotalPixelMatrixColumns, level.TotalPixelMatrixRows, level.TotalPixelMatrixFocalPlanes = width, height, 1
    level.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 20, 40
    level.TotalPixelMatrixOriginSequence = [origin]
    level.ImagedVolumeWidth, level.ImagedVolumeHeight, level.ImagedVolumeDepth = (
        width * spacing_mm,
        height * spacing_mm,
        1.0,
    )
    level.DimensionOrganizationType = "TILED_FULL"
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [f"{spacing_mm:.8f}"] * 2, "0.001"
    groups = Dataset()
    groups.PixelMeasuresSequence = [measures]
    level.SharedFunctionalGroupsSequence = [groups]
    level.Rows = level.Columns = TILE
    level.SamplesPerPixel, level.PlanarConfiguration, level.PhotometricInterpretation = 3, 0, "YBR_FULL_422"
    level.BitsAllocated = level.BitsStored = 8
    level.HighBit, level.PixelRepresentation = 7, 0
    level.LossyImageCompression, level.LossyImageCompressionRatio = "01", 20
    level.LossyImageCompressionMethod = "ISO_10918_1"
    level.BurnedInAnnotation = level.SpecimenLabelInImage = level.ExtendedDepthOfField = "NO"
    level.FocusMethod, level.VolumetricProperties = "AUTO", "VOLUME"


def _code(code: object) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _jpeg() -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.full((TILE, TILE, 3), (235, 220, 230), dtype=np.uint8)).save(buffer, "JPEG", subsampling="4:2:2")
    return buffer.getvalue()
