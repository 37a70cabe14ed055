"""Slides of every transfer syntax and photometric interpretation, full and sparse, read as one picture."""

import io

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_io.slide import DicomSlide
from pipeline.domain import Box
from tests.unit.dicom_io.instances import (
    TILE,
    jpeg,
    picture,
    plane_positions,
    save,
    slide_dataset,
    tiles_of,
)

SIZE = (300, 210)
IMAGE = picture(*SIZE)
WHOLE = Box(x0=0, y0=0, x1=300, y1=210)


def jpeg2000(tile: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "JPEG2000", no_jp2=True, **options)
    return buffer.getvalue()


def compressed(tile: np.ndarray, syntax: str, **options: object) -> bytes:
    """One frame as pydicom's encoders write it."""
    ds = slide_dataset((TILE, TILE))
    ds.PixelData = tile.tobytes()
    ds["PixelData"].VR = "OB"
    ds.compress(syntax, **options)
    return next(generate_frames(ds.PixelData, number_of_frames=1))


def ycbcr(tile: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(tile).convert("YCbCr"))


def rgb_jpeg_without_markers(tile: np.ndarray) -> bytes:
    """RGB components coded as they are, with neither JFIF nor Adobe marker, as some scanners do."""
    buffer = io.BytesIO()
    Image.frombytes("YCbCr", (TILE, TILE), tile.tobytes()).save(buffer, "JPEG", quality=95, subsampling=0)
    data = buffer.getvalue()
    start, length = data.index(b"\xff\xe0"), 2 + int.from_bytes(data[4:6], "big")
    return data[:start] + data[start + length :]


def rgb_jpeg_with_adobe_marker(tile: np.ndarray) -> bytes:
    data = rgb_jpeg_without_markers(tile)
    return data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + data[2:]


SYNTAXES = {
    "explicit RGB": (ExplicitVRLittleEndian, {}, bytes, 0),
    "implicit RGB": (ImplicitVRLittleEndian, {}, bytes, 0),
    "native planar": (
        ExplicitVRLittleEndian,
        {"PlanarConfiguration": 1},
        lambda t: np.ascontiguousarray(t.transpose(2, 0, 1)).tobytes(),
        0,
    ),
    "native YBR_FULL": (
        ExplicitVRLittleEndian,
        {"PhotometricInterpretation": "YBR_FULL"},
        lambda t: bytes(ycbcr(t)),
        3,
    ),
    "JPEG YBR_FULL_422": (
        JPEGBaseline8Bit,
        {"PhotometricInterpretation": "YBR_FULL_422"},
        lambda t: jpeg(t, subsampling="4:2:2"),
        9,
    ),
    "JPEG YBR_FULL": (JPEGBaseline8Bit, {"PhotometricInterpretation": "YBR_FULL"}, jpeg, 4),
    "JPEG RGB that is JFIF": (JPEGBaseline8Bit, {"PhotometricInterpretation": "RGB"}, jpeg, 4),
    "JPEG RGB bare": (JPEGBaseline8Bit, {"PhotometricInterpretation": "RGB"}, rgb_jpeg_without_markers, 4),
    "JPEG RGB Adobe": (JPEGBaseline8Bit, {"PhotometricInterpretation": "RGB"}, rgb_jpeg_with_adobe_marker, 4),
    "J2K lossless YBR_RCT": (
        JPEG2000Lossless,
        {"PhotometricInterpretation": "YBR_RCT"},
        lambda t: jpeg2000(t, irreversible=False, mct=1),
        0,
    ),
    "J2K lossless RGB": (
        JPEG2000Lossless,
        {"PhotometricInterpretation": "RGB"},
        lambda t: jpeg2000(t, irreversible=False, mct=0),
        0,
    ),
    "J2K YBR_ICT": (
        JPEG2000,
        {"PhotometricInterpretation": "YBR_ICT"},
        lambda t: jpeg2000(t, irreversible=True, mct=1, quality_mode="dB", quality_layers=[50]),
        5,
    ),
    "JPEG-LS": (JPEGLSLossless, {}, lambda t: compressed(t, JPEGLSLossless), 0),
    "JPEG-LS near lossless": (
        JPEGLSNearLossless,
        {},
        lambda t: compressed(t, JPEGLSNearLossless, jls_error=2),
        3,
    ),
    "RLE": (RLELossless, {}, lambda t: compressed(t, RLELossless), 0),
    "RLE planar": (RLELossless, {"PlanarConfiguration": 1}, lambda t: compressed(t, RLELossless), 0),
    "RLE YBR_FULL": (
        RLELossless,
        {"PhotometricInterpretation": "YBR_FULL"},
        lambda t: compressed(ycbcr(t), RLELossless),
        2,
    ),
}


@pytest.mark.parametrize("name", SYNTAXES)
def test_every_syntax_gives_the_same_picture(tmp_path, name):
    syntax, changes, encode, tolerance = SYNTAXES[name]
    path = save(
        slide_dataset(SIZE, **changes), tmp_path / "a.dcm", [encode(tile) for tile in tiles_of(IMAGE)], syntax=syntax
    )
    with DicomSlide.open([path]) as slide:
        difference = np.abs(slide.read(WHOLE, 0.2).astype(int) - IMAGE)
    assert difference.mean() <= tolerance / 2
    assert difference.max() <= tolerance * 3


@pytest.mark.parametrize("encode", [None, jpeg], ids=["native", "jpeg"])
@pytest.mark.parametrize("organization", ["TILED_SPARSE", None])
def test_a_sparse_slide_is_white_where_it_has_no_tile(tmp_path, encode, organization):
    tiles = tiles_of(IMAGE)
    places = [(4, 3), (0, 0), (2, 1)]
    frames = [tiles[row * 5 + column] for column, row in places]
    ds = slide_dataset(
        SIZE,
        NumberOfFrames=3,
        DimensionOrganizationType=organization,
        PerFrameFunctionalGroupsSequence=plane_positions(places),
    )
    if encode is None:
        path = save(ds, tmp_path / "a.dcm", [frame.tobytes() for frame in frames])
    else:
        ds.PhotometricInterpretation = "YBR_FULL"
        path = save(ds, tmp_path / "a.dcm", [encode(frame) for frame in frames], syntax=JPEGBaseline8Bit)
    expected = np.full_like(IMAGE, 255)
    for column, row in places:
        area = np.s_[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        expected[area] = IMAGE[area]
    with DicomSlide.open([path]) as slide:
        assert np.abs(slide.read(WHOLE, 0.2).astype(int) - expected).max() <= (0 if encode is None else 12)
