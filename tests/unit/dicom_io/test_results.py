"""The set of result objects: which, under which UIDs, and the same bytes each time."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_io.errors import SlideError
from dicom_io.results import write_results
from pipeline.domain import Report, ResultStatus
from tests.builders import build_analysis, build_codes, build_no_result, build_report
from tests.slides import write_slide

CODES = build_codes()


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_slide(tmp_path_factory.mktemp("slide"))


def written(report: Report, slide: list[Path], folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    return {item.kind: item.path.read_bytes() for item in write_results(report, slide, CODES, folder)}


def test_a_counted_slide_gives_five_objects(slide: list[Path], tmp_path: Path) -> None:
    objects = write_results(build_report(), slide, CODES, tmp_path)
    assert {item.kind for item in objects} == {"SEG", "SEGROI", "ANN", "SR", "SR3D"}
    assert len({item.series_instance_uid for item in objects}) == len(objects)
    for item in objects:
        ds = dcmread(item.path)
        assert (ds.SOPInstanceUID, ds.SeriesInstanceUID) == (item.sop_instance_uid, item.series_instance_uid)
        assert ds.StudyInstanceUID == dcmread(slide[0]).StudyInstanceUID
        assert ds.PatientID == "TEST-4711"


def test_the_same_report_gives_the_same_bytes(slide: list[Path], tmp_path: Path) -> None:
    first = written(build_report(), slide, tmp_path / "first")
    assert written(build_report(), list(reversed(slide)), tmp_path / "second") == first


@pytest.mark.parametrize("change", [{"revision": 1}, {"case_id": "case-0002"}])
def test_another_report_gives_other_uids(slide: list[Path], tmp_path: Path, change: dict[str, object]) -> None:
    first = write_results(build_report(), slide, CODES, tmp_path)
    second = write_results(build_report(**change), slide, CODES, tmp_path)
    assert not {item.sop_instance_uid for item in first} & {item.sop_instance_uid for item in second}


def test_times_are_those_of_the_analysis(slide: list[Path], tmp_path: Path) -> None:
    later = build_report(analysed_at=build_report().analysed_at + timedelta(days=1))
    for item in write_results(later, slide, CODES, tmp_path):
        ds = dcmread(item.path)
        assert (ds.ContentDate, ds.ContentTime, ds.InstanceCreationDate) == ("20261006", "101500", "20261006")


@pytest.mark.parametrize(("offset", "shown"), [("+0200", "121500"), ("-0500", "051500"), ("local", "101500")])
def test_times_follow_the_clock_of_the_scanner(slide: list[Path], tmp_path: Path, offset: str, shown: str) -> None:
    abroad = dcmread(slide[0])
    abroad.TimezoneOffsetFromUTC = offset
    abroad.save_as(tmp_path / "abroad.dcm")
    ds = dcmread(write_results(build_no_result(), [tmp_path / "abroad.dcm"], CODES, tmp_path)[0].path)
    assert ds.ContentTime == shown
    assert ds.get("TimezoneOffsetFromUTC") == (None if offset == "local" else offset)


def test_without_an_analysis_only_the_count_document_is_made(slide: list[Path], tmp_path: Path) -> None:
    assert [item.kind for item in write_results(build_no_result(), slide, CODES, tmp_path)] == ["SR"]


def test_without_cells_there_is_no_mask_of_cells(slide: list[Path], tmp_path: Path) -> None:
    report = build_report(analysis=build_analysis(cells=()))
    assert {item.kind for item in write_results(report, slide, CODES, tmp_path)} == {"SEGROI", "SR3D", "SR"}


def test_without_regions_there_is_no_region_object(slide: list[Path], tmp_path: Path) -> None:
    report = build_report(analysis=build_analysis(regions=()))
    assert {item.kind for item in write_results(report, slide, CODES, tmp_path)} == {"SEG", "ANN", "SR"}


def test_a_signed_report_replaces_the_earlier_one(slide: list[Path], tmp_path: Path) -> None:
    first = write_results(build_report(), slide, CODES, tmp_path)
    signed = build_report(status=ResultStatus.FINAL, reviewer="Rev^Ina", revision=1)
    for item in write_results(signed, slide, CODES, tmp_path, predecessors=first, organization="Lab"):
        ds = dcmread(item.path)
        if item.kind.startswith("SR"):
            before = next(old for old in first if old.kind == item.kind)
            named = ds.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
            assert named.ReferencedSOPInstanceUID == before.sop_instance_uid


def test_what_a_lax_scanner_left_out_is_filled_the_same_way_in_all(slide: list[Path], tmp_path: Path) -> None:
    lax = []
    for path in slide:
        ds = dcmread(path)
        for keyword in ("FrameOfReferenceUID", "SpecimenDescriptionSequence", "StudyID", "PatientBirthDate"):
            delattr(ds, keyword)
        lax.append(tmp_path / path.name)
        ds.save_as(lax[-1])
    objects = [dcmread(item.path) for item in write_results(build_report(), lax, CODES, tmp_path)]
    assert len({ds.FrameOfReferenceUID for ds in objects if "FrameOfReferenceUID" in ds}) == 1


@pytest.mark.parametrize("keyword", ["Modality", "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber"])
def test_a_lax_scanner_need_not_say_what_it_is(slide: list[Path], tmp_path: Path, keyword: str) -> None:
    ds = dcmread(slide[0])
    delattr(ds, keyword)
    ds.save_as(tmp_path / "lax.dcm")
    assert len(write_results(build_report(), [tmp_path / "lax.dcm"], CODES, tmp_path)) == 5


@pytest.mark.parametrize("keyword", ["SpecimenIdentifier", "SpecimenUID"])
def test_a_specimen_need_not_be_fully_named(slide: list[Path], tmp_path: Path, keyword: str) -> None:
    ds = dcmread(slide[0])
    specimen = ds.SpecimenDescriptionSequence[0]
    setattr(specimen, keyword, None)
    ds.save_as(tmp_path / "empty.dcm")
    delattr(specimen, keyword)
    ds.save_as(tmp_path / "absent.dcm")
    for name in ("empty.dcm", "absent.dcm"):
        objects = write_results(build_report(), [tmp_path / name], CODES, tmp_path)
        assert {dcmread(item.path).SpecimenDescriptionSequence[0].get(keyword) for item in objects[:2]} - {None, ""}


def test_a_backslash_in_a_patients_name_ends_it(slide: list[Path], tmp_path: Path) -> None:
    ds = dcmread(slide[0])
    ds.PatientName = ["Muster^Maria", "Meier"]
    ds.save_as(tmp_path / "two.dcm")
    for item in write_results(build_report(), [tmp_path / "two.dcm"], CODES, tmp_path):
        assert dcmread(item.path).PatientName == "Muster^Maria"


def test_a_folder_without_a_slide_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not DICOM")
    with pytest.raises(SlideError, match="VOLUME"):
        write_results(build_report(), [tmp_path], CODES, tmp_path)
    with pytest.raises(SlideError, match="DICOM image"):
        write_results(build_no_result(), [tmp_path], CODES, tmp_path)


def test_strays_in_the_folder_are_passed_over(slide: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not DICOM")
    assert len(write_results(build_report(), [*slide, tmp_path, tmp_path / "gone.dcm"], CODES, tmp_path)) == 5


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "TotalPixelMatrixColumns", "NumberOfFrames", "ImageType"])
def test_whatever_a_slide_lacks_the_reason_is_reported(slide: list[Path], tmp_path: Path, keyword: str) -> None:
    ds = dcmread(slide[0])
    setattr(ds, keyword, None)
    ds.save_as(tmp_path / "empty.dcm")
    delattr(ds, keyword)
    ds.save_as(tmp_path / "absent.dcm")
    for name in ("empty.dcm", "absent.dcm"):
        assert [item.kind for item in write_results(build_no_result(), [tmp_path / name], CODES, tmp_path)] == ["SR"]


@pytest.mark.parametrize("keyword", ["ImageOrientationSlide", "TotalPixelMatrixRows", "PixelSpacing"])
def test_missing_geometry_is_named_but_a_reason_is_still_reported(
    slide: list[Path], tmp_path: Path, keyword: str
) -> None:
    ds = dcmread(slide[0])
    owner = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0] if keyword == "PixelSpacing" else ds
    delattr(owner, keyword)
    ds.save_as(tmp_path / "flat.dcm")
    with pytest.raises(SlideError, match=keyword):
        write_results(build_report(), [tmp_path / "flat.dcm"], CODES, tmp_path)
    assert [item.kind for item in write_results(build_no_result(), [tmp_path / "flat.dcm"], CODES, tmp_path)] == ["SR"]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("XOffsetInSlideCoordinateSystem", None),
        ("YOffsetInSlideCoordinateSystem", "absent"),
        ("ImageOrientationSlide", [0, 1, 0]),
    ],
)
def test_geometry_that_is_not_whole_is_named(
    slide: list[Path], tmp_path: Path, keyword: str, value: str | list[int] | None
) -> None:
    ds = dcmread(slide[0])
    owner = ds if keyword in ds else ds.TotalPixelMatrixOriginSequence[0]
    if value == "absent":
        delattr(owner, keyword)
    else:
        setattr(owner, keyword, value)
    ds.save_as(tmp_path / "lost.dcm")
    with pytest.raises(SlideError, match="does not say where"):
        write_results(build_report(), [tmp_path / "lost.dcm"], CODES, tmp_path)


def test_what_is_no_slide_still_gets_a_document_with_the_reason(slide: list[Path], tmp_path: Path) -> None:
    label = dcmread(slide[0])
    label.ImageType = ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]
    label.save_as(tmp_path / "label.dcm")
    (item,) = write_results(build_no_result(), [tmp_path / "label.dcm"], CODES, tmp_path)
    evidence = dcmread(item.path).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == label.SOPInstanceUID


def test_files_of_another_slide_are_refused(slide: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="1000 x 800"):
        write_results(build_report(), slide[1:], CODES, tmp_path)


def test_text_of_another_character_set_is_written_as_utf8(slide: list[Path], tmp_path: Path) -> None:
    latin = dcmread(slide[0])
    latin.SpecificCharacterSet = "ISO_IR 100"
    latin.PatientName, latin.StudyDescription = "Müller^Jörg", "Größe"
    latin.SpecimenDescriptionSequence[0].SpecimenIdentifier = "Präparat-1"
    latin.save_as(tmp_path / "latin.dcm")
    for item in write_results(build_report(), [tmp_path / "latin.dcm"], CODES, tmp_path):
        ds = dcmread(item.path)
        assert ds.SpecificCharacterSet == "ISO_IR 192"
        assert (str(ds.PatientName), ds.StudyDescription) == ("Müller^Jörg", "Größe")
        if "SpecimenDescriptionSequence" in ds:
            assert ds.SpecimenDescriptionSequence[0].SpecimenIdentifier == "Präparat-1"


@pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")  # pydicom says so when the test writes them
def test_values_that_are_no_dates_are_left_out(slide: list[Path], tmp_path: Path) -> None:
    odd = dcmread(slide[0])
    odd.PatientBirthDate, odd.StudyTime, odd.PatientSex = "12.04.61", "half past", "W"
    odd.save_as(tmp_path / "odd.dcm")
    ds = dcmread(write_results(build_no_result(), [tmp_path / "odd.dcm"], CODES, tmp_path)[0].path)
    assert (ds.PatientBirthDate, ds.PatientSex, ds.StudyDate) == ("", "", "20261005")


@pytest.mark.filterwarnings("ignore:The value length:UserWarning")  # pydicom says so when the test writes it
def test_a_patient_without_a_proper_name_is_kept_and_not_quoted(
    slide: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ds = dcmread(slide[0])
    ds.PatientName = "ANON17"
    ds.add_new("PatientID", "LO", "X" * 70)
    ds.save_as(tmp_path / "anonymous.dcm")
    caplog.clear()
    for item in write_results(build_report(), [tmp_path / "anonymous.dcm"], CODES, tmp_path):
        assert dcmread(item.path).PatientName == "ANON17"
    assert not caplog.records
