"""Matching and selection of QIDO-RS (PS3.18 10.6)."""

from pathlib import Path

import pytest

from dicom_io.qido import BadQuery, Level, indexed_attributes, parse_query

RECORD = {
    "00080020": {"vr": "DA", "Value": ["20260305"]},
    "00080030": {"vr": "TM", "Value": ["101500.5"]},
    "00080050": {"vr": "SH", "Value": ["S26-00017"]},
    "00080061": {"vr": "CS", "Value": ["SM", "SEG"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Muster^Maria^^Dr", "Ideographic": "山田^太郎"}]},
    "00100020": {"vr": "LO", "Value": ["TEST-4711"]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00400275": {
        "vr": "SQ",
        "Value": [
            {"00400009": {"vr": "SH", "Value": ["STEP-1"]}},
            {"00400009": {"vr": "SH", "Value": ["STEP-2"]}, "00401001": {"vr": "SH", "Value": ["REQUEST"]}},
        ],
    },
    "00401000": {"vr": "LO"},
}


def matches(*parameters: tuple[str, str]) -> bool:
    return parse_query(Level.STUDY, parameters).matches(RECORD)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PatientID", "TEST-4711", True),
        ("PatientID", "TEST*", True),
        ("PatientID", "TEST-471?", True),
        ("PatientID", "test-4711", False),
        ("PatientID", "", True),
        ("PatientID", "*", True),
        ("00100020", "TEST-4711", True),
        ("PatientName", "muster^maria*", True),
        ("PatientName", "*maria*", True),
        ("PersonName", "*Mar*", True),
        ("PatientName", "Maria", False),
        ("StudyDate", "20260305", True),
        ("StudyDate", "20260301-20260331", True),
        ("StudyDate", "-20260304", False),
        ("StudyDate", "20260305-", True),
        ("StudyTime", "1000-1100", True),
        ("StudyInstanceUID", "9.9,1.2.3", True),
        ("StudyInstanceUID", "9.9\\1.2.3", True),
        ("StudyInstanceUID", "1.2.*", False),
        ("ModalitiesInStudy", "SEG", True),
        ("ModalitiesInStudy", "CT", False),
        ("ModalitiesInStudy", "CT,SM", True),
        ("ModalitiesInStudy", "CT\\SM", True),
        ("ModalitiesInStudy", "S?", True),
        ("PatientID", "OTHER\\TEST-*", True),
        ("PatientID", "TEST-[0-9]*", False),
        ("PatientName", "山田*", True),
        ("RequestAttributesSequence.ScheduledProcedureStepID", "STEP-2", True),
        ("00400275.00400009", "STEP-3", False),
        ("RequestAttributesSequence.RequestedProcedureID", "REQ*", True),
        ("StudyInstanceUID", "*", True),
        ("AccessionNumber", "S26-00018", False),
        ("StudyDescription", "x", False),
    ],
)
def test_one_key(name: str, value: str, expected: bool) -> None:
    assert matches((name, value)) is expected


@pytest.mark.parametrize(
    ("name", "expected"), [("mar", True), ("Mus Mar", True), ("*mus*", True), ("ster", False), ("Mus^Jo", False)]
)
def test_fuzzy_names_match_beginnings_of_words(name: str, expected: bool) -> None:
    assert matches(("PatientName", name), ("fuzzymatching", "true")) is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("9.9", "1.2.3"), True),
        (("1.2.3", "9.9"), True),
        (("9.8", "9.9"), False),
        (("9.9", "*"), True),
        (("9.9", ""), True),
    ],
)
def test_a_key_given_again_adds_to_its_values(values: tuple[str, str], expected: bool) -> None:
    assert matches(*(("StudyInstanceUID", value) for value in values)) is expected


def test_all_keys_must_match() -> None:
    assert matches(("PatientID", "TEST*"), ("ModalitiesInStudy", "SM"))
    assert not matches(("PatientID", "TEST*"), ("ModalitiesInStudy", "CT"))


def test_fields_are_those_of_the_level_and_those_included() -> None:
    def answered(*parameters: tuple[str, str]) -> set[str]:
        return set(parse_query(Level.STUDY, parameters).select(RECORD | {"00281101": {"vr": "US"}}))

    assert "00281101" not in answered()
    assert {"00080050", "00100010", "0020000D"} <= answered()
    assert "00281101" in answered(("includefield", "00281101,AccessionNumber"))
    assert answered(("includefield", "all")) == {*RECORD, "00281101"}


def test_what_is_asked_by_is_answered() -> None:
    record = RECORD | {"00181030": {"vr": "LO", "Value": ["P"]}}
    answered = parse_query(Level.STUDY, [("ProtocolName", "P"), ("00400275.00400009", "*")]).select(record)
    assert {"00181030", "00400275"} <= answered.keys()


def test_many_wildcards_take_no_time() -> None:
    record = {"00100020": {"vr": "LO", "Value": ["a" * 1000]}}
    assert not parse_query(Level.STUDY, [("PatientID", "*a" * 200 + "b")]).matches(record)


def test_unknown_parameters_are_named_and_ignored() -> None:
    query = parse_query(
        Level.SERIES, [("includefield", "Nonsense"), ("Colour", "red"), ("limit", "5"), ("offset", "10")]
    )
    assert query.ignored == ("Nonsense", "Colour")
    assert (query.limit, query.offset) == (5, 10)


@pytest.mark.parametrize(
    ("name", "value"), [("limit", "-1"), ("offset", "x"), ("limit", "9" * 30), ("StudyDate", "yesterday")]
)
def test_a_value_without_meaning_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadQuery) as refused:
        parse_query(Level.STUDY, [(name, value)])
    assert refused.value.field == name


def test_a_file_is_indexed_without_its_long_values(shared: Path) -> None:
    record = indexed_attributes(shared / "dicom" / "highdicom-sm_image.dcm")
    assert record["00080060"] == {"vr": "CS", "Value": ["SM"]}
    assert record["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]
    assert not {"00480105", "52009230", "7FE00010"} & record.keys()
