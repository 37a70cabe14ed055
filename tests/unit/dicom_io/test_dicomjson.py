"""The DICOM JSON Model (PS3.18 Annex F) and its bulk values."""

import json
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_io.dicomjson import encode_metadata, read_metadata


def at(address: str, length: int) -> str | None:
    return f"http://node/bulk/{address}" if length > 1024 else None


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


def test_numbers_that_json_lacks_become_null() -> None:
    ds = Dataset()
    ds.add_new("RealWorldValueSlope", "FD", float("nan"))
    assert json.loads(encode_metadata(ds, None)) == {"00409225": {"vr": "FD", "Value": [None]}}
