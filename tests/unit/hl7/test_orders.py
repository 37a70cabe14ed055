"""Orders are read by group, whatever version and habit they come in."""

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from hl7.errors import ParseError
from hl7.orders import FieldOrder, parse_order_message
from hl7.placer import encode_order
from pipeline.domain import EntityId, Patient, Priority
from tests.builders import build_order, build_patient

ORDER = (
    "MSH|^~\\&|LIS|HOSP|NODE|LAB|20261005090000||OML^O21^OML_O21|M1|P|2.5.1\r"
    "PID|1||TEST-4711^^^HOSP^MR||DOE^JANE||19700101|F\r"
    "ORC|NW|PL-1^LIS\r"
    "OBR|1|PL-1^LIS||BMDCC^Marrow differential^L\r"
)


def order_with(**fields):
    """ORDER with some of its lines replaced or, after the last one, added."""
    lines = {line[:3]: line for line in ORDER.split("\r") if line} | fields
    return "".join(f"{line}\r" for line in lines.values() if line).encode()


def only(data, fields=None, **options):
    (request,) = parse_order_message(data, fields, **options).requests
    return request


def refusal(data, **options):
    with pytest.raises(ParseError) as caught:
        parse_order_message(data, **options)
    return caught.value


def test_a_full_order_is_read(message):
    read = parse_order_message(message("oml_o21_prior_results"))
    first, second = read.requests
    assert read.header.control_id == "MSG-0001"
    assert read.header.profiles == ("LAB-1^IHE",)
    assert first.control == "NW"
    assert first.order.patient == Patient(
        patient_id="TEST-4711",
        issuer="HOSP",
        name="Müller^Jürgen^K^Dr.^jun.",
        birth_date=date(1961, 4, 2),
        sex="M",
    )
    assert first.order.placer_order_number == EntityId(value="PL-1001", namespace="LIS")
    assert first.order.filler_order_number is None
    assert first.order.accession_number == "S26-00017"
    assert first.order.container_ids == ("S26-00017-A-1", "S26-00017-A-2")
    assert first.order.specimen_ids == ("S26-00017-A",)
    assert first.order.specimen_type == "119359002"
    assert (first.order.test_code, first.order.test_name) == ("47286-0", "Differential panel - Bone marrow")
    assert first.order.priority is Priority.STAT
    assert first.order.collected_at == datetime(2026, 10, 4, 9, 15, tzinfo=timezone(timedelta(hours=2)))
    assert first.order.comments == ("Pancytopenia\nquery acute leukaemia",)
    assert second.order.container_ids == ("S26-00018-A-1",)


def test_prior_results_are_never_taken_for_orders(message):
    read = parse_order_message(message("oml_o21_prior_results"))
    assert [request.order.accession_number for request in read.requests] == ["S26-00017", "S26-00018"]
    assert read.prior_results == 2


def test_prior_results_without_pid_or_control_are_known_by_their_place(message):
    read = parse_order_message(message("oml_o21_prior_without_control"))
    assert [request.order.placer_order_number.value for request in read.requests] == ["PL-1001"]
    assert read.prior_results == 2


def test_every_order_of_a_message_is_read(message):
    first, second, third = parse_order_message(message("oml_o21_two_orders")).requests
    assert first.order.container_ids == ("S26-1-A-1",)
    assert first.order.priority is Priority.STAT  # the more urgent of two repetitions
    assert second.order.container_ids == ("S26-2-A",)
    assert (third.control, third.order.test_code) == ("NW", "IRON")  # a further OBR of the second ORC
    assert third.order.specimen_ids == second.order.specimen_ids


def test_specimen_first_messages_give_each_order_its_specimen(message):
    read = parse_order_message(message("oml_o33"))
    assert [(r.control, r.order.placer_order_number.value) for r in read.requests] == [
        ("NW", "PL-1001"),
        ("CA", "PL-0999"),
        ("NW", "PL-1002"),
    ]
    assert [r.order.container_ids for r in read.requests] == [("S26-1-A-1",), ("S26-1-A-1",), ("S26-2-A",)]
    assert read.requests[0].order.accession_number == "S26-00017"
    assert read.requests[0].order.specimen_ids == ("S26-1-A", "F1")
    assert read.requests[0].order.priority is Priority.ASAP
    assert read.prior_results == 1


def test_an_order_repeated_below_each_of_its_specimens_is_one_order():
    head, pid, orc, obr = (line for line in ORDER.split("\r") if line)
    specimens = [
        [f"SPM|{number}|S{number}||119359002|||||||||||||2026100{number}", f"SAC|||S{number}-1", orc, obr]
        for number in (1, 2)
    ]
    other = ["SPM|3|S3", "ORC|NW|PL-2^LIS", "OBR|3|PL-2^LIS||BMDCC"]
    lines = [head.replace("O21", "O33"), pid, *specimens[0], *specimens[1], *other]
    first, second, third = parse_order_message("".join(f"{line}\r" for line in lines).encode()).requests
    assert first.order == second.order
    assert (first.order.container_ids, first.order.specimen_ids) == (("S1-1", "S2-1"), ("S1", "S2"))
    assert first.order.collected_at == datetime(2026, 10, 1)
    assert third.order.specimen_ids == ("S3",)


def test_each_container_of_an_o35_has_its_own_orders(message):
    read = parse_order_message(message("oml_o35"))
    assert [r.order.container_ids for r in read.requests] == [("S26-1-A-1",), ("S26-1-A-2",)]
    assert [r.order.specimen_ids for r in read.requests] == [("S26-1-A",), ("S26-1-A",)]


def test_an_orm_of_2_3_is_read(message):
    request = only(message("orm_o01_v23"), FieldOrder(container_ids=("SAC-3", "ZSP-3")))
    assert request.order.accession_number == "S26-00017"
    assert request.order.filler_order_number == EntityId(value="F-17", namespace="LAB")
    assert request.order.specimen_type == "BMA"
    assert request.order.container_ids == ("S26-00017-A-1",)
    assert request.order.priority is Priority.STAT  # ORC-7.6 before OBR-5
    assert request.order.patient.name == "DOE^JANE"
    assert request.order.collected_at == datetime(2026, 10, 4)
    assert request.order.comments == ("urgent",)


def test_fields_younger_than_the_version_are_read_in_place(message):
    data = message("oml_o21_dpow_27")
    assert only(data).order.accession_number == "S26-38"
    without_orc = only(data, FieldOrder(accession_number=("SPM-30", "OBR-18")))
    assert without_orc.order.accession_number == "S26-30"
    assert only(data).order.container_ids == ("S26-1-A-1",)
    assert only(data).order.patient.sex == "F"


def test_the_senders_own_separators_and_escapes_are_used(message):
    request = only(message("strange_separators"))
    assert request.order.patient.name == "DO%E^JANE"
    assert request.order.patient.issuer == "HOSP"
    assert request.order.placer_order_number == EntityId(value="PL|1001", namespace="LIS")
    assert request.order.test_name == "A @ B A !Q! C"


def test_deleted_values_differ_from_absent_ones(message):
    request = only(message("oml_o21_change"))
    assert request.control == "XO"
    assert request.deleted == {"collected_at", "specimen_type"}
    assert request.stated == {
        "patient", "placer_order_number", "accession_number", "test_code", "test_name", "priority", "specimen_ids",
    }  # fmt: skip
    assert request.order.collected_at is None
    assert request.order.specimen_type == ""
    assert request.order.filler_order_number is None


def test_a_value_that_stands_in_for_another_does_not_count_as_stated():
    request = only(order_with(ORC="ORC|XO|PL-1^LIS"))
    assert request.order.accession_number == "PL-1"
    assert request.stated == {"patient", "placer_order_number", "test_code", "test_name"}


def test_an_order_of_our_own_is_read_back():
    order = build_order(
        patient=build_patient(name="Mu|ster^Ma&ria^K^Dr.^jun.", issuer="2.999.1"),
        specimen_type="119359002",
        priority=Priority.STAT,
    )
    data = encode_order(order, control="NW", control_id="M1", at=datetime(2026, 10, 5, tzinfo=UTC))
    assert only(data).order == order


@pytest.mark.parametrize("control", ["NW", "CA", "DC", "OC", "XO", "RP", "RO", "SC", "SN", "NA", "HD"])
def test_order_controls_are_passed_on(control):
    assert only(order_with(ORC=f"ORC|{control}|PL-1^LIS")).control == control


def test_a_cancellation_needs_no_obr():
    request = only(order_with(ORC="ORC|CA|PL-1^LIS", OBR=""))
    assert request.order.placer_order_number == EntityId(value="PL-1", namespace="LIS")


@pytest.mark.parametrize(
    ("segments", "priority"),
    [
        ({"TQ1": "TQ1|1||||||||S"}, Priority.STAT),
        ({"TQ1": "TQ1|1||||||||ROUTINE", "ORC": "ORC|NW|PL-1|||||^^^^^S"}, Priority.ROUTINE),
        ({"OBR": "OBR|1|PL-1||BMDCC" + "|" * 23 + "^^^^^A"}, Priority.ASAP),
        ({"ORC": "ORC|NW|PL-1|||||^^^^^S"}, Priority.STAT),
        ({"OBR": "OBR|1|PL-1||BMDCC|STAT"}, Priority.STAT),
        ({}, Priority.ROUTINE),
    ],
)
def test_priority_is_looked_for_in_its_fields_in_turn(segments, priority):
    assert only(order_with(**segments)).order.priority is priority


def test_what_is_not_understood_is_said():
    data = order_with(ORC="ORC|NW|PL-1", OBR="OBR|1|PL-2||BMDCC|soon||yesterday" + "|" * 11 + "S26-000000000000017")
    request = only(data)
    assert len(request.warnings) == 4
    assert request.order.priority is Priority.ROUTINE
    assert request.order.collected_at is None


def test_the_wanted_authority_chooses_the_patient_identifier():
    data = order_with(PID="PID|1||A-1^^^CLINIC^PI~B-2^^^HOSP^MR~C-3^^^&2.999.7&ISO^PI||DOE^JANE")
    assert only(data).order.patient.patient_id == "B-2"
    assert only(data, FieldOrder(patient_authority=("CLINIC",))).order.patient.patient_id == "A-1"
    wanted = only(data, FieldOrder(patient_authority=("NONE", "2.999.7"))).order.patient
    assert (wanted.patient_id, wanted.issuer) == ("C-3", "2.999.7")


def test_an_observation_can_hold_the_slide_id():
    data = order_with(OBX="OBX|1|ST|SLIDEID^Slide^L||S26-9||||||O")
    assert only(data, FieldOrder(container_ids=("SAC-3", "OBX[SLIDEID]-5"))).order.container_ids == ("S26-9",)


def test_a_field_order_that_names_no_field_is_refused():
    with pytest.raises(ValueError, match="accession_number: 'OBR 18'"):
        FieldOrder(accession_number=("OBR 18",))


@pytest.mark.parametrize(
    ("data", "code", "location", "reject"),
    [
        (order_with(PID=""), 101, "PID^1", False),
        (order_with(PID="PID|1||^^^HOSP^MR||DOE^JANE"), 101, "PID^1^3", False),
        (order_with(PID="PID|1||1||DOE^JANE||born in May"), 102, "PID^1^7", False),
        (order_with(PID="PID|1||1||DOE^JANE||19701301"), 102, "PID^1^7", False),
        (order_with(ORC=""), 101, "ORC^1", False),
        (order_with(ORC="ORC||PL-1"), 101, "ORC^1^1", False),
        (order_with(ORC="ORC|ZZ|PL-1"), 103, "ORC^1^1", False),
        (order_with(ORC="ORC|NW", OBR="OBR|1|||BMDCC"), 101, "ORC^1^2", False),
        (order_with(OBR=""), 101, "OBR^1", False),
        (order_with(OBR="OBR|1|PL-1"), 101, "OBR^1^4", False),
        (order_with(MSH="MSH|^~\\&|LIS|H|N|L|2026||ORU^R01|M1|P|2.5.1"), 200, "MSH^1^9", True),
        (order_with(MSH="MSH|^~\\&|LIS|H|N|L|2026||OML^O99|M1|P|2.5.1"), 201, "MSH^1^9^1^2", True),
        (order_with(MSH="MSH|^~\\&|LIS|H|N|L|2026||OML^O21|M1|P|3.0"), 203, "MSH^1^12", True),
        (order_with(MSH="MSH|^~\\&|LIS|H|N|L|2026||OML^O21|M1|P"), 101, "MSH^1^12", True),
        (order_with(MSH="MSH|^~\\&|LIS|H|N|L|2026||OML^O21||P|2.5.1"), 101, "MSH^1^10", True),
        (order_with(MSH="MSH|^~\\&|LIS|H|N|L|2026|||M1|P|2.5.1"), 101, "MSH^1^9", True),
        (order_with(MSH="MSH||LIS|H|N|L|2026||OML^O21|M1|P|2.5.1"), 101, "MSH^1^2", True),
        (b"", 100, "MSH^1", True),
        (b" \r\n ", 100, "MSH^1", True),
        (b"hello", 100, "MSH^1", True),
        (b"FHS|^~\\&|LIS\rBHS|^~\\&|LIS\r" + ORDER.encode() + b"BTS|1\rFTS|1\r", 200, "FHS^1", True),
        (order_with(PID=f"PID|1||{'1' * 501}||DOE"), 102, "PID^1^3", False),
        (order_with(ORC=f"ORC|NW|{'1' * 501}"), 102, "ORC^1^2", False),
        (order_with(ORC=f"ORC|NW|1^{'L' * 501}"), 102, "ORC^1^2", False),
        (order_with(SPM=f"SPM|1|{'1' * 501}"), 102, "SPM^1^2", False),
        (ORDER.encode() + ORDER.encode().replace(b"M1", b"M2"), 100, "MSH^2", True),
        (ORDER.encode("utf-16"), 102, "MSH^1^18", True),
        (order_with(ORC="ORC|PR|PL-1"), 101, "ORC^1", False),
    ],
)
def test_what_cannot_be_used_is_refused_where_it_is(data, code, location, reject):
    error = refusal(data)
    assert (error.code, error.location, error.reject) == (code, location, reject)


ANOTHER = "PID|2||TEST-9^^^HOSP^MR||ROE^RICHARD\rORC|NW|PL-2^LIS\rOBR|1|PL-2^LIS||BMDCC\r"


def test_no_order_is_taken_for_another_patient_or_left_out():
    old = ORDER.replace("OML^O21^OML_O21", "ORM^O01")
    assert refusal((old + ANOTHER).encode()).location == "PID^2"
    same = "".join(line + "\r" for line in ANOTHER.split("\r")[1:] if line)
    pid = next(line for line in ORDER.split("\r") if line.startswith("PID"))
    assert len(parse_order_message(f"{old}{pid}\r{same}".encode()).requests) == 2
    for behind in (ANOTHER, f"PV1|1|I\r{same}"):
        error = refusal((ORDER + behind).encode())
        assert (error.code, error.location) == (100, "ORC^2")
    resulted = ANOTHER.replace("||BMDCC", "||BMDCC" + "|" * 21 + "F")
    assert parse_order_message((ORDER + resulted).encode()).prior_results == 1


def test_a_caret_in_a_part_of_a_name_does_not_begin_the_next_part():
    assert only(order_with(PID="PID|1||1||DOE\\S\\ROE^JANE")).order.patient.name == "DOE ROE^JANE"


def test_the_processing_id_of_another_system_is_refused():
    assert refusal(order_with(), processing_ids=("T",)).code == 202
    assert only(order_with(), processing_ids=("P",)).control == "NW"


def test_refusals_name_no_patient():
    error = refusal(order_with(PID="PID|1||TEST-4711||SECRETNAME^X||notadate"))
    assert not any(text in str(error) for text in ("TEST-4711", "SECRETNAME", "notadate"))


SHARED_KNOWN_ORDERS = {
    "001_Ochsner_OML_O21_3_hl7_translation_final": ["NW"],
    "002_MN_OML_O21_NBS": ["NW", "NW"],
    "OML-O21-01": ["NW"],
    "OML-O21-03": ["SC", "SC", "SC"],
    "ORM-O01-02": ["NW"],
    "006_Oracle_ORM_O01_2_3_non_NBS": ["NW"],
}
SHARED_REFUSALS = {
    "empty": (100, "MSH^1"),
    "msh_present_but_missing_all_fields": (101, "MSH^1^2"),
    "msh_present_but_missing_msh-2": (101, "MSH^1^2"),
    "msh_present_but_missing_msh-9": (101, "MSH^1^9"),
    "MDHHS-OML-O21-1": (101, "ORC^1"),
    "002_Oracle_ORM_O01": (103, "ORC^1^1"),
    "ORM-O01-06": (101, "OBR^1"),
    "005_MN_ADT_A01": (200, "MSH^1^9"),
}


@pytest.mark.shared
def test_messages_of_real_systems_are_read_or_refused_with_a_place(shared: Path):
    paths = sorted((shared / "hl7").glob("*.hl7"))
    assert len(paths) == 77
    for path in paths:
        try:
            read = parse_order_message(path.read_bytes())
        except ParseError as error:
            assert error.code
            assert error.location
            assert SHARED_REFUSALS.get(path.stem, (error.code, error.location)) == (error.code, error.location)
            assert path.stem not in SHARED_KNOWN_ORDERS
        else:
            assert read.requests
            controls = [request.control for request in read.requests]
            assert SHARED_KNOWN_ORDERS.get(path.stem, controls) == controls
            assert path.stem not in SHARED_REFUSALS


def test_times_keep_their_offset():
    assert only(order_with(SPM="SPM|1|S1||BM" + "|" * 13 + "20261004091500+0000")).order.collected_at == datetime(
        2026, 10, 4, 9, 15, tzinfo=UTC
    )
