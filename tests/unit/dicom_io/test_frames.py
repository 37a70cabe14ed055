"""Frames by offset: every way a file may hold them gives the bytes that were put in (PS3.5 A.4)."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

from dicom_io.errors import SlideError
from dicom_io.frames import FrameTables, locate_frames
from tests.large import FRAME_BYTES, write_large_encapsulated, write_large_instance

FRAMES = [bytes([number]) * (20 + 2 * number) + b"\xff\xd9" for number in range(5)]


def build(path: Path, transfer_syntax: str, **values: object) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax
    meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    meta.MediaStorageSOPInstanceUID = "2.25.3"
    ds = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = VLWholeSlideMicroscopyImageStorage, "2.25.3"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "2.25.1", "2.25.2"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.BitsAllocated = 4, 4, 1, 8
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 7, 0
    ds.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = transfer_syntax == JPEGBaseline8Bit
    ds.save_as(path)
    return path


def basic(frames: list[bytes]) -> dict[str, object]:
    return {"PixelData": encapsulate(frames, has_bot=True)}


def no_table(frames: list[bytes]) -> dict[str, object]:
    return {"PixelData": encapsulate(frames, has_bot=False)}


def fragmented(frames: list[bytes]) -> dict[str, object]:
    return {"PixelData": encapsulate(frames, fragments_per_frame=2, has_bot=False)}


def fragmented_with_table(frames: list[bytes]) -> dict[str, object]:
    return {"PixelData": encapsulate(frames, fragments_per_frame=2, has_bot=True)}


def extended(frames: list[bytes]) -> dict[str, object]:
    pixels, offsets, lengths = encapsulate_extended(frames)
    return {"PixelData": pixels, "ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}


@pytest.mark.parametrize("layout", [basic, no_table, fragmented, fragmented_with_table, extended])
def test_encapsulated_frames_come_back(tmp_path: Path, layout) -> None:
    path = build(tmp_path / "a.dcm", JPEGBaseline8Bit, NumberOfFrames=len(FRAMES), **layout(FRAMES))
    table = locate_frames(path)
    assert [table.read(number) for number in range(1, table.count + 1)] == FRAMES


@pytest.mark.parametrize("layout", [no_table, fragmented, basic])
def test_a_single_frame_comes_back(tmp_path: Path, layout) -> None:
    path = build(tmp_path / "a.dcm", JPEGBaseline8Bit, NumberOfFrames=1, **layout(FRAMES[:1]))
    assert locate_frames(path).read(1) == FRAMES[0]


def test_frames_of_single_bits_start_on_a_byte(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (7, 5, 5), np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    values = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "Rows": 5, "Columns": 5, "NumberOfFrames": 7}
    path = build(tmp_path / "a.dcm", ExplicitVRLittleEndian, PixelData=packed + b"\0" * (len(packed) % 2), **values)
    table = locate_frames(path)
    for number, frame in enumerate(bits, 1):
        assert table.read(number) == np.packbits(frame.ravel(), bitorder="little").tobytes()


@pytest.mark.parametrize("number", [0, -1, 6])
def test_a_frame_that_is_not_there_is_refused(tmp_path: Path, number: int) -> None:
    path = build(tmp_path / "a.dcm", JPEGBaseline8Bit, NumberOfFrames=5, **basic(FRAMES))
    with pytest.raises(IndexError):
        locate_frames(path).read(number)


def test_frames_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    path = build(tmp_path / "a.dcm", JPEGBaseline8Bit, NumberOfFrames=3, **no_table([b"\1" * 20] * 5))
    with pytest.raises(SlideError, match="5 items of pixel data for 3 frames"):
        locate_frames(path)


def test_an_object_without_pixels_is_refused(shared: Path) -> None:
    with pytest.raises(SlideError, match="no PixelData"):
        locate_frames(shared / "dicom" / "highdicom-sr_document.dcm")


def test_frames_of_other_writers_equal_pydicoms(shared: Path) -> None:
    from pydicom.encaps import generate_frames

    for path in sorted((shared / "dicom").glob("*sm_image*.dcm")):
        ds = dcmread(path)
        table = locate_frames(path)
        if ds.file_meta.TransferSyntaxUID.is_encapsulated:
            expected = list(generate_frames(ds.PixelData, number_of_frames=int(ds.NumberOfFrames)))
        else:
            size = len(ds.PixelData) // int(ds.NumberOfFrames)
            expected = [ds.PixelData[start : start + size] for start in range(0, len(ds.PixelData), size)]
        assert [table.read(number) for number in range(1, table.count + 1)] == expected, path.name


def bytes_read() -> int:
    """By this thread, whatever reads them."""
    line = Path("/proc/thread-self/io").read_text().splitlines()[0]
    return int(line.removeprefix("rchar: "))


@pytest.mark.parametrize("write", [write_large_instance, write_large_encapsulated])
@pytest.mark.parametrize("megabytes", [4, 4000])
def test_a_frame_costs_its_own_bytes(tmp_path: Path, write: Callable[[Path, int], Path], megabytes: int) -> None:
    """Any frame of a 4 GB instance is found and read like one of 4 MB: beside it, header and offset table are read."""
    path = write(tmp_path / "large.dcm", megabytes)
    before = bytes_read()
    table = FrameTables().of(path)
    for number in (1, table.count // 2, table.count):
        assert len(table.read(number)) == table.length(number) == FRAME_BYTES
    assert bytes_read() - before < 3 * FRAME_BYTES + (128 << 10)


def test_a_frame_behind_four_gigabytes_is_found(tmp_path: Path) -> None:
    """The Extended Offset Table reaches where the basic one cannot."""
    small = build(tmp_path / "a.dcm", JPEGBaseline8Bit, NumberOfFrames=2, **extended([b"first!", b"last!!"]))
    data = small.read_bytes()
    distance = 8 << 30
    offsets = dcmread(small).ExtendedOffsetTable
    moved = data.replace(offsets, struct.pack("<QQ", 0, distance))
    second = moved.rindex(struct.pack("<HHL", 0xFFFE, 0xE000, 6))
    first = moved.index(struct.pack("<HHL", 0xFFFE, 0xE000, 6))
    with small.open("wb") as file:
        file.write(moved[:second])
        file.seek(first + distance)
        file.write(moved[second:])
    before = bytes_read()
    assert FrameTables().of(small).read(2) == b"last!!"
    assert bytes_read() - before < 64 << 10


def test_tables_of_few_frames_are_kept_together(tmp_path: Path) -> None:
    paths = [build(tmp_path / f"{n}.dcm", JPEGBaseline8Bit, NumberOfFrames=5, **basic(FRAMES)) for n in range(4)]
    tables = FrameTables(capacity=12)
    first = [tables.of(path) for path in paths]
    assert tables.of(paths[3]) is first[3]
    assert tables.of(paths[2]) is first[2]
    assert tables.of(paths[0]) is not first[0]
    assert FrameTables(capacity=1).of(paths[0]).read(5) == FRAMES[4]
