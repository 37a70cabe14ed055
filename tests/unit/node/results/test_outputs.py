"""What a report becomes: every file, each once, the same each time."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_io.slide import DicomSlide
from hl7.acks import accept, read_ack
from hl7.messages import read_header, read_message
from node.codes import load_codes
from node.results.outputs import Output, write_outputs
from node.settings import AnalysisSettings, Hl7Settings, PacsSettings, ReportSettings, ReviewSettings, Settings
from pipeline.domain import Report
from tests.builders import build_no_result, build_report
from tests.slides import write_slide

CODES = load_codes()
COUNTED = {"SEG", "SEGROI", "ANN", "SR", "SR3D", "PDF", "ORU", "RESULT", "GEOJSON", "OVERVIEW"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DicomSlide]:
    with DicomSlide.open(write_slide(tmp_path_factory.mktemp("slide"))) as opened:
        yield opened


def written(report: Report, slide: DicomSlide, settings: Settings, folder: Path) -> dict[str, Output]:
    folder.mkdir()
    made = write_outputs(report, slide, slide.paths, CODES, settings, folder)
    assert {output.path for output in made} == set(folder.iterdir())
    return {output.kind: output for output in made}


def test_a_count_becomes_every_file(slide: DicomSlide, settings: Settings, tmp_path: Path) -> None:
    made = written(build_report(), slide, settings, tmp_path / "out")
    assert set(made) == COUNTED
    assert (made["PDF"].name, made["PDF"].media_type) == ("report.pdf", "application/pdf")
    assert made["PDF"].path.read_bytes().startswith(b"%PDF")


def test_no_result_is_printed_too(slide: DicomSlide, settings: Settings, tmp_path: Path) -> None:
    assert set(written(build_no_result(), slide, settings, tmp_path / "out")) == {"SR", "PDF", "ORU", "RESULT"}


def test_the_same_report_gives_the_same_files(slide: DicomSlide, settings: Settings, tmp_path: Path) -> None:
    first, again = (written(build_report(), slide, settings, tmp_path / name) for name in ("first", "again"))
    assert {kind: output.sha256 for kind, output in first.items()} == {k: o.sha256 for k, o in again.items()}


@pytest.mark.parametrize(
    ("asked", "mode", "code"), [("original", "|", "AA"), ("accept", "AL|NE", "CA"), ("application", "NE|AL", "AA")]
)
def test_a_site_chooses_how_its_lis_acknowledges(
    slide: DicomSlide, tmp_path: Path, asked: str, mode: str, code: str
) -> None:
    settings = Settings(home=tmp_path, hl7=Hl7Settings.model_validate({"acknowledgement": asked}))
    result = written(build_no_result(), slide, settings, tmp_path / "out")["ORU"].path.read_bytes()
    assert f"|2.5.1|||{mode}||".encode() in result
    (answer,) = accept(result, at=datetime.now(UTC), control_id="A1")
    assert read_message(answer).segments[1].value(1) == code
    read_ack(answer, read_header(result).control_id)


def test_an_archive_that_wants_the_document_has_it_as_an_object(
    slide: DicomSlide, settings: Settings, tmp_path: Path
) -> None:
    pacs = PacsSettings(name="archive", url="http://x", kinds=("SR", "PDFDCM"))
    made = written(build_report(), slide, settings.model_copy(update={"pacs": (pacs,)}), tmp_path / "out")
    assert set(made) == COUNTED | {"PDFDCM"}
    document = dcmread(made["PDFDCM"].path)
    assert made["PDFDCM"].name == "report.dcm"
    assert document.EncapsulatedDocument[: document.EncapsulatedDocumentLength] == made["PDF"].path.read_bytes()
    assert document.SOPInstanceUID == made["PDFDCM"].sop_instance_uid
    assert document.VerificationFlag == "UNVERIFIED"


@pytest.mark.parametrize("wanted", [True, False])
def test_the_document_goes_out_in_the_oru_by_setting(
    slide: DicomSlide, settings: Settings, tmp_path: Path, wanted: bool
) -> None:
    site = settings.model_copy(update={"hl7": Hl7Settings(pdf_in_oru=wanted)})
    made = written(build_report(), slide, site, tmp_path / "out")
    documents = [
        s for s in read_message(made["ORU"].path.read_bytes()).segments if s.name == "OBX" and s.raw(2) == "ED"
    ]
    sent = [base64.b64decode(document.text(5, 5)) for document in documents]
    assert sent == ([made["PDF"].path.read_bytes()] if wanted else [])


def test_the_sites_minimum_is_the_one_that_is_named(slide: DicomSlide, settings: Settings, tmp_path: Path) -> None:
    report = build_report()
    for wanted, low in ((220, False), (500, True)):
        site = settings.model_copy(update={"analysis": AnalysisSettings(minimum_cells=wanted)})
        message = written(report, slide, site, tmp_path / f"{wanted}")["ORU"].path.read_text()
        assert ("Low count: 220 cells, at least 500 are wanted." in message) is low


def test_alerts_of_the_count_change_the_printed_report(slide: DicomSlide, settings: Settings, tmp_path: Path) -> None:
    plain = written(build_report(), slide, settings, tmp_path / "plain")
    strict = settings.model_copy(update={"review": ReviewSettings(blast_percent=1)})
    alarmed = written(build_report(), slide, strict, tmp_path / "alarmed")
    assert {kind for kind in plain if plain[kind].sha256 != alarmed[kind].sha256} == {"PDF"}


def test_paper_and_pictures_are_the_sites_and_the_slides(slide: DicomSlide, settings: Settings, tmp_path: Path) -> None:
    plain = written(build_report(), slide, settings, tmp_path / "plain")["PDF"].path.read_bytes()
    letter = settings.model_copy(update={"report": ReportSettings(paper="Letter", laboratory="Example")})
    assert written(build_report(), slide, letter, tmp_path / "letter")["PDF"].path.read_bytes() != plain
    report = build_report()
    assert report.analysis is not None
    cells = tuple(replace(cell, class_name="smudge cell") for cell in report.analysis.cells)
    without = replace(report, analysis=replace(report.analysis, cells=cells))
    few = written(without, slide, settings, tmp_path / "few")["PDF"].path.read_bytes()
    assert plain.count(b"/DCTDecode") > 10  # strips of this plain slide that are alike are kept once
    assert b"/DCTDecode" not in few
