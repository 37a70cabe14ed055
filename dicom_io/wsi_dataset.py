"""The attributes of one level of a whole slide image (PS3.3 A.32.8: VL Whole Slide Microscopy Image IOD)."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache

from PIL import ImageCms
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_io.encapsulation import FrameWriter
from dicom_io.uids import derive_uid
from pipeline.domain import Patient

IMPLEMENTATION_CLASS_UID = derive_uid("marrow-node", "implementation class")
SYNTHETIC_NOTE = "Synthetic image, not for diagnostic use"
_SECTION_THICKNESS_MM = 0.003  # a smear is one cell thick
_SLIDE_CORNER_MM = (20.0, 50.0)  # where the image starts in the slide's coordinates, PS3.3 C.8.12.2


@dataclass(frozen=True, slots=True, kw_only=True)
class WsiIdentity:
    """Whose slide it is, what made it, and when. Empty UIDs are derived from the container and the time."""

    patient: Patient
    container_identifier: str
    specimen_identifier: str = ""  # as the container when empty
    accession_number: str = ""
    acquired_at: datetime
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    series_description: str = ""
    manufacturer: str = "Marrow Node"
    model_name: str = "marrow-node"
    serial_number: str = "1"
    software_version: str = "1"
    objective_power: float = 0.0  # 0: unknown
    synthetic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelGeometry:
    """One level: `number` 0 is the base; `mpp` is the µm of its own pixels."""

    number: int
    size: tuple[int, int]
    base_size: tuple[int, int]
    tile_size: int
    mpp: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidUids:
    """What the levels of one pyramid share."""

    study: str
    series: str
    frame_of_reference: str
    pyramid: str
    specimen: str

    @classmethod
    def of(cls, identity: WsiIdentity, content: str) -> "PyramidUids":
        """Derived from who, when and the digest `content` of the base level's frames, where not given."""
        who = (identity.patient.patient_id, identity.patient.issuer, identity.accession_number)
        what = (*who, identity.container_identifier, identity.acquired_at.isoformat())
        study = identity.study_instance_uid or derive_uid("study", *what)
        series = identity.series_instance_uid or derive_uid("series", *what, study, content)
        return cls(
            study=study,
            series=series,
            frame_of_reference=derive_uid("frame of reference", series),
            pyramid=derive_uid("pyramid", series),
            specimen=derive_uid("specimen", *who, identity.specimen_identifier or identity.container_identifier),
        )


def level_dataset(identity: WsiIdentity, uids: PyramidUids, geometry: LevelGeometry, frames: FrameWriter) -> Dataset:
    """Everything but the pixel data of one level."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    ds.file_meta.ImplementationVersionName = "MARROW_NODE"
    _add_sop_common(ds, identity, uids, geometry, frames)
    _add_patient_and_study(ds, identity, uids)
    _add_series(ds, identity, uids)
    _add_specimen(ds, identity, uids)
    _add_image(ds, identity, geometry, frames)
    _add_frames(ds, geometry)
    _add_optical_path(ds, identity)
    return ds


def _add_sop_common(
    ds: Dataset, identity: WsiIdentity, uids: PyramidUids, geometry: LevelGeometry, frames: FrameWriter
) -> None:
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    ds.SOPInstanceUID = derive_uid(uids.series, str(geometry.number), frames.digest)
    ds.InstanceNumber = geometry.number + 1
    if identity.synthetic:
        ds.SyntheticData = "YES"
        ds.ImageComments = SYNTHETIC_NOTE


def _add_patient_and_study(ds: Dataset, identity: WsiIdentity, uids: PyramidUids) -> None:
    patient = identity.patient
    ds.PatientName = patient.name
    ds.PatientID = patient.patient_id
    if patient.issuer:
        ds.IssuerOfPatientID = patient.issuer
    ds.PatientBirthDate = patient.birth_date.strftime("%Y%m%d") if patient.birth_date else ""
    ds.PatientSex = patient.sex if patient.sex in ("M", "F", "O") else ""
    ds.StudyInstanceUID = uids.study
    ds.StudyDate = identity.acquired_at.strftime("%Y%m%d")
    ds.StudyTime = identity.acquired_at.strftime("%H%M%S")
    ds.StudyID = ""
    ds.AccessionNumber = identity.accession_number
    ds.ReferringPhysicianName = ""


def _add_series(ds: Dataset, identity: WsiIdentity, uids: PyramidUids) -> None:
    ds.Modality = "SM"
    ds.SeriesInstanceUID = uids.series
    ds.SeriesNumber = 1
    description = identity.series_description or "Bone marrow aspirate smear"
    ds.SeriesDescription = f"Synthetic: {description}"[:64] if identity.synthetic else description[:64]
    ds.PyramidUID = uids.pyramid
    ds.FrameOfReferenceUID = uids.frame_of_reference
    ds.PositionReferenceIndicator = "SLIDE_CORNER"
    ds.Manufacturer = identity.manufacturer
    ds.ManufacturerModelName = identity.model_name
    ds.DeviceSerialNumber = identity.serial_number
    ds.SoftwareVersions = identity.software_version


def _add_specimen(ds: Dataset, identity: WsiIdentity, uids: PyramidUids) -> None:
    specimen = Dataset()
    specimen.SpecimenIdentifier = identity.specimen_identifier or identity.container_identifier
    specimen.SpecimenUID = uids.specimen
    specimen.IssuerOfTheSpecimenIdentifierSequence = []
    specimen.SpecimenTypeCodeSequence = [_coded(Code("119359002", "SCT", "Bone marrow specimen"))]
    specimen.SpecimenPreparationSequence = []
    specimen.PrimaryAnatomicStructureSequence = [_coded(Code("14016003", "SCT", "Bone marrow structure"))]
    ds.ContainerIdentifier = identity.container_identifier
    ds.IssuerOfTheContainerIdentifierSequence = []
    ds.ContainerTypeCodeSequence = [_coded(codes.SCT.MicroscopeSlide)]
    ds.SpecimenDescriptionSequence = [specimen]


def _add_image(ds: Dataset, identity: WsiIdentity, geometry: LevelGeometry, frames: FrameWriter) -> None:
    base_mpp = geometry.mpp / 2**geometry.number
    ds.ImageType = _image_type(geometry)
    ds.ContentDate = identity.acquired_at.strftime("%Y%m%d")
    ds.ContentTime = identity.acquired_at.strftime("%H%M%S.%f")
    ds.AcquisitionDateTime = _dt(identity.acquired_at)
    ds.ImagedVolumeWidth = geometry.base_size[0] * base_mpp / 1000
    ds.ImagedVolumeHeight = geometry.base_size[1] * base_mpp / 1000
    ds.ImagedVolumeDepth = _SECTION_THICKNESS_MM * 1000  # µm, unlike the other two
    ds.TotalPixelMatrixColumns, ds.TotalPixelMatrixRows = geometry.size
    ds.TotalPixelMatrixFocalPlanes = 1
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = format_number_as_ds(max(_SLIDE_CORNER_MM[0], ds.ImagedVolumeHeight))
    origin.YOffsetInSlideCoordinateSystem = format_number_as_ds(max(_SLIDE_CORNER_MM[1], ds.ImagedVolumeWidth))
    ds.TotalPixelMatrixOriginSequence = [origin]
    ds.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    ds.VolumetricProperties = "VOLUME"
    ds.SpecimenLabelInImage = "NO"
    ds.BurnedInAnnotation = "NO"
    ds.FocusMethod = "AUTO"
    ds.ExtendedDepthOfField = "NO"
    ds.Rows = ds.Columns = geometry.tile_size
    ds.NumberOfFrames = frames.count
    ds.SamplesPerPixel = 3
    ds.PhotometricInterpretation = "YBR_FULL_422"
    ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    ds.LossyImageCompression = "01"
    ds.LossyImageCompressionMethod = "ISO_10918_1"
    ds.LossyImageCompressionRatio = f"{3 * geometry.tile_size**2 * frames.count / frames.encoded_bytes:.3f}"
    ds.AcquisitionContextSequence = []


def _add_frames(ds: Dataset, geometry: LevelGeometry) -> None:
    """TILED_FULL: the position of a frame is its number (C.7.6.17.3), so there are no per-frame groups."""
    measures = Dataset()
    spacing = format_number_as_ds(geometry.mpp / 1000)
    measures.PixelSpacing = [spacing, spacing]
    measures.SliceThickness = format_number_as_ds(_SECTION_THICKNESS_MM)
    frame_type = Dataset()
    frame_type.FrameType = _image_type(geometry)
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    shared.WholeSlideMicroscopyImageFrameTypeSequence = [frame_type]
    shared.OpticalPathIdentificationSequence = [path]
    ds.SharedFunctionalGroupsSequence = [shared]
    organization = Dataset()
    organization.DimensionOrganizationUID = derive_uid("dimensions", ds.SOPInstanceUID)
    ds.DimensionOrganizationSequence = [organization]
    ds.DimensionOrganizationType = "TILED_FULL"


def _add_optical_path(ds: Dataset, identity: WsiIdentity) -> None:
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    path.IlluminationTypeCodeSequence = [_coded(codes.DCM.BrightfieldIllumination)]
    path.IlluminationColorCodeSequence = [_coded(Code("414298005", "SCT", "Full Spectrum"))]
    path.ICCProfile = srgb_profile()
    path.ColorSpace = "SRGB"
    if identity.objective_power:
        path.ObjectiveLensPower = format_number_as_ds(identity.objective_power)
    ds.OpticalPathSequence = [path]
    ds.NumberOfOpticalPaths = 1


def _image_type(geometry: LevelGeometry) -> list[str]:
    return (
        ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        if geometry.number == 0
        else ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    )


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _dt(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%S.%f%z")


@cache
def srgb_profile() -> bytes:
    """An sRGB ICC profile, the same bytes each time: its date of making, at 24 to 36, is a fixed one."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes.fromhex("07e800010001000000000000")
    return bytes(profile)
