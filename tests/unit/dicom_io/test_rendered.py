"""Pictures of instances: the part that is asked for, in the size that is asked for, in sRGB."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from dicom_io import rendered
from dicom_io.errors import SlideError
from dicom_io.frames import locate_frames
from dicom_io.header import parse_header
from dicom_io.rendered import Viewport, encode_picture, is_tiled, render_frame, render_slide
from tests.unit.dicom_io.instances import picture, save, save_level, slide_dataset, tiles_of

IMAGE = picture(300, 210)


@pytest.fixture
def level(tmp_path: Path) -> Path:
    return save_level(tmp_path, "base", IMAGE, "2.25.1")


def slide_picture(paths: list[Path], viewport: Viewport) -> np.ndarray:
    headers = [parse_header(path) for path in paths]
    return np.asarray(render_slide(headers[0], headers, viewport))


@pytest.mark.parametrize(
    ("viewport", "size", "part"),
    [
        (Viewport(), (300, 210), (0, 0, 300, 210)),
        (Viewport(width=150, height=999), (150, 105), (0, 0, 300, 210)),
        (Viewport(x=70, y=10, across=100, down=50), (100, 50), (70, 10, 170, 60)),
        (Viewport(width=25, height=25, x=70, y=10, across=100, down=50), (25, 12), (70, 10, 170, 60)),
        (Viewport(x=250.5, y=200.25), (50, 10), (250.5, 200.25, 300, 210)),
        (Viewport(x=299, y=209, across=5000), (1, 1), (299, 209, 300, 210)),
    ],
)
def test_a_part_of_a_slide(level: Path, viewport: Viewport, size: tuple[int, int], part: tuple[float, ...]) -> None:
    made = slide_picture([level], viewport)
    expected = Image.fromarray(IMAGE).resize(size, Image.Resampling.BOX, box=part)
    assert made.shape == (size[1], size[0], 3)
    assert np.abs(made.astype(int) - np.asarray(expected)).max() <= 1


def test_strips_make_the_same_picture(level: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    viewport = Viewport(width=97, height=97, x=13.3, y=7.7, across=200, down=180)
    whole = slide_picture([level], viewport)
    monkeypatch.setattr(rendered, "_STRIP_PIXELS", 1000)
    assert np.abs(slide_picture([level], viewport).astype(int) - whole).max() <= 1


def test_the_smallest_level_that_is_large_enough_is_read(level: Path, tmp_path: Path) -> None:
    marked = np.full((105, 150, 3), 7, np.uint8)
    small = save_level(tmp_path, "small", marked, "2.25.2", ImageType=["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"])
    assert (slide_picture([level, small], Viewport(width=150, height=150)) == 7).all()
    assert (slide_picture([level, small], Viewport(width=50, height=50, across=100, down=100)) == 7).all()
    assert not (slide_picture([level, small], Viewport(width=60, height=60, across=100, down=100)) == 7).all()


@pytest.mark.parametrize("viewport", [Viewport(x=300), Viewport(y=210.5), Viewport(across=0), Viewport(y=9, down=0)])
def test_a_part_outside_is_refused(level: Path, viewport: Viewport) -> None:
    with pytest.raises(SlideError, match="outside the image of 300 by 210"):
        slide_picture([level], viewport)


def test_a_label_has_a_picture(shared: Path) -> None:
    path = shared / "dicom" / "google-test_wikipedia.dcm"
    header = parse_header(path)
    assert header.flavor == "LABEL"
    made = slide_picture([path], Viewport())
    assert made.shape == (header.total_pixel_matrix_rows, header.total_pixel_matrix_columns, 3)
    assert 20 < made.mean() < 250


def test_parts_of_a_concatenation_make_one_picture(tmp_path: Path) -> None:
    tiles = [tile.tobytes() for tile in tiles_of(IMAGE)]
    paths = []
    for number, (first, last) in enumerate(((0, 8), (8, len(tiles))), 1):
        ds = slide_dataset((300, 210), f"2.25.{number}", NumberOfFrames=last - first)
        ds.ConcatenationUID = "2.25.99"
        ds.InConcatenationNumber, ds.InConcatenationTotalNumber = number, 2
        ds.ConcatenationFrameOffsetNumber = first
        ds.SOPInstanceUIDOfConcatenationSource = "2.25.98"
        paths.append(save(ds, tmp_path / f"{number}.dcm", tiles[first:last]))
    assert np.array_equal(slide_picture(paths, Viewport()), IMAGE)


def test_an_image_that_is_no_slide_is_refused(tmp_path: Path) -> None:
    path = save_level(tmp_path, "photo", IMAGE, "2.25.1", SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.2")
    with pytest.raises(SlideError, match=r"photo\.dcm: the tiles cannot be located"):
        slide_picture([path], Viewport())


def test_a_grey_slide_is_shown_frame_by_frame(shared: Path) -> None:
    path = shared / "dicom" / "highdicom-sm_image_grayscale_reversed.dcm"
    assert not is_tiled(path)
    frame = locate_frames(path).read(1)
    whole = np.asarray(render_frame(path, frame, Viewport()))
    part = render_frame(path, frame, Viewport(x=2, y=3, across=4, down=5))
    assert np.array_equal(np.asarray(part), whole[3:8, 2:6])


def test_frames_and_slides_have_the_same_colours(shared: Path) -> None:
    path = shared / "dicom" / "highdicom-sm_image.dcm"
    frame = render_frame(path, locate_frames(path).read(1), Viewport())
    assert np.array_equal(np.asarray(frame), slide_picture([path], Viewport(across=10, down=10)))


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg"])
def test_a_profile_is_embedded_where_it_is_wanted(media_type: str) -> None:
    coloured = Image.fromarray(IMAGE)
    plain, told = (
        Image.open(io.BytesIO(encode_picture(coloured, media_type, profile=wanted))) for wanted in (False, True)
    )
    assert "icc_profile" not in plain.info
    profile = ImageCms.ImageCmsProfile(io.BytesIO(told.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
