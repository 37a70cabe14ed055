"""A whole slide instance of any size on disk, made without memory: the pixels are a hole in the file."""

from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage

TILE = 512


def write_large_instance(path: Path, megabytes: int, *, uid: str = "2.25.77") -> Path:
    """An uncompressed TILED_FULL level with about `megabytes` of black pixels."""
    across = 32
    down = max(1, megabytes * (1 << 20) // (across * TILE * TILE * 3))
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    ds.SOPInstanceUID = uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "2.25.7", "2.25.8"
    ds.Modality = "SM"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.Rows = ds.Columns = TILE
    ds.NumberOfFrames = across * down
    ds.TotalPixelMatrixColumns, ds.TotalPixelMatrixRows = across * TILE, down * TILE
    ds.DimensionOrganizationType = "TILED_FULL"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    measures = Dataset()
    measures.PixelSpacing = [0.0001, 0.0001]
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.save_as(path, enforce_file_format=True)
    length = across * down * TILE * TILE * 3
    with path.open("ab") as file:
        file.write(b"\xe0\x7f\x10\x00OB\0\0" + length.to_bytes(4, "little"))
        file.truncate(file.tell() + length)
    assert pydicom.dcmread(path, stop_before_pixels=True).NumberOfFrames == across * down
    return path
