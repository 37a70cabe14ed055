"""A pyramid written by this project, read back."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from wsidicom import WsiDicom

from dicom_io.slide import DicomSlide
from dicom_io.wsi import WsiIdentity, write_pyramid
from pipeline.domain import Box, Patient, RgbImage

IDENTITY = WsiIdentity(
    patient=Patient(patient_id="P1", name="Doe^Jane"),
    container_identifier="S26-1-A",
    accession_number="S26-1",
    acquired_at=datetime(2026, 10, 5, 10, 15, tzinfo=UTC),
    synthetic=True,
)


class GradientSlide:
    """A smooth image of any size, made when asked for."""

    def __init__(self, width: int, height: int, mpp: float = 0.1) -> None:
        self.size = (width, height)
        self.mpp = mpp

    def read(self, box: Box, mpp: float) -> RgbImage:
        assert mpp == self.mpp
        y, x = np.mgrid[box.y0 : box.y1, box.x0 : box.x1].astype(np.float32)
        planes = (np.sin(x / 90), np.cos(y / 70), np.sin((x + y) / 110))
        return np.stack([127.5 + 100 * plane for plane in planes], axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def source() -> GradientSlide:
    return GradientSlide(1500, 1111)


@pytest.fixture(scope="module")
def written(source, tmp_path_factory) -> tuple[Path, ...]:
    return write_pyramid(source, tmp_path_factory.mktemp("slide"), IDENTITY, tile_size=256, quality=95)


@pytest.fixture(scope="module")
def slide(written) -> Iterator[DicomSlide]:
    with DicomSlide.open(written) as opened:
        yield opened


def test_levels_halve_until_one_tile_holds_them(written):
    with WsiDicom.open(list(written)) as wsi:
        assert [(level.size.width, level.size.height) for level in wsi.levels] == [
            (1500, 1111),
            (750, 556),
            (375, 278),
            (188, 139),
        ]


def test_pixels_come_back_within_jpeg_tolerance(source, slide):
    box = Box(x0=200, y0=130, x1=1300, y1=1000)
    difference = np.abs(slide.read(box, 0.1).astype(int) - source.read(box, 0.1))
    assert difference.mean() < 1.5
    assert difference.max() < 20


@pytest.mark.parametrize("factor", [2, 3, 4, 7.3, 8])
def test_upper_levels_are_area_means_of_the_base(source, slide, factor):
    box = Box(x0=0, y0=0, x1=1500, y1=1111)
    whole = source.read(box, 0.1)
    seen = slide.read(box, 0.1 * factor)
    assert seen.shape == (round(1111 / factor), round(1500 / factor), 3)
    for row, column in ((10, 20), (50, 100), (100, 40)):
        x0, y0 = int(column * factor), int(row * factor)
        expected = whole[y0 : y0 + round(factor), x0 : x0 + round(factor)].mean(axis=(0, 1))
        assert np.abs(seen[row, column] - expected).max() < 6


def test_outside_is_white(slide):
    image = slide.read(Box(x0=-100, y0=1000, x1=100, y1=1200), 0.1)
    assert (image[:, :100] == 255).all()
    assert (image[111:] == 255).all()
    assert image[:100, 110:].mean() < 250


def test_identity_comes_back(slide):
    info = slide.info
    assert info.patient == IDENTITY.patient
    assert (info.accession_number, info.container_identifier) == ("S26-1", "S26-1-A")
    assert info.specimen_identifier == "S26-1-A"
    assert info.acquired_at == IDENTITY.acquired_at
    assert info.synthetic
    assert info.mpp == pytest.approx(0.1)
    assert slide.warnings == ()


def test_writing_again_gives_the_same_bytes(source, written, tmp_path):
    again = write_pyramid(source, tmp_path, IDENTITY, tile_size=256, quality=95)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in again]


def test_other_pixels_never_reuse_a_uid(source, slide, tmp_path):
    other = write_pyramid(GradientSlide(1500, 1110), tmp_path, IDENTITY, tile_size=256)
    with DicomSlide.open(other) as changed:
        assert changed.info.series_instance_uid != slide.info.series_instance_uid


def test_progress_reaches_one(source, tmp_path):
    seen = []
    write_pyramid(source, tmp_path, IDENTITY, tile_size=256, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
