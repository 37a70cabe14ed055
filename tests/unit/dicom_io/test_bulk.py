"""Bulk values by their place in the file, however its sequences are written (PS3.5 section 7.5)."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_io.bulk import FileRange, locate_bulk
from dicom_io.errors import SlideError

VALUES = [bytes([number]) * (2000 + 2 * number) for number in range(3)]


def read(path: Path, address: str) -> bytes:
    return b"".join(locate_bulk(path, address).chunks())


def build(path: Path, transfer_syntax: str, *, delimited: bool) -> Path:
    """Annotation groups, each with coordinates and a nested measurement, among other elements."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = transfer_syntax
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.91.1", "2.25.9"
    ds.ContainerIdentifier = "A-1"
    ds.AnnotationGroupSequence = []
    for value in VALUES:
        group, measurement, numbers = Dataset(), Dataset(), Dataset()
        numbers.FloatingPointValues = value[::-1]
        measurement.MeasurementValuesSequence = [numbers]
        group.PointCoordinatesData = value
        group.AnnotationGroupLabel = "blast"
        group.MeasurementsSequence = [measurement]
        group.is_undefined_length_sequence_item = delimited
        ds.AnnotationGroupSequence.append(group)
    ds["AnnotationGroupSequence"].is_undefined_length = delimited
    ds.ImageComments = "after"
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("delimited", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_nested_values_are_found(tmp_path: Path, syntax: str, delimited: bool) -> None:
    path = build(tmp_path / "ann.dcm", syntax, delimited=delimited)
    for number, value in enumerate(VALUES, 1):
        assert read(path, f"006A0002/{number}/00660016") == value
        nested = f"006A0002/{number}/00660121/1/00660132/1/00660125"
        assert read(path, nested) == value[::-1]


def test_a_profile_of_a_real_slide_is_found(shared: Path) -> None:
    path = shared / "dicom" / "highdicom-sm_image.dcm"
    assert read(path, "00480105/1/00282000") == dcmread(path).OpticalPathSequence[0].ICCProfile


@pytest.mark.parametrize(
    "address",
    [
        "006A0002/4/00660016",
        "006A0002/0/00660016",
        "006A0002/1/00660022",
        "006A0002",
        "00400512",
        "00400512/1/00660016",
        "7FE00010",
        "0048",
        "../x",
        "",
    ],
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_an_address_without_a_binary_value_is_refused(tmp_path: Path, syntax: str, address: str) -> None:
    path = build(tmp_path / "ann.dcm", syntax, delimited=True)
    with pytest.raises(KeyError):
        locate_bulk(path, address)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(bytes(500))
    with pytest.raises(SlideError, match=r"a\.dcm cannot be read"):
        locate_bulk(path, "00282000")


def test_pieces_of_a_range_are_small(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * (1 << 14))
    pieces = list(FileRange(path=path, offset=255, length=3 << 20).chunks())
    assert [len(piece) for piece in pieces] == [1 << 20] * 3
    assert b"".join(pieces) == path.read_bytes()[255 : 255 + (3 << 20)]
