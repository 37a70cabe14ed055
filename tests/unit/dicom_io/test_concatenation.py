"""A level that comes in several instances, a concatenation (PS3.3 C.7.6.16), is read as one."""

import itertools
from pathlib import Path

import pytest

from dicom_io.errors import SlideError
from dicom_io.slide import DicomSlide
from pipeline.domain import Box
from tests.unit.dicom_io.instances import (
    picture,
    save,
    slide_dataset,
    tiles_of,
)

SIZE = (300, 210)
IMAGE = picture(*SIZE)
WHOLE = Box(x0=0, y0=0, x1=300, y1=210)


def concatenation(folder: Path, *, parts: int = 3) -> list[Path]:
    frames = [tile.tobytes() for tile in tiles_of(IMAGE)]
    bounds = [round(n * len(frames) / parts) for n in range(parts + 1)]
    return [
        save(
            slide_dataset(
                SIZE,
                f"2.25.{20 + n}",
                NumberOfFrames=end - start,
                ConcatenationUID="2.25.99",
                SOPInstanceUIDOfConcatenationSource="2.25.98",
                InConcatenationNumber=n + 1,
                InConcatenationTotalNumber=parts,
                ConcatenationFrameOffsetNumber=start,
            ),
            folder / f"part-{n}.dcm",
            frames[start:end],
        )
        for n, (start, end) in enumerate(itertools.pairwise(bounds))
    ]


def test_a_concatenation_is_one_level(tmp_path):
    with DicomSlide.open(concatenation(tmp_path)) as slide:
        assert (slide.read(WHOLE, 0.2) == IMAGE).all()


def test_a_missing_part_of_a_concatenation_is_said(tmp_path):
    with pytest.raises(SlideError, match="2 of 3 concatenation parts are here"):
        DicomSlide.open(concatenation(tmp_path)[:2])
