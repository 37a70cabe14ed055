"""Every object that a signature makes, final and corrected, as other people's software sees it."""

import json
from pathlib import Path

import highdicom as hd
import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from pydicom import dcmread

from node.cases import read_case
from node.codes import load_codes
from node.intake.withdrawing import withdraw
from node.people.accounts import Person, Role
from node.results.result_writer import ResultWriter
from node.review.marking import Wanted
from node.settings import Settings
from node.work.signing_steps import SigningSteps
from node.work.withdrawing_steps import WithdrawingSteps
from pipeline.domain import DifferentialCount
from tests.peers.validators import findings, run
from tests.stored_cases import Site, small_case

PETRA = Person(name="petra", full_name="Dr. Petra Prüfer", role=Role.REVIEWER)
OBJECTS = ("SEG", "SEGROI", "ANN", "SR", "SR3D")
REVISIONS = (1, 2)  # final, corrected
Signed = dict[int, tuple[dict[str, Path], DifferentialCount]]  # files and count by revision


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    """A case signed twice: cells confirmed, moved and rejected, then one of them moved again."""
    home = tmp_path_factory.mktemp("site")
    with Site.at(home) as site:
        case_id = small_case(site, tmp_path_factory.mktemp("scanner"), run=0)
        settings = Settings(home=home)
        desk = site.web_sources(site=settings).reviewing
        steps = SigningSteps(settings, site.database, site.work, ResultWriter(settings, load_codes()))
        made: Signed = {}
        for revision, chosen in zip(
            REVISIONS, ({1: "basophil", 2: "others", 3: "others"}, {2: "basophil"}), strict=True
        ):
            versions = desk.open(case_id).marks.versions
            wanted = [Wanted(cell=cell, seen=int(versions[cell - 1]), class_name=name) for cell, name in chosen.items()]
            desk.change(case_id, 0, wanted, PETRA)
            desk.sign(case_id, 0, desk.open(case_id).marks.version, PETRA, "the rest is clear")
            steps.encode(case_id, revision)
            steps.deliver(case_id, revision)
            view = read_case(site.database, case_id)
            assert view is not None
            made[revision] = ({file.kind: file.path for file in view.files}, desk.open(case_id).count)
        return made


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("revision", REVISIONS)
def test_dciodvfy_finds_nothing_but_the_list(signed: Signed, revision: int, kind: str) -> None:
    assert not findings(signed[revision][0][kind])


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("revision", REVISIONS)
def test_dcmtk_reads_every_object(signed: Signed, revision: int, kind: str) -> None:
    path = signed[revision][0][kind]
    for dump in (run("dcmdump", path), *([run("dsrdump", "+Pl", "+U8", path)] if kind.startswith("SR") else [])):
        assert dump.returncode == 0, dump.stderr
        assert not [line for line in dump.stderr.splitlines() if line.startswith(("E:", "F:"))]


def test_dsrdump_shows_who_verified_and_what_is_replaced(signed: Signed) -> None:
    for kind in ("SR", "SR3D"):
        for revision in REVISIONS:
            said = run("dsrdump", "+U8", signed[revision][0][kind]).stdout
            assert "Verification Flag   : VERIFIED" in said
            assert "Dr. Petra Prüfer" in said
            assert "Predecessor Docs    : 1" in said
        first, second = (dcmread(signed[revision][0][kind]) for revision in REVISIONS)
        assert first.SOPInstanceUID in str(second.PredecessorDocumentsSequence)


@pytest.mark.parametrize("revision", REVISIONS)
def test_dcmqi_reads_the_experts_count(signed: Signed, revision: int, tmp_path: Path) -> None:
    files, count = signed[revision]
    out = tmp_path / "sr.json"
    result = run("tid1500reader", "--inputDICOM", files["SR"], "--outputMetadata", out)
    assert result.returncode == 0, result.stderr
    groups = {group["TrackingIdentifier"]: group for group in json.loads(out.read_text())["Measurements"]}
    for row in count.components:
        items = {item["quantity"]["CodeValue"]: float(item["value"]) for item in groups[row.name]["measurementItems"]}
        assert (items["COUNT"], items["PERCENT"]) == (row.count, row.percent)


@pytest.mark.parametrize("revision", REVISIONS)
def test_highdicom_reads_the_experts_classes(signed: Signed, revision: int) -> None:
    files, count = signed[revision]
    expected = {row.name: row.count for row in count.components if row.count} | {
        name: number for name, number in count.excluded if number
    }
    groups = hd.ann.annread(files["ANN"]).get_annotation_groups()
    assert {group.label: group.number_of_annotations for group in groups} == expected
    segmentation = hd.seg.segread(files["SEG"])
    assert {segment.SegmentLabel for segment in segmentation.SegmentSequence} == set(expected)
    assert {segment.SegmentAlgorithmType for segment in segmentation.SegmentSequence} == {"SEMIAUTOMATIC"}


def test_a_withdrawal_is_legal_too(tmp_path: Path) -> None:
    (home := tmp_path / "site").mkdir()
    (scanner := tmp_path / "scanner").mkdir()
    with Site.at(home) as site:
        case_id = small_case(site, scanner)
        with site.database.write() as connection:
            withdraw(connection, site.work, case_id, "petra", "the glass of another patient")
        settings = Settings(home=home)
        steps = WithdrawingSteps(settings, site.database, site.work, ResultWriter(settings, load_codes()))
        steps.encode(case_id, 1)
        view = read_case(site.database, case_id)
    assert view is not None
    made = {file.kind: file.path for file in view.files}
    assert not findings(made["SR"])
    assert not findings(made["KO"])
    assert "Incorrect Modality Worklist Entry" in run("dsrdump", made["KO"]).stdout
    assert len(hd.ko.KeyObjectSelectionDocument.from_dataset(dcmread(made["KO"])).content.get_references()) == 5
    said = run("dsrdump", "+U8", made["SR"]).stdout
    assert "the glass of another patient" in said
    assert "Predecessor Docs    : 1" in said
    text = made["ORU"].read_bytes().decode()
    assert parse_message(text, validation_level=VALIDATION_LEVEL.STRICT).validate()


def test_uids_are_those_of_their_revision(signed: Signed) -> None:
    uids = [dcmread(signed[revision][0][kind]).SOPInstanceUID for revision in REVISIONS for kind in OBJECTS]
    assert len(set(uids)) == len(uids)


@pytest.mark.parametrize("revision", REVISIONS)
def test_hl7apy_takes_the_message_at_its_strictest(signed: Signed, revision: int) -> None:
    text = signed[revision][0]["ORU"].read_bytes().decode()
    assert parse_message(text, validation_level=VALIDATION_LEVEL.STRICT).validate()
