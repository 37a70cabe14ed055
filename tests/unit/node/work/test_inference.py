"""What is known of a slide before it is counted."""

from pathlib import Path

import pytest
from pydicom import dcmread

from node.work.inference import describe
from tests.slides import SERIES, write_slide


def test_a_slide_says_who_it_is_and_that_it_can_be_counted(tmp_path: Path) -> None:
    info, warnings, reason = describe(write_slide(tmp_path))
    assert (info.series_instance_uid, info.patient.patient_id) == (SERIES, "TEST-4711")
    assert (len(warnings), reason) == (1, "")  # no ICC profile


@pytest.mark.parametrize("keyword", ["ImageOrientationSlide", "TotalPixelMatrixOriginSequence"])
def test_what_only_results_need_is_missed_before_the_count(tmp_path: Path, keyword: str) -> None:
    """So that it is the reason of a result, not an error after it."""
    (path,) = write_slide(tmp_path, downsamples=(1,))
    ds = dcmread(path)
    delattr(ds, keyword)
    ds.save_as(path)
    info, _, reason = describe([path])
    assert reason.startswith(f"{keyword} is absent")
    assert info.series_instance_uid == SERIES
