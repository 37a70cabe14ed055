"""The requests of the viewer Slim, made by the npm package it uses: each answer is what the files hold."""

import base64
import hashlib
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from tests.conftest import REPOSITORY
from tests.peers.conftest import Archive

MODULES = REPOSITORY / "node" / "web" / "pages" / "node_modules"
SCRIPT = Path(__file__).with_name("slim.cjs")


@pytest.fixture(scope="module")
def got(archive: Archive) -> dict[str, Any]:
    """What the script was answered."""
    node = shutil.which("node")
    assert node, "node is missing: apt-get install nodejs"
    assert MODULES.is_dir(), "the npm packages are not installed: run `make web`"
    command = [node, SCRIPT, MODULES, archive.url, archive.results["SR"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def last_frame(ds: Dataset) -> bytes:
    """As stored; single bits from a byte of their own on."""
    count = int(ds.NumberOfFrames)
    if ds.file_meta.TransferSyntaxUID.is_encapsulated:
        return list(generate_frames(ds.PixelData, number_of_frames=count))[-1]
    return np.packbits(ds.pixel_array[-1].ravel(), bitorder="little").tobytes()


def long_values(ds: Dataset, path: str = "") -> dict[str, tuple[str, str, str]]:
    """Tag, VR and digest of each binary value over a kilobyte, by its path in the data set."""
    found: dict[str, tuple[str, str, str]] = {}
    for element in ds:
        tag = f"{int(element.tag):08X}"
        if element.VR == "SQ":
            for number, item in enumerate(element.value, 1):
                found |= long_values(item, f"{path}{tag}/{number}/")
        elif isinstance(element.value, bytes) and len(element.value) > 1024 and element.tag.group != 0x7FE0:
            found[path + tag] = (tag, element.VR, digest(element.value))
    return found


def test_the_slide_is_found_with_its_levels(got: dict[str, Any], archive: Archive) -> None:
    assert set(got["levels"]) == {dcmread(path).SOPInstanceUID for path in archive.slide}


def test_frames_of_slide_and_segmentation_are_the_files(got: dict[str, Any], archive: Archive) -> None:
    images = [*archive.slide, archive.results["SEG"], archive.results["SEGROI"]]
    expected = {}
    for ds in map(dcmread, images):
        expected[f"{ds.SOPInstanceUID} {ds.NumberOfFrames}"] = digest(last_frame(ds))
    assert got["frames"] == expected


def test_bulk_values_are_the_files_with_their_vr(got: dict[str, Any], archive: Archive) -> None:
    expected = {}
    for path in (*archive.slide, *(archive.results[kind] for kind in ("ANN", "SEG", "SEGROI"))):
        ds = dcmread(path)
        address = f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
        expected |= {f"{address}/bulkdata/{place}": list(value) for place, value in long_values(ds).items()}
    assert got["bulk"] == expected
    assert {tag for tag, *_ in got["bulk"].values()} >= {"00660016", "00282000"}


def test_reports_come_byte_for_byte(got: dict[str, Any], archive: Archive) -> None:
    reports = [archive.results["SR"], archive.results["SR3D"]]
    assert got["instances"] == {dcmread(path).SOPInstanceUID: digest(path.read_bytes()) for path in reports}


def test_the_overview_is_a_picture_with_a_profile(got: dict[str, Any]) -> None:
    picture = Image.open(io.BytesIO(base64.b64decode(got["overview"])))
    assert (picture.format, picture.size) == ("PNG", (320, 179))
    assert picture.info["icc_profile"]


def test_a_report_is_stored(got: dict[str, Any], archive: Archive) -> None:
    (item,) = got["stored"]["00081199"]["Value"]
    assert item["00081155"]["Value"] == [archive.result("SR").SOPInstanceUID]
    assert "00081198" not in got["stored"]


def test_what_is_not_there_is_not_found(got: dict[str, Any]) -> None:
    assert got["absent"] == 404
