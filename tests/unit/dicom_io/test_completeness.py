"""The geometry of a set of headers: whole, or what is missing."""

from dataclasses import replace
from pathlib import Path

import pytest

from dicom_io.completeness import assess
from dicom_io.contexts import WHOLE_SLIDE
from dicom_io.header import InstanceHeader
from pipeline.domain import Patient

VOLUME = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")
RESAMPLED = ("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED")


def level(uid: str, width: int, height: int, spacing: float, **changes: object) -> InstanceHeader:
    header = InstanceHeader(
        path=Path(f"{uid}.dcm"),
        sop_class_uid=WHOLE_SLIDE,
        sop_instance_uid=uid,
        study_instance_uid="1",
        series_instance_uid="2",
        transfer_syntax_uid="1.2.840.10008.1.2.4.50",
        modality="SM",
        image_type=VOLUME,
        container_identifier="A",
        rows=512,
        columns=512,
        total_pixel_matrix_columns=width,
        total_pixel_matrix_rows=height,
        number_of_frames=-(-width // 512) * -(-height // 512),
        dimension_organization_type="TILED_FULL",
        pixel_spacing=(spacing, spacing),
    )
    return replace(header, **changes)


BASE = level("1.1", 10001, 7003, 0.0001)
HALF = level("1.2", 5001, 3502, 0.0002, image_type=RESAMPLED)
FLOORED = level("1.2", 5000, 3501, 0.0002, image_type=RESAMPLED)
TINY = level("1.3", 79, 55, 0.0128, image_type=RESAMPLED)
LABEL = level("1.4", 400, 400, 0.05, image_type=("ORIGINAL", "PRIMARY", "LABEL", "NONE"))
REPORT = level("1.5", 0, 0, 0.0, sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33", modality="SR", image_type=())


def part(number: int, concatenation: str = "7", **changes: object) -> InstanceHeader:
    """One of two halves of BASE, without the number of parts, which need not be stated."""
    place = {"concatenation_uid": concatenation, "in_concatenation_number": number}
    return replace(BASE, **{"sop_instance_uid": f"1.1.{number}", "number_of_frames": 140} | place | changes)


@pytest.mark.parametrize("headers", [[part(2), part(1)], [part(n, number_of_frames=n % 2 * 140) for n in (1, 2, 3)]])
def test_the_number_of_parts_need_not_be_stated(headers):
    assert assess(headers).problems == ()


@pytest.mark.parametrize("headers", [[BASE], [TINY, HALF, BASE], [BASE, FLOORED], [LABEL, BASE, REPORT]])
def test_a_whole_slide(headers):
    report = assess(headers)
    assert report.problems == ()
    assert report.complete
    assert report.base == BASE


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ([], "no VL Whole Slide Microscopy Image among 0 instances"),
        ([REPORT], r"among 1 instances \(Modality SR\)"),
        ([LABEL], "only LABEL"),
        ([HALF, TINY], "every VOLUME has ImageType value 4 RESAMPLED"),
        ([replace(HALF, image_type=VOLUME), replace(BASE, image_type=RESAMPLED)], "a RESAMPLED level is larger"),
        ([BASE, replace(HALF, pixel_spacing=(0.0003, 0.0003))], "5001x3502 shows a field of"),
        ([BASE, replace(BASE, sop_instance_uid="1.9")], "two different instances are level 10001x7003"),
        ([BASE, replace(HALF, container_identifier="B")], "ContainerIdentifier has 2 values"),
        ([BASE, replace(HALF, patient=Patient(patient_id="2"))], "PatientID has 2 values"),
        ([BASE, replace(HALF, study_instance_uid="9")], "StudyInstanceUID has 2 values"),
        ([replace(BASE, number_of_frames=279)], "NumberOfFrames is 279, TILED_FULL needs 280"),
        ([replace(BASE, columns=0)], "Rows, Columns or TotalPixelMatrix is absent or 0"),
        (
            [replace(BASE, concatenation_uid="7", in_concatenation_number=2, in_concatenation_total_number=3)],
            "1 of 3 concatenation parts",
        ),
        ([part(1), part(3)], "2 of 3 concatenation parts"),
        ([part(1)], "NumberOfFrames is 140, TILED_FULL needs 280"),
        ([part(1), part(2), part(2, sop_instance_uid="1.9")], "two instances are the same concatenation part"),
        (
            [part(1), part(2), part(1, "8", sop_instance_uid="1.8"), part(2, "8", sop_instance_uid="1.9")],
            "two different instances are level 10001x7003",
        ),
    ],
)
def test_what_is_wrong_is_said(headers, problem):
    import re

    report = assess(headers)
    assert not report.complete
    assert any(re.search(problem, text) for text in report.problems), report.problems


def test_planes_and_paths_are_not_duplicates():
    planes = [replace(BASE, sop_instance_uid=f"1.1.{n}", z_offset_um=float(n)) for n in range(3)]
    paths = [replace(BASE, sop_instance_uid=f"1.2.{n}", optical_path_identifier=str(n)) for n in range(2)]
    assert assess(planes).complete
    assert assess(paths).complete


def test_parts_of_a_concatenation_make_one_level():
    parts = [
        replace(
            BASE,
            sop_instance_uid=f"1.1.{n}",
            number_of_frames=140,
            concatenation_uid="7",
            in_concatenation_number=n,
            in_concatenation_total_number=2,
        )
        for n in (1, 2)
    ]
    report = assess(parts[::-1])
    assert report.complete
    assert report.base == parts[0]


def test_spacing_that_is_absent_does_not_hide_other_problems():
    bare = replace(BASE, pixel_spacing=None)
    assert assess([bare, HALF]).complete
    assert not assess([bare, replace(HALF, number_of_frames=3)]).complete
