"""The DICOM JSON Model (PS3.18 Annex F) and its bulk values."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.dicomjson import encode_metadata, read_bulk, read_metadata


def at(address: str) -> str:
    return f"http://node/bulk/{address}"


@pytest.mark.parametrize(
    "name", ["highdicom-sm_image.dcm", "highdicom-seg_image_sm_dots.dcm", "highdicom-sr_document.dcm"]
)
def test_metadata_says_what_the_file_says(shared: Path, name: str) -> None:
    path = shared / "dicom" / name
    document = json.loads(encode_metadata(read_metadata(path), None))
    again = Dataset.from_json(document)
    expected = dcmread(path, stop_before_pixels=True)
    if "SpecificCharacterSet" in expected:
        expected.SpecificCharacterSet = "ISO_IR 192"
    assert again.to_json_dict() == expected.to_json_dict()
    assert "7FE00010" not in document


def test_long_values_have_an_address_and_keep_their_vr(shared: Path) -> None:
    path = shared / "dicom" / "highdicom-sm_image.dcm"
    document = json.loads(encode_metadata(read_metadata(path), at))
    profile = document["00480105"]["Value"][0]["00282000"]
    assert profile == {"vr": "OB", "BulkDataURI": "http://node/bulk/00480105/1/00282000"}
    expected = dcmread(path).OpticalPathSequence[0].ICCProfile
    assert read_bulk(path, "00480105/1/00282000") == expected


@pytest.mark.parametrize(
    "address", ["00480105/2/00282000", "00100010", "7FE00010", "0048", "../x", "00480105/0/00282000"]
)
def test_an_address_without_a_value_is_refused(shared: Path, address: str) -> None:
    with pytest.raises(KeyError):
        read_bulk(shared / "dicom" / "highdicom-sm_image.dcm", address)


def test_numbers_that_json_lacks_become_null() -> None:
    ds = Dataset()
    ds.add_new("RealWorldValueSlope", "FD", float("nan"))
    assert json.loads(encode_metadata(ds, None)) == {"00409225": {"vr": "FD", "Value": [None]}}


def test_coordinates_come_back_as_numbers(tmp_path: Path) -> None:
    ds = Dataset()
    group = Dataset()
    points = np.arange(1000, dtype="<f4")
    group.PointCoordinatesData = points.tobytes()
    ds.AnnotationGroupSequence = [group]
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.91.1", "2.25.9"
    path = tmp_path / "ann.dcm"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    document = json.loads(encode_metadata(read_metadata(path), at))
    value = document["006A0002"]["Value"][0]["00660016"]
    assert value == {"vr": "OF", "BulkDataURI": "http://node/bulk/006A0002/1/00660016"}
    assert np.array_equal(np.frombuffer(read_bulk(path, "006A0002/1/00660016"), "<f4"), points)
