"""Structured reports: numbers, text, status and predecessors."""

from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from highdicom.spatial import ImageToReferenceTransformer
from pydicom import Dataset

from dicom_io import codes
from dicom_io.provenance import Predecessor
from dicom_io.source import Source, matrix_origin, pixel_spacing, read_source, slide_coordinates
from dicom_io.sr import comments, encode_measurements, encode_regions
from pipeline.domain import CELL_CLASSES, COUNTED_CLASSES, ResultStatus
from tests.builders import (
    build_analysis,
    build_bundle_info,
    build_cells,
    build_codes,
    build_no_result,
    build_report,
    build_slide_info,
)
from tests.slides import write_slide

CODES = build_codes()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return read_source(write_slide(tmp_path_factory.mktemp("slide")))


@pytest.fixture(scope="module")
def document(source: Source) -> Dataset:
    return encode_measurements(build_report(), source, CODES)


def reread(ds: Dataset, folder: Path) -> hd.sr.MeasurementReport:
    ds.save_as(folder / "sr.dcm", enforce_file_format=True)
    return hd.sr.srread(folder / "sr.dcm").content


def numbers(group: hd.sr.MeasurementsAndQualitativeEvaluations) -> dict[str, float]:
    return {item.name.value: float(item.value) for item in group.get_measurements()}


def texts(ds: Dataset) -> str:
    return "\n".join(
        str(item.get("TextValue", ""))
        for group in ds.ContentSequence[-1].ContentSequence
        for item in group.ContentSequence
    )


def test_every_class_has_its_numbers(document: Dataset, tmp_path: Path) -> None:
    report = build_report()
    groups = reread(document, tmp_path).get_image_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["differential count", *CELL_CLASSES]
    total = numbers(groups[0])
    assert total["38257-2"] == report.analysis.differential.total
    assert total["11138-5"] == pytest.approx(report.analysis.differential.me_ratio, abs=0.005)
    for group, row in zip(groups[1:17], report.analysis.differential.components, strict=True):
        low, high = row.ci95
        expected = {"COUNT": row.count, "PERCENT": row.percent, "CI95_LOW": low, "CI95_HIGH": high}
        assert numbers(group) == expected
        assert group.finding_type == codes.cell_concept(CODES[row.name])
    for group, (_, count) in zip(groups[17:], report.analysis.differential.excluded, strict=True):
        assert numbers(group) == {"COUNT": count}
    assert sum(numbers(group).get("PERCENT", 0) for group in groups) == pytest.approx(100)


def test_a_new_result_is_preliminary_and_unverified(document: Dataset) -> None:
    flags = (document.CompletionFlag, document.VerificationFlag, document.PreliminaryFlag)
    assert flags == ("COMPLETE", "UNVERIFIED", "PRELIMINARY")
    assert "PredecessorDocumentsSequence" not in document
    assert "not been validated" in texts(document)


@pytest.mark.parametrize("status", [ResultStatus.FINAL, ResultStatus.CORRECTED])
def test_a_signed_result_names_reviewer_and_predecessor(source: Source, status: ResultStatus) -> None:
    report = build_report(status=status, reviewer="Ärztin^Änne", revision=1)
    before = Predecessor(
        study_instance_uid=source.base.StudyInstanceUID,
        series_instance_uid="2.25.7",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33",
        sop_instance_uid="2.25.8",
    )
    ds = encode_measurements(report, source, CODES, predecessors=[before], organization="Hospital")
    assert (ds.VerificationFlag, ds.PreliminaryFlag) == ("VERIFIED", "FINAL")
    observer = ds.VerifyingObserverSequence[0]
    assert (str(observer.VerifyingObserverName), observer.VerifyingOrganization) == ("Ärztin^Änne", "Hospital")
    assert observer.VerificationDateTime == report.analysed_at
    document = ds.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert document.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.8"
    assert "not been validated" not in texts(ds)


def test_a_signature_needs_a_name(source: Source) -> None:
    with pytest.raises(ValueError, match="reviewer"):
        encode_measurements(build_report(status=ResultStatus.FINAL), source, CODES)


def test_no_result_says_why_and_is_partial(source: Source, tmp_path: Path) -> None:
    report = build_no_result()
    ds = encode_measurements(report, source, CODES)
    assert (ds.CompletionFlag, ds.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    assert report.reason in texts(ds)
    group = reread(ds, tmp_path).get_image_measurement_groups()[0]
    assert codes.QUALITY_UNUSABLE in [item.value for item in group.get_qualitative_evaluations()]


def test_comments_tell_definition_warnings_and_blind_spots() -> None:
    bundle = build_bundle_info(classes=COUNTED_CLASSES)
    report = build_report(bundle=bundle, warnings=("Few cells.",))
    text = "\n".join(comments(report))
    assert report.analysis.differential.me_definition in text
    assert "smudge cell" in text
    assert "Few cells." in text
    assert report.analysis.warnings[0] in text


def test_a_synthetic_slide_is_labelled(source: Source) -> None:
    ds = encode_measurements(build_report(slide=build_slide_info(synthetic=True)), source, CODES)
    assert "Synthetic, not for diagnostic use" in texts(ds)
    assert "synthetic" in ds.SeriesDescription


def test_without_erythroid_cells_the_ratio_is_explained_not_invented(source: Source, tmp_path: Path) -> None:
    report = build_report(analysis=build_analysis(cells=build_cells({"myeloblast": 5, "lymphocyte": 5})))
    ds = encode_measurements(report, source, CODES)
    group = reread(ds, tmp_path).get_image_measurement_groups()[0]
    assert "11138-5" not in numbers(group)
    assert "no erythroid cell was counted" in texts(ds)


def test_regions_are_polygons_on_the_slide(source: Source, tmp_path: Path) -> None:
    report = build_report()
    ds = encode_regions(report, report.analysis, source)
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    (group,) = reread(ds, tmp_path).get_planar_roi_measurement_groups()
    points = group.roi.value
    assert np.array_equal(points[0], points[-1])
    transform = ImageToReferenceTransformer(
        image_position=[*matrix_origin(source.base), 0.0],
        image_orientation=source.base.ImageOrientationSlide,
        pixel_spacing=pixel_spacing(source.base),
    )
    region = report.analysis.regions[0].polygon
    assert np.allclose(points[:-1], transform(region), atol=1e-5)
    assert np.allclose(slide_coordinates(region, source.base), transform(region), atol=1e-9)
    assert group.roi.frame_of_reference_uid == source.base.FrameOfReferenceUID


def test_no_region_is_an_error(source: Source) -> None:
    analysis = build_analysis(regions=())
    with pytest.raises(ValueError, match="no region"):
        encode_regions(build_report(analysis=analysis), analysis, source)


def test_the_order_is_named(source: Source, document: Dataset) -> None:
    assert document.ReferencedRequestSequence[0].PlacerOrderNumberImagingServiceRequest == "PL-1001"
    assert "ReferencedRequestSequence" not in encode_measurements(build_no_result(order=None), source, CODES)
