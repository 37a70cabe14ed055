"""The ORU^R01 a receiver gets: golden messages, strict validity, and what must not change between sends."""

import base64
import re
from datetime import timedelta

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import MaxLengthReached
from hl7apy.parser import parse_message

from hl7.errors import Hl7Error
from hl7.messages import read_message
from hl7.results import ResultsConfig, encode_oru
from pipeline.domain import COUNTED_CLASSES, EntityId, ResultStatus
from tests.builders import (
    COUNTS,
    build_analysis,
    build_bundle_info,
    build_cells,
    build_codes,
    build_differential,
    build_no_result,
    build_order,
    build_patient,
    build_report,
    build_slide_info,
)

CODES = build_codes()
SITE = ResultsConfig(sending_facility="LAB", receiving_application="LIS", receiving_facility="HOSP")
RANGES = {
    "myeloblast": (0.0, 1.0),
    "lymphocyte": (9.0, 19.0),
    "late erythroblast": (14.0, 20.0),
    "me_ratio": (2.0, 4.0),
}
FINAL = {"status": ResultStatus.FINAL, "revision": 1, "reviewer": "Dr. Petra Prüfer"}


def encode(report, config=SITE, **options):
    return encode_oru(report, CODES, config, **options)


def rows(data, name):
    return [segment for segment in read_message(data).segments if segment.name == name]


def notes(data):
    return [segment.text(3) for segment in rows(data, "NTE")]


def assert_strictly_valid(data):
    parsed = parse_message(data.decode(), validation_level=VALIDATION_LEVEL.STRICT)
    assert parsed.validate()
    kept = [line[:3] for line in parsed.to_er7().split("\r")]  # hl7apy drops what has no place in the structure
    assert kept == [segment.name for segment in read_message(data).segments]


PDF = b"%PDF-1.7 a report"


@pytest.mark.parametrize(
    ("name", "report", "config"),
    [
        ("oru_preliminary", build_report(), SITE),
        (
            "oru_final",
            build_report(**FINAL),
            ResultsConfig(loinc_tiers=("A", "B"), local_first=True, ranges=RANGES, processing_id="T"),
        ),
        ("oru_no_result", build_no_result(), SITE),
        ("oru_no_order", build_report(order=None, bundle=build_bundle_info(classes=COUNTED_CLASSES[:10])), SITE),
    ],
)
def test_the_message_is_the_golden_one(message, name, report, config):
    data = encode(report, config)
    assert data.decode().split("\r") == message(name).decode().split("\r")
    assert_strictly_valid(data)


def test_the_message_with_its_document_is_the_golden_one(message):
    data = encode(build_report(), pdf=PDF)
    assert data.decode().split("\r") == message("oru_document").decode().split("\r")
    assert_strictly_valid(data)  # short enough for hl7apy
    assert base64.b64decode(rows(data, "OBX")[-1].text(5, 5)) == PDF


def test_the_components_add_to_100_and_are_numbered():
    data = encode(build_report())
    observations = rows(data, "OBX")
    assert [obx.value(1) for obx in observations] == [str(number) for number in range(1, 20)]
    percents = [obx.value(5) for obx in observations if obx.value(6) == "%"]
    assert len(percents) == 16
    assert all(re.fullmatch(r"\d{1,3}\.\d", percent) for percent in percents)
    assert sum(round(10 * float(percent)) for percent in percents) == 1000
    assert observations[0].value(5) == "220"


def test_the_same_report_gives_the_same_bytes():
    assert encode(build_report()) == encode(build_report())


def test_each_send_is_later_and_keeps_its_identity():
    sends = [
        encode(build_report()),
        encode(build_report(**FINAL)),
        encode(build_report(status=ResultStatus.CORRECTED, revision=2, reviewer="pp")),
    ]
    for number in (2, 3):
        assert len({rows(data, "OBR")[0].raw(number) for data in sends}) == 1
    times = [rows(data, "OBR")[0].value(22) for data in sends]
    assert times == sorted(set(times))
    identifiers = [[obx.value(3) for obx in rows(data, "OBX")] for data in sends]
    assert identifiers[0] == identifiers[1] == identifiers[2]
    control_ids = {read_message(data).header.control_id for data in sends}
    assert len(control_ids) == 3
    assert all(len(control_id) <= 20 for control_id in control_ids)


@pytest.mark.parametrize(
    ("status", "orc", "method"),
    [
        (ResultStatus.PRELIMINARY, "A", "AIDCC"),
        (ResultStatus.FINAL, "CM", "AIDCCR"),
        (ResultStatus.CORRECTED, "CM", "AIDCCR"),
    ],
)
def test_the_status_is_the_same_everywhere(status, orc, method):
    data = encode(build_report(status=status, reviewer="pp"))
    assert {obx.value(11) for obx in rows(data, "OBX")} == {status.value}
    assert rows(data, "OBR")[0].value(25) == status.value
    assert rows(data, "ORC")[0].value(5) == orc
    assert {obx.value(17) for obx in rows(data, "OBX")} == {method}
    assert_strictly_valid(data)


def test_a_correction_marks_and_explains_only_what_changed():
    before = build_differential(build_cells())
    cells = build_cells({**COUNTS, "lymphocyte": COUNTS["lymphocyte"] - 1, "plasma cell": COUNTS["plasma cell"] + 1})
    corrected = {"status": ResultStatus.CORRECTED, "revision": 2, "reviewer": "Dr. Petra Prüfer", "replaces": before}
    data = encode(build_report(analysis=build_analysis(cells=cells), **corrected))
    assert_strictly_valid(data)
    final, observations = rows(encode(build_report(**FINAL)), "OBX"), rows(data, "OBX")
    assert len(observations) == len(final), "the whole panel"
    marked = {obx.value(3) for obx in observations if obx.value(11) == "C"}
    assert marked == {new.value(3) for old, new in zip(final, observations, strict=True) if old.raw(5) != new.raw(5)}
    assert marked >= {"LYMPHOCYTE", "PLASMA_CELL"}
    assert {obx.value(11) for obx in observations} == {"F", "C"}
    former = {row.name: row.percent for row in before.components}
    assert f"Formerly {former['lymphocyte']:.1f}." in notes(data)
    assert rows(data, "OBR")[0].value(25) == "C"
    assert any(note.startswith("CORRECTED RESULT") for note in notes(data))


def test_a_correction_that_loses_or_gains_the_ratio_says_so():
    with_erythroid, without = build_cells(), build_cells({"myeloblast": 300, "lymphocyte": 100})
    corrected = {"status": ResultStatus.CORRECTED, "revision": 2, "reviewer": "pp"}
    lost = encode(
        build_report(analysis=build_analysis(cells=without), replaces=build_differential(with_erythroid), **corrected)
    )
    assert rows(lost, "OBX")[17].value(11) == "X"
    gained = encode(
        build_report(analysis=build_analysis(cells=with_erythroid), replaces=build_differential(without), **corrected)
    )
    assert rows(gained, "OBX")[17].value(11) == "C"
    assert "Formerly not given." in notes(gained)
    for data in (lost, gained):
        assert_strictly_valid(data)


def test_a_signed_result_has_the_time_of_its_signature():
    signed_at = build_report().analysed_at + timedelta(hours=3)
    data = encode(build_report(**FINAL, signed_at=signed_at))
    assert rows(data, "OBR")[0].value(22) == "20261005131500+0000"
    assert rows(data, "OBX")[0].value(19) == "20261005101500+0000"


def test_no_result_is_a_result_with_its_reason():
    reason = "The focus is too soft to count: " + "scan the slide again | with care. " * 12
    data = encode(build_no_result(reason=reason.strip()))
    first = rows(data, "OBX")[0]
    assert first.value(11) == "X"
    lines = [first.text(5, 1, 1, number) for number in range(1, first.repetitions(5) + 1)]
    assert " ".join(lines) == reason.strip()
    assert rows(data, "OBR")[0].value(25) == "X"
    assert not [obx for obx in rows(data, "OBX") if obx.value(2) == "NM"]
    assert_strictly_valid(data)


def test_nothing_counted_is_no_result_whatever_the_status_says():
    empty = build_analysis(cells=build_cells({"smudge cell": 9}))
    for report in (build_report(analysis=empty), build_report(analysis=None)):
        data = encode(report)
        assert (rows(data, "OBX")[0].value(11), rows(data, "OBR")[0].value(25)) == ("X", "X")
        assert rows(data, "OBX")[0].value(5) == "No cell was counted."
        assert_strictly_valid(data)


@pytest.mark.parametrize(("ratio", "text"), [(12.34, "12.3"), (1.0, "1.0"), (0.04, "0.04")])
def test_a_low_ratio_keeps_two_decimals(ratio, text):
    differential = build_differential(build_cells(), me_ratio=ratio)
    data = encode(build_report(analysis=build_analysis(differential=differential)))
    assert [obx.value(5) for obx in rows(data, "OBX") if obx.value(6) == "{ratio}"] == [text]


def test_without_erythroid_cells_there_is_no_ratio():
    cells = build_cells({"myeloblast": 300, "lymphocyte": 100})
    data = encode(build_report(analysis=build_analysis(cells=cells)))
    (ratio,) = [obx for obx in rows(data, "OBX") if "11138-5" in obx.raw(3)]
    assert (ratio.value(2), ratio.value(5), ratio.value(11)) == ("", "", "X")
    assert "No erythroid cell was counted: the M:E ratio cannot be given." in notes(data)
    assert_strictly_valid(data)


def test_what_a_reader_must_know_is_said():
    bundle = build_bundle_info(classes=tuple(name for name in COUNTED_CLASSES if name != "promonocyte"))
    cells = build_cells({"myeloblast": 40, "lymphocyte": 100, "atypical lymphocyte": 9, "late erythroblast": 20})
    said = "\n".join(notes(encode(build_report(bundle=bundle, analysis=build_analysis(cells=cells)))))
    assert "not reviewed by a person" in said
    assert "Not for diagnostic use" in said
    assert "cannot recognise: promonocyte, " in said
    assert "cannot recognise the class: 0.0 is no finding" in said
    assert "Low count: 160 cells" in said
    assert "9 abnormal lymphoid cells are outside" in said
    assert "The focus of 2 tiles is soft." in said
    synthetic = encode(build_report(slide=build_slide_info(synthetic=True)))
    assert notes(synthetic)[0].startswith("SYNTHETIC IMAGE")


def test_loinc_codes_go_out_by_tier_and_the_local_code_always():
    local = {CODES[name].local_code for name in COUNTED_CLASSES}
    sent = {}
    for tiers in ((), ("A",), ("A", "B"), ("A", "B", "C")):
        components = rows(encode(build_report(), ResultsConfig(loinc_tiers=tiers)), "OBX")[1:17]
        codes = [{obx.value(3, 1), obx.value(3, 4)} for obx in components]
        assert all(len(pair & local) == 1 for pair in codes)
        sent[tiers] = sum(len(pair - local - {""}) for pair in codes)
    assert sent[()] == 0
    assert sent[()] < sent["A",] < sent["A", "B"] < sent["A", "B", "C"] == 15  # none is known for immature monocytes


def test_ranges_are_judged_only_where_the_site_gave_them():
    plain = rows(encode(build_report()), "OBX")
    assert not any(obx.raw(7) or obx.raw(8) for obx in plain)
    judged = rows(encode(build_report(), ResultsConfig(ranges=RANGES)), "OBX")
    flags = {obx.value(3) if obx.value(3) in {"ME"} else obx.raw(3): (obx.raw(7), obx.raw(8)) for obx in judged}
    assert sorted(value for value in flags.values() if value[0]) == [
        ("0-1", "H"), ("14-20", "L"), ("2-4", "N"), ("9-19", "N"),
    ]  # fmt: skip


def test_names_and_texts_are_escaped_and_keep_their_characters():
    patient = build_patient(name="Ňe|w^Ol^of&f^Dr~^\\jr", issuer="2.999.10.1")
    data = encode(build_report(order=build_order(patient=patient), warnings=("line\nbreak | and ^ more",)))
    pid = rows(data, "PID")[0]
    assert [pid.text(5, component) for component in range(1, 6)] == ["Ňe|w", "Ol", "of&f", "\\jr", "Dr~"]
    assert (pid.text(3, 4), pid.text(3, 4, 2), pid.text(3, 4, 3)) == ("", "2.999.10.1", "ISO")
    assert "line\nbreak | and ^ more" in notes(data)
    assert data.count(b"\n") == 0
    assert_strictly_valid(data)


def test_a_patient_without_a_name_or_identifier_still_gives_a_valid_message():
    assert_strictly_valid(encode(build_report(order=build_order(patient=build_patient(name="")))))
    slide = build_slide_info(patient=build_patient(patient_id=""))
    data = encode(build_report(order=None, slide=slide))
    assert not rows(data, "PID")
    assert_strictly_valid(data)


@pytest.mark.parametrize(
    ("manufacturer", "model", "shown"),
    [
        ("ScannerWorks", "SW-100", "SW-100 7^ScannerWorks"),
        ("Philips Medical Systems DMC GmbH", "UFS", "Philips Medical Systems DMC GmbH UFS 7"),
        ("Ä&B Scanners & Co.", "X|Y", "Ä\\T\\B Scanners \\T\\ Co. X\\F\\Y 7"),
    ],
)
def test_a_scanner_with_a_long_name_still_gives_a_valid_message(manufacturer, model, shown):
    data = encode(build_report(slide=build_slide_info(manufacturer=manufacturer, model_name=model)))
    assert {obx.raw(18).split("~")[1] for obx in rows(data, "OBX")} == {shown}
    assert_strictly_valid(data)


def test_long_names_and_numbers_of_others_go_back_as_they_came():
    authority = "University Hospital Laboratory Information System"
    number = EntityId(value="P" * 210, namespace=authority)
    patient = build_patient(patient_id="1" * 210, issuer=authority, name=f"{'N|' * 110}^Maria", sex="s" * 21)
    order = build_order(placer_order_number=number, patient=patient, accession_number="A" * 210)
    data = encode(build_report(order=order))
    for segment, field in (("ORC", 2), ("OBR", 2)):
        assert rows(data, segment)[0].raw(field) == f"{number.value}^{authority}"
    pid = rows(data, "PID")[0]
    assert (pid.value(3), pid.value(3, 4), pid.value(5)) == (patient.patient_id, authority, "N|" * 110)
    assert rows(data, "OBR")[0].value(20) == order.accession_number


def test_what_was_ordered_is_the_alternate_of_the_panel():
    data = encode(build_report(order=build_order(test_code="BMA", test_name="Marrow")))
    assert rows(data, "OBR")[0].raw(4) == "47286-0^Differential panel - Bone marrow^LN^BMA^Marrow^L"


def test_a_report_document_is_sent_up_to_the_limit():
    small = encode(build_report(), pdf=b"%PDF-1.7 " * 40_000)
    document = rows(small, "OBX")[-1]
    assert [document.text(5, component) for component in (2, 3, 4)] == ["AP", "PDF", "Base64"]
    assert document.value(2) == "ED"
    assert document.value(1) == "20"
    large = encode(build_report(), ResultsConfig(maximum_pdf_bytes=10), pdf=b"%PDF-1.7 ...")
    assert len(rows(large, "OBX")) == 19
    assert "The PDF report is larger than 10 bytes and was not sent." in notes(large)


def test_of_a_document_hl7apy_objects_to_the_length_alone():
    pdf = bytes(range(256)) * 40
    data = encode(build_report(), pdf=pdf)
    with pytest.raises(MaxLengthReached) as caught:
        parse_message(data.decode(), validation_level=VALIDATION_LEVEL.STRICT)
    inside = base64.b64encode(pdf).decode()
    assert str(caught.value) == f"The value {inside} exceed the max length: 199"
    assert_strictly_valid(data.replace(inside.encode(), inside[:196].encode()))
    parsed = parse_message(data.decode(), validation_level=VALIDATION_LEVEL.TOLERANT)
    document = parsed.oru_r01_patient_result.oru_r01_order_observation.children[-2].obx  # SPM follows
    assert base64.b64decode(document.obx_5.to_er7().split("^")[-1]) == pdf


def test_a_report_that_cannot_be_written_is_refused():
    analysis = build_analysis()
    short = build_differential(build_cells(), components=analysis.differential.components[:15])
    with pytest.raises(Hl7Error, match=r"add to 100\.0"):
        encode(build_report(analysis=build_analysis(differential=short)))
    with pytest.raises(Hl7Error, match="myeloblast"):
        encode_oru(build_report(), {}, SITE)
    with pytest.raises(Hl7Error, match="MaxLengthReached"):
        encode(build_report(), ResultsConfig(sending_application="9" * 21))


def test_times_are_those_of_specimen_and_analysis():
    report = build_report(order=build_order(collected_at=None))
    obx = rows(encode(report), "OBX")[0]
    assert obx.value(14) == "20261005083000+0000"  # the scan: nobody said when the specimen was taken
    assert obx.value(19) == "20261005101500+0000"
    later = build_report(analysed_at=report.analysed_at + timedelta(hours=1))
    assert encode(later) != encode(build_report())
