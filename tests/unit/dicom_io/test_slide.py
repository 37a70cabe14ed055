"""Reading slides: positions and scales, and what is refused with which words."""

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEGBaseline8Bit,
)

from dicom_io.errors import SlideError
from dicom_io.levels import Level
from dicom_io.slide import DicomSlide
from pipeline.domain import Box
from tests.unit.dicom_io.instances import (
    jpeg,
    picture,
    save,
    save_jpeg_level,
    save_level,
    slide_dataset,
    spaced,
    tiles_of,
)

SIZE = (300, 210)
IMAGE = picture(*SIZE)
WHOLE = Box(x0=0, y0=0, x1=300, y1=210)
RESAMPLED = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]


def halved(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    return image[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)


@pytest.fixture
def base(tmp_path) -> Path:
    return save_level(tmp_path, "base", IMAGE, "2.25.1")


@pytest.fixture
def pyramid(tmp_path, base) -> list[Path]:
    half, quarter = halved(IMAGE), halved(halved(IMAGE))
    return [
        base,
        save_level(
            tmp_path, "half", half, "2.25.2", ImageType=RESAMPLED, SharedFunctionalGroupsSequence=spaced(0.0004, 0.0004)
        ),
        save_level(
            tmp_path,
            "quarter",
            quarter,
            "2.25.3",
            ImageType=RESAMPLED,
            SharedFunctionalGroupsSequence=spaced(0.0008, 0.0008),
        ),
    ]


@pytest.mark.parametrize(
    "box",
    [
        WHOLE,
        Box(x0=10, y0=20, x1=11, y1=21),
        Box(x0=60, y0=60, x1=130, y1=70),
        Box(x0=63, y0=64, x1=128, y1=192),
        Box(x0=290, y0=200, x1=300, y1=210),
    ],
)
def test_pixels_at_level_0_are_the_file_s(base, box):
    with DicomSlide.open([base]) as slide:
        assert slide.size == SIZE
        assert slide.mpp == pytest.approx(0.2)
        assert (slide.read(box, slide.mpp) == IMAGE[box.y0 : box.y1, box.x0 : box.x1]).all()


@pytest.mark.parametrize(
    "box",
    [
        Box(x0=-50, y0=-20, x1=40, y1=30),
        Box(x0=280, y0=190, x1=400, y1=300),
        Box(x0=-10, y0=-10, x1=500, y1=500),
        Box(x0=1000, y0=1000, x1=1010, y1=1010),
        Box(x0=-9, y0=0, x1=0, y1=5),
    ],
)
def test_outside_is_white(base, box):
    padded = np.full((2000, 2000, 3), 255, np.uint8)
    padded[500:710, 500:800] = IMAGE
    with DicomSlide.open([base]) as slide:
        assert (slide.read(box, 0.2) == padded[box.y0 + 500 : box.y1 + 500, box.x0 + 500 : box.x1 + 500]).all()


@pytest.mark.parametrize("mpp", [0.05, 0.1, 0.2, 0.25, 0.31, 0.4, 0.8, 1.7, 20.0, 1000.0])
@pytest.mark.parametrize("which", ["pyramid", "base"])
def test_shape_and_colour_at_every_resolution(request, pyramid, which, mpp):
    paths = pyramid if which == "pyramid" else pyramid[:1]
    box = Box(x0=30, y0=21, x1=280, y1=193)
    with DicomSlide.open(paths) as slide:
        image = slide.read(box, mpp)
    width, height = max(1, round(250 * 0.2 / mpp)), max(1, round(172 * 0.2 / mpp))
    assert image.shape == (height, width, 3)
    method = Image.Resampling.BOX if mpp >= 0.2 else Image.Resampling.BICUBIC
    expected = Image.fromarray(IMAGE).resize((width, height), method, box=(30, 21, 280, 193))
    assert np.abs(image.astype(int) - np.asarray(expected)).mean() < 4


def test_the_nearest_finer_level_is_read(pyramid, monkeypatch):
    seen = []
    original = Level.pixels

    def pixels(self, *corners):
        seen.append(self.size)
        return original(self, *corners)

    monkeypatch.setattr(Level, "pixels", pixels)
    with DicomSlide.open(pyramid) as slide:
        for mpp, level in ((0.1, 300), (0.2, 300), (0.39, 300), (0.4, 150), (0.79, 150), (0.8, 75), (9.0, 75)):
            seen.clear()
            slide.read(WHOLE, mpp)
            assert {size[0] for size in seen} == {level}


@pytest.mark.parametrize(("mpp", "shape"), [(2.0, (150, 200)), (30.0, (10, 13)), (1000.0, (1, 1))])
def test_a_thumbnail_without_a_pyramid_is_read_in_blocks(tmp_path, monkeypatch, mpp, shape):
    """The whole base level is never in memory at once."""
    image = picture(2000, 1500)
    path = save_jpeg_level(tmp_path, "base", image, "2.25.1")
    monkeypatch.setattr("dicom_io.slide._BLOCK", 256)
    areas = []
    original = Level.pixels

    def pixels(self, x0, y0, x1, y1):
        areas.append((x1 - x0) * (y1 - y0))
        return original(self, x0, y0, x1, y1)

    with DicomSlide.open([path]) as slide:
        expected = Image.fromarray(slide.read(Box(x0=0, y0=0, x1=2000, y1=1500), 0.2))
        monkeypatch.setattr(Level, "pixels", pixels)
        thumbnail = slide.read(Box(x0=0, y0=0, x1=2000, y1=1500), mpp)
    assert max(areas) <= 258**2
    assert thumbnail.shape[:2] == shape
    assert np.abs(thumbnail.astype(int) - np.asarray(expected.resize(shape[::-1], Image.Resampling.BOX))).max() <= 3


def test_reads_from_many_threads_agree(pyramid):
    boxes = [Box(x0=x, y0=y, x1=x + 90, y1=y + 70) for x in range(0, 210, 30) for y in range(0, 140, 20)]
    wrong = []
    with DicomSlide.open(pyramid) as slide:

        def check() -> None:
            for box in boxes:
                if not (slide.read(box, 0.2) == IMAGE[box.y0 : box.y1, box.x0 : box.x1]).all():
                    wrong.append(box)

        threads = [threading.Thread(target=check) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_the_middle_plane_of_a_stack_is_read(tmp_path):
    planes = [np.full_like(IMAGE, value) for value in (10, 20, 30)]
    frames = [tile.tobytes() for plane in planes for tile in tiles_of(plane)]
    ds = slide_dataset(SIZE, NumberOfFrames=len(frames), TotalPixelMatrixFocalPlanes=3)
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = "0.001"
    with DicomSlide.open([save(ds, tmp_path / "a.dcm", frames)]) as slide:
        assert (slide.read(Box(x0=0, y0=0, x1=60, y1=60), 0.2) == 20).all()
        assert "the slide has 3 focal planes; the middle one is read" in slide.warnings


def test_labels_and_other_objects_beside_the_slide_are_not_read(tmp_path, base, monkeypatch):
    label = save_level(
        tmp_path,
        "label",
        picture(64, 64),
        "2.25.30",
        ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"],
        SharedFunctionalGroupsSequence=spaced(0.02, 0.02),
    )
    (tmp_path / "README.txt").write_text("not a slide")
    (tmp_path / ".spool").mkdir()
    (tmp_path / ".spool" / "half.dcm").write_bytes(base.read_bytes()[:999])
    opened = []
    original = Path.open

    def watched(self, *arguments, **options):
        opened.append(self)
        return original(self, *arguments, **options)

    with DicomSlide.open([tmp_path]) as slide:
        assert slide.base_path == base
        assert [warning for warning in slide.warnings if "passed over" in warning] == [
            "passed over: README.txt is not a DICOM file (PS3.10)"
        ]
        monkeypatch.setattr(Path, "open", watched)
        slide.read(WHOLE, 0.4)
        _ = slide.info
    assert label not in opened


def test_info_says_whose_slide_it_is(base):
    ds = dcmread(base)
    ds.AcquisitionDateTime = "20261005101500"
    ds.TimezoneOffsetFromUTC = "+0200"
    ds.IssuerOfPatientID, ds.PatientBirthDate = "HOSP", "19610402"
    ds.Manufacturer, ds.ManufacturerModelName, ds.DeviceSerialNumber = "ScannerWorks", "SW-100", "7"
    ds.save_as(base)
    with DicomSlide.open([base]) as slide:
        info = slide.info
    assert (info.patient.patient_id, info.patient.issuer, info.patient.name) == ("P-1", "HOSP", "Geheim^Greta")
    assert str(info.patient.birth_date) == "1961-04-02"
    assert (info.manufacturer, info.model_name, info.serial_number) == ("ScannerWorks", "SW-100", "7")
    assert info.acquired_at is not None
    assert info.acquired_at.isoformat() == "2026-10-05T10:15:00+02:00"
    assert not info.synthetic


def test_the_digest_is_of_the_content_not_of_files_or_order(tmp_path, pyramid):
    with DicomSlide.open(pyramid) as slide:
        digest = slide.info.digest
    pyramid[0].rename(tmp_path / "renamed.dcm")
    with DicomSlide.open([pyramid[2], tmp_path / "renamed.dcm", pyramid[1]]) as slide:
        assert slide.info.digest == digest
    with DicomSlide.open([tmp_path / "renamed.dcm"]) as slide:
        assert slide.info.digest != digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SharedFunctionalGroupsSequence": None}, "PixelSpacing .* is absent"),
        ({"SharedFunctionalGroupsSequence": spaced(0.0002, 0.00025)}, "PixelSpacing .* is not square"),
        ({"SharedFunctionalGroupsSequence": spaced(0.1, 0.1)}, "PixelSpacing .* is 100 µm/px"),
        ({"SharedFunctionalGroupsSequence": spaced(0.2, 0.2)}, "PixelSpacing .* is 200 µm/px.* in mm"),
        ({"SharedFunctionalGroupsSequence": spaced(0.000001, 0.000001)}, "PixelSpacing .* is 0.001 µm/px"),
        ({"SharedFunctionalGroupsSequence": spaced(0, 0)}, "PixelSpacing .* is not positive"),
        ({"ImageType": RESAMPLED}, "base level is missing"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}, "VOLUME, only LABEL"),
        ({"ImageType": ["ORIGINAL", "PRIMARY"]}, "VOLUME, only none"),
        ({"NumberOfFrames": 19}, "NumberOfFrames is 19, TILED_FULL needs 20"),
        ({"Rows": 0}, "Rows, Columns or TotalPixelMatrix is absent or 0"),
        ({"TotalPixelMatrixColumns": None}, "TotalPixelMatrix is absent"),
        ({"SamplesPerPixel": 1}, "SamplesPerPixel is 1, only 3"),
        ({"SamplesPerPixel": None}, "SamplesPerPixel is absent"),
        ({"BitsStored": 12}, "BitsStored is 12"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PhotometricInterpretation is PALETTE COLOR"),
        ({"DimensionOrganizationType": None}, "DimensionOrganizationType"),
        ({"DimensionOrganizationType": "TILED_SPARSE"}, "PerFrameFunctionalGroupsSequence"),
    ],
)
def test_a_slide_that_cannot_be_read_is_refused_by_name(tmp_path, changes, words):
    path = save_level(tmp_path, "bad", IMAGE, "2.25.1", **changes)
    with pytest.raises(SlideError, match=words) as caught:
        DicomSlide.open([path])
    assert "Geheim" not in str(caught.value)


def test_a_missing_base_level_is_said(pyramid):
    with pytest.raises(SlideError, match="base level is missing"):
        DicomSlide.open(pyramid[1:])


def test_a_level_of_another_place_is_said(tmp_path, base):
    other = save_level(tmp_path, "other", picture(150, 190), "2.25.5", ImageType=RESAMPLED)
    with pytest.raises(SlideError, match="150x190 shows a field"):
        DicomSlide.open([base, other])


def test_two_scans_are_said(tmp_path, base):
    again = save_level(tmp_path, "again", IMAGE, "2.25.5")
    with pytest.raises(SlideError, match="two different instances are level 300x210"):
        DicomSlide.open([base, again])


def test_two_slides_are_said(tmp_path, base):
    other = save_level(tmp_path, "other", IMAGE, "2.25.5", ContainerIdentifier="S26-2-A")
    with pytest.raises(SlideError, match="ContainerIdentifier has 2 values"):
        DicomSlide.open([base, other])


def test_a_syntax_that_is_not_read_is_named(tmp_path):
    path = save(slide_dataset(SIZE), tmp_path / "a.dcm", [b"\0\0"] * 20, syntax="1.2.840.10008.1.2.4.102")
    with pytest.raises(SlideError, match=r"MPEG-4 AVC/H\.264"):
        DicomSlide.open([path])


def test_a_damaged_tile_names_file_and_place(tmp_path):
    frames = [jpeg(tile) for tile in tiles_of(IMAGE)]
    frames[7] = b"\xff\xd8\xff\xd9"
    ds = slide_dataset(SIZE, PhotometricInterpretation="YBR_FULL_422")
    path = save(ds, tmp_path / "broken.dcm", frames, syntax=JPEGBaseline8Bit)
    with DicomSlide.open([path]) as slide:
        slide.read(Box(x0=0, y0=0, x1=10, y1=10), 0.2)
        with pytest.raises(SlideError, match=r"broken\.dcm, tile column 2 row 1"):
            slide.read(WHOLE, 0.2)


def test_a_truncated_file_names_the_pixel_data(tmp_path, base):
    base.write_bytes(base.read_bytes()[:-30_000])
    with DicomSlide.open([base]) as slide, pytest.raises(SlideError, match=r"base\.dcm"):
        slide.read(WHOLE, 0.2)


@pytest.mark.parametrize(
    ("paths", "words"),
    [(["absent.dcm"], "no such file"), ([""], "folder is empty"), (["a.txt"], "not a DICOM file")],
)
def test_nothing_to_read_is_said(tmp_path, paths, words):
    if "a.txt" in paths:
        (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(SlideError, match=words):
        DicomSlide.open([tmp_path / path for path in paths])


def test_without_a_profile_the_colours_are_taken_as_srgb_and_said(base):
    with DicomSlide.open([base]) as slide:
        assert [w for w in slide.warnings if "ICCProfile" in w] == [
            "ICCProfile (0028,2000) is absent: the colours are taken as sRGB"
        ]


@pytest.mark.parametrize("profile", ["scanner", "broken"])
def test_the_scanner_s_colours_become_srgb(tmp_path, profile):
    """A profile with red and blue exchanged shows that it is applied."""
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    path.ICCProfile = exchanged_profile() if profile == "scanner" else b"not a profile!"
    file = save_level(tmp_path, "a", IMAGE, "2.25.1", OpticalPathSequence=[path])
    with DicomSlide.open([file]) as slide:
        image = slide.read(WHOLE, 0.2)
        if profile == "broken":
            assert (image == IMAGE).all()
            assert any("cannot be used" in warning for warning in slide.warnings)
        else:
            assert np.abs(image.astype(int) - IMAGE[..., ::-1]).mean() < 3
            assert slide.warnings == ()
        assert (slide.read(Box(x0=300, y0=0, x1=310, y1=10), 0.2) == 255).all()


def exchanged_profile() -> bytes:
    """sRGB with the tags of its red and blue primaries exchanged and another name."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")
    return profile.replace("sRGB".encode("utf-16-be"), "scan".encode("utf-16-be"))


@pytest.mark.parametrize("folder", ["marrow-fields", "mll-cells", "cmu-1-small-region"])
def test_real_slides_show_the_same_at_every_level(shared, folder):
    with DicomSlide.open([shared / "slides" / folder]) as slide:
        width, height = slide.size
        box = Box(x0=width // 4, y0=height // 4, x1=width // 4 + 800, y1=height // 4 + 800)
        fine = slide.read(box, slide.mpp)
        for factor in (2, 4, 8):
            coarse = slide.read(box, slide.mpp * factor)
            assert coarse.shape == (800 // factor, 800 // factor, 3)
            # the writers left out pixels instead of averaging them: compare means of 32 x 32 level-0 pixels
            seen, expected = (
                np.asarray(Image.fromarray(image).resize((25, 25), Image.Resampling.BOX)).astype(float)
                for image in (coarse, fine)
            )
            assert np.abs(seen - expected).mean() < 12
            assert np.corrcoef(seen.ravel(), expected.ravel())[0, 1] > 0.95
