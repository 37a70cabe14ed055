"""Slides across tools: what dcmtk compressed is read here, what is written here satisfies others."""

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from wsidicom import WsiDicom

from dicom_io.slide import DicomSlide
from dicom_io.wsi import WsiIdentity, write_pyramid
from pipeline.domain import Box, Patient
from tests.unit.dicom_io.instances import picture, save_level

IMAGE = picture(300, 210)
WHOLE = Box(x0=0, y0=0, x1=300, y1=210)

# What dciodvfy (dicom3tools 20220618) says of our slides and is not acted upon. Nothing else may be said.
ALLOWED_FINDINGS = (
    # Synthetic Data (0008,001C) came to the SOP Common module (CP-2197) after this checker
    r"Warning - </\(0008,001c\)> - Unrecognized tag - assuming explicit value representation OK \[CS\]",
    r"Error - </\(0008,001c\)> - Attribute with an even group number is not a recognized standard attribute",
    r"Warning - </\(0008,001c\)> - Attribute is not present in standard DICOM IOD",
    # Study ID is type 2 and the laboratory has none
    r"Warning - </StudyID\(0020,0010\)> - Missing attribute or value that would be needed to build DICOMDIR",
)


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, timeout=120)


@pytest.mark.parametrize(
    ("command", "tolerance"),
    [
        (["dcmcrle"], 0),
        (["dcmcjpls"], 0),
        (["dcmcjpls", "+en", "+md", "2"], 3),
        (["dcmcjpeg", "+eb", "+cy", "+q", "95"], 9),
        (["dcmcjpeg", "+eb", "+cr", "+q", "95"], 5),
        (["dcmconv", "+ti"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_dcmtk_compressed_is_read(tmp_path, command, tolerance):
    source = save_level(tmp_path, "level", IMAGE, "2.25.1")
    coded = tmp_path / "coded.dcm"
    run(*command, source, coded)
    with DicomSlide.open([coded]) as slide:
        difference = np.abs(slide.read(WHOLE, slide.mpp).astype(int) - IMAGE)
    assert difference.mean() <= tolerance / 2
    assert difference.max() <= tolerance * 4


def place_of_frame(path: Path, number: int) -> tuple[int, int]:
    """Left upper corner of a frame in the matrix, 0-based (x, y)."""
    ds = dcmread(path, stop_before_pixels=True)
    if ds.get("DimensionOrganizationType") == "TILED_FULL":
        across = -(-ds.TotalPixelMatrixColumns // ds.Columns)
        return (number - 1) % across * ds.Columns, (number - 1) // across * ds.Rows
    position = ds.PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSlideSequence[0]
    return position.ColumnPositionInTotalImagePixelMatrix - 1, position.RowPositionInTotalImagePixelMatrix - 1


@pytest.mark.parametrize("name", ["marrow-fields", "mll-cells", "cmu-1-small-region"])
def test_a_frame_looks_as_dcmtk_shows_it(shared, tmp_path, name):
    """The same colours, also where PhotometricInterpretation says RGB of a JPEG in YCbCr."""
    folder = shared / "slides" / name
    with DicomSlide.open([folder]) as slide:
        path = slide.base_path
        run("dcmj2pnm", "+cl", "+F", "8", "+ob", path, tmp_path / "frame.bmp")
        with Image.open(tmp_path / "frame.bmp") as image:
            expected = np.asarray(image.convert("RGB")).astype(int)
        height, width = expected.shape[:2]
        x0, y0 = place_of_frame(path, 8)
        seen = slide.read(Box(x0=x0, y0=y0, x1=x0 + width, y1=y0 + height), slide.mpp)
    inside = np.s_[: slide.size[1] - y0, : slide.size[0] - x0]
    assert np.abs(seen[inside].astype(int) - expected[inside]).mean() < 2


@pytest.fixture(scope="module", params=[True, False], ids=["synthetic", "scanned"])
def pyramid(request, shared, tmp_path_factory) -> tuple[Path, ...]:
    identity = WsiIdentity(
        patient=Patient(patient_id="P1", issuer="HOSP", name="Müller^Jürgen", sex="M"),
        container_identifier="S26-1-A",
        accession_number="S26-1",
        acquired_at=datetime(2026, 10, 5, 10, 15, tzinfo=UTC),
        objective_power=100.0,
        synthetic=request.param,
    )
    with DicomSlide.open([shared / "slides" / "cmu-1-small-region"]) as source:
        return write_pyramid(source, tmp_path_factory.mktemp("pyramid"), identity)


def test_a_written_pyramid_satisfies_dciodvfy(pyramid):
    for path in pyramid:
        result = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
        said = [line.strip() for line in (result.stdout + result.stderr).splitlines()]
        assert "VLWholeSlideMicroscopyImage" in said
        unexpected = [
            line
            for line in said
            if re.match("(Error|Warning)", line) and not any(re.fullmatch(known, line) for known in ALLOWED_FINDINGS)
        ]
        assert unexpected == []


def test_a_written_pyramid_satisfies_dcentvfy(pyramid):
    """One patient, study, series, frame of reference and specimen across the levels."""
    result = subprocess.run(["dcentvfy", *map(str, pyramid)], capture_output=True, text=True, check=False)
    assert "Error" not in result.stdout + result.stderr, result.stdout + result.stderr


def test_a_written_pyramid_opens_as_one_in_wsidicom(pyramid, shared):
    with WsiDicom.open(list(pyramid)) as wsi, DicomSlide.open([shared / "slides" / "cmu-1-small-region"]) as source:
        assert [level.size.to_tuple() for level in wsi.levels][:3] == [(2220, 2967), (1110, 1484), (555, 742)]
        assert wsi.mpp.width == pytest.approx(0.499)
        assert wsi.metadata.slide.identifier == "S26-1-A"
        seen = np.asarray(wsi.read_region((600, 800), 0, (500, 400)))
        expected = source.read(Box(x0=600, y0=800, x1=1100, y1=1200), source.mpp)
        assert np.abs(seen.astype(int) - expected).mean() < 6
