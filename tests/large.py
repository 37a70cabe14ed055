"""A whole slide instance of any size on disk, made without memory: the pixels are a hole in the file."""

import struct
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

TILE = 512
ACROSS = 32
FRAME_BYTES = TILE * TILE * 3
_ITEM = struct.pack("<HH", 0xFFFE, 0xE000)
_SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def write_large_instance(path: Path, megabytes: int, *, uid: str = "2.25.77") -> Path:
    """An uncompressed TILED_FULL level with about `megabytes` of black pixels."""
    count = _save_header(path, megabytes, uid, ExplicitVRLittleEndian)
    length = count * FRAME_BYTES
    with path.open("ab") as file:
        file.write(b"\xe0\x7f\x10\x00OB\0\0" + length.to_bytes(4, "little"))
        file.truncate(file.tell() + length)
    assert pydicom.dcmread(path, stop_before_pixels=True).NumberOfFrames == count
    return path


def write_large_encapsulated(path: Path, megabytes: int, *, table: bool = True, uid: str = "2.25.78") -> Path:
    """A level of about `megabytes` in items of one size, as a scanner writes JPEG; `table`: with a Basic Offset Table.

    The frames are holes too, so that nothing decodes them.
    """
    count = _save_header(path, megabytes, uid, JPEGBaseline8Bit)
    offsets = struct.pack(f"<{count}L", *range(0, count * (FRAME_BYTES + 8), FRAME_BYTES + 8)) if table else b""
    with path.open("ab") as file:
        file.write(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + _ITEM + struct.pack("<L", len(offsets)) + offsets)
    with path.open("r+b") as file:
        file.seek(0, 2)
        for _ in range(count):
            file.write(_ITEM + struct.pack("<L", FRAME_BYTES))
            file.seek(FRAME_BYTES, 1)
        file.write(_SEQUENCE_END)
    return path


def _save_header(path: Path, megabytes: int, uid: str, transfer_syntax: str) -> int:
    """Everything before the pixel data; gives the number of frames to follow."""
    frames = max(1, megabytes * (1 << 20) // FRAME_BYTES)
    across = min(ACROSS, frames)
    down = frames // across
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = transfer_syntax
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
    return across * down
