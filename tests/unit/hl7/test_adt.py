"""Changed and merged patients, as ADT says it."""

from datetime import date

import pytest

from hl7.adt import parse_patient_message
from hl7.errors import ParseError

HEAD = "MSH|^~\\&|HIS|HOSP|NODE|LAB|20261005||ADT^{}|A1|P|2.5.1\rEVN||20261005\r"
PID = "PID|1||NEW-1^^^HOSP^MR~77^^^STATE^SS||Muster^Maria^Anna||19610402|F\r"
MRG = "MRG|88^^^STATE^SS~OLD-1^^^HOSP^MR||||||Muster^Marie\r"


def parse(trigger, *segments, **options):
    return parse_patient_message((HEAD.format(trigger) + "".join(segments)).encode(), **options)


@pytest.mark.parametrize("trigger", ["A08^ADT_A01", "A31^ADT_A05"])
def test_changed_data_are_those_of_pid(trigger):
    (update,) = parse(trigger, PID, "PV1|1|O\r")
    assert (update.patient_id, update.issuer) == ("NEW-1", "HOSP")
    assert (update.patient.patient_id, update.patient.name) == ("NEW-1", "Muster^Maria^Anna")
    assert (update.patient.birth_date, update.patient.sex) == (date(1961, 4, 2), "F")


def test_a_merge_names_both_identifiers():
    (update,) = parse("A40^ADT_A39", PID, MRG)
    assert (update.patient_id, update.issuer, update.patient.patient_id) == ("OLD-1", "HOSP", "NEW-1")
    (update,) = parse("A40^ADT_A39", PID, MRG, authorities=("STATE",))
    assert (update.patient_id, update.patient.patient_id) == ("88", "77")


def test_several_merges_in_one_message():
    second = PID.replace("NEW-1", "NEW-2"), MRG.replace("OLD-1", "OLD-2")
    updates = parse("A40^ADT_A39", PID, MRG, *second)
    assert [(u.patient_id, u.patient.patient_id) for u in updates] == [("OLD-1", "NEW-1"), ("OLD-2", "NEW-2")]


@pytest.mark.parametrize(
    ("trigger", "segments", "code", "location", "reject"),
    [
        ("A01^ADT_A01", (PID,), 201, "MSH^1^9^1^2", True),
        ("A08^ADT_A01", ("PV1|1|O\r",), 101, "PID^1", False),
        ("A08^ADT_A01", ("PID|1||||Muster\r",), 101, "PID^1^3", False),
        ("A40^ADT_A39", (PID,), 101, "MRG^1", False),
        ("A40^ADT_A39", (PID, "MRG|\r"), 101, "MRG^1^1", False),
    ],
)
def test_what_cannot_be_used_is_refused(trigger, segments, code, location, reject):
    with pytest.raises(ParseError) as caught:
        parse(trigger, *segments)
    assert (caught.value.code, caught.value.location, caught.value.reject) == (code, location, reject)


def test_a_message_of_another_kind_of_system_is_refused():
    with pytest.raises(ParseError) as caught:
        parse("A08^ADT_A01", PID, processing_ids=("T",))
    assert (caught.value.code, caught.value.reject) == (202, True)
