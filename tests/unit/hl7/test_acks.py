"""What is answered, in the form of the sender's version, and what the answers of others mean."""

from datetime import UTC, datetime

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from hl7.acks import Outcome, accept, is_refusal, read_ack, refuse, short_control_id
from hl7.errors import NotAcknowledged, ParseError
from hl7.messages import read_message
from hl7.orders import parse_order_message
from pipeline.domain import EntityId

AT = datetime(2026, 10, 5, 9, 0, 1, tzinfo=UTC)
GRANTED = Outcome(granted=True, order_status="SC", filler_order_number=EntityId(value="BMA-77", namespace="MARROWNODE"))
UNKNOWN = Outcome(granted=False, reason="no such order: send its placer order number")


def answers(data, *outcomes, **options):
    return accept(parse_order_message(data), outcomes, at=AT, control_id="ACK1", **options)


def answered(data, *outcomes, **options):
    """The lines of the only answer."""
    (answer,) = answers(data, *outcomes, **options)
    return lines(answer)


def lines(answer):
    assert answer.endswith(b"\r")
    return answer.decode().split("\r")[:-1]


def valid(answer):
    """Strictly valid HL7, which hl7apy checks for every answer but ORR (it wants all of its choices)."""
    message = parse_message("\r".join(answer), validation_level=VALIDATION_LEVEL.STRICT)
    assert message.validate()
    return True


def test_an_oml_is_answered_with_its_orders(message):
    answer = answered(message("oml_o21_two_orders"), GRANTED, GRANTED, UNKNOWN)
    assert answer[0] == ("MSH|^~\\&|MARROWNODE|LAB|LIS|HOSP|20261005090001+0000||ORL^O22^ORL_O22|ACK1|P|2.5.1")
    assert answer[1:] == [
        "MSA|AE|MSG-0003",
        "ERR||ORC^2|204^Unknown key identifier^HL70357|E|||no such order: send its placer order number"
        "|no such order: send its placer order number",
        "PID|1||TEST-4711^^^HOSP^MR||DOE^JANE",
        "ORC|OK|PL-1001^LIS|BMA-77^MARROWNODE|GRP-1|SC",
        "OBR|1|PL-1001^LIS|BMA-77^MARROWNODE|BMDCC^Marrow differential^L",
        "SPM|1|^S26-1-A||BMA^Bone marrow aspirate^L",
        "SAC|||S26-1-A-1",
        "ORC|OK|PL-1002^LIS|BMA-77^MARROWNODE||SC",
        "OBR|2|PL-1002^LIS|BMA-77^MARROWNODE|BMDCC^Marrow differential^L",
        "SPM|2|^S26-2-A||BMA^Bone marrow aspirate^L",
        "ORC|UA|PL-1002^LIS",
        "OBR|3|PL-1002^LIS||IRON^Iron stain^L",
        "SPM|2|^S26-2-A||BMA^Bone marrow aspirate^L",
    ]
    assert valid(answer)


def test_a_specimen_first_order_is_answered_specimen_first(message):
    data = message("oml_o33").replace(b"|||AL|NE", b"")
    answer = answered(data, GRANTED, UNKNOWN, GRANTED)
    assert [line[:6] for line in answer[3:]] == [
        "PID|1|", "SPM|1|", "SAC||S", "ORC|OK", "OBR|1|", "ORC|UC", "OBR|2|", "SPM|2|", "ORC|OK", "OBR|3|",
    ]  # fmt: skip
    assert "ORL^O34^ORL_O34" in answer[0]
    assert valid(answer)


def test_an_o35_is_answered_container_by_container(message):
    answer = answered(message("oml_o35"), GRANTED, GRANTED)
    assert [line[:3] for line in answer[2:]] == ["PID", "SPM", "SAC", "ORC", "OBR", "SAC", "ORC", "OBR"]
    assert "ORL^O36^ORL_O36" in answer[0]


def test_an_orm_is_answered_with_orr_in_its_version(message):
    answer = answered(message("orm_o01_v23"), GRANTED)
    assert answer[0] == "MSH|^~\\&|MARROWNODE|LAB|CERNER|HOSP|20261005090001+0000||ORR^O02|ACK1|P|2.3||||||8859/1"
    assert answer[1:] == [
        "MSA|AA|MSG-0006",
        'PID|1||TEST-4711^^^HOSP^MR||DOE^JANE^^^""',
        "ORC|OK|PL-1001^LIS|BMA-77^MARROWNODE||SC",
        "OBR|1|PL-1001^LIS|BMA-77^MARROWNODE|BMDCC^Marrow differential^L",
    ]


@pytest.mark.parametrize(
    ("control", "granted", "refused"), [("NW", "OK", "UA"), ("CA", "CR", "UC"), ("DC", "DR", "UD"), ("XO", "XR", "UX")]
)
def test_the_control_code_says_what_became_of_the_request(message, control, granted, refused):
    data = message("orm_o01_cancel").replace(b"ORC|CA", b"ORC|" + control.encode())
    assert answered(data, GRANTED)[3].startswith(f"ORC|{granted}|")
    old = answered(data, UNKNOWN)
    assert old[1] == "MSA|AE|MSG-0007|no such order: send its placer order number"
    assert old[2] == "ERR|ORC^1^^204&Unknown key identifier&HL70357"
    assert old[4].startswith(f"ORC|{refused}|")


def test_a_site_can_ask_for_a_plain_ack(message):
    answer = answered(message("oml_o21_two_orders"), GRANTED, GRANTED, GRANTED, plain=True)
    assert "||ACK^O21^ACK|" in answer[0]
    assert answer[1:] == ["MSA|AA|MSG-0003"]
    assert valid(answer)


def in_mode(message, accept_ack, application_ack):
    """A change of one order, with MSH-15 and MSH-16."""
    return message("oml_o21_change").replace(b"|P|2.5.1", f"|P|2.5.1|||{accept_ack}|{application_ack}".encode())


def said(found):
    """MSA-1 of each answer; each is valid and repeats the control id that was sent."""
    codes = []
    for answer in map(lines, found):
        assert valid(answer)
        assert answer[1].split("|")[2] == "MSG-0008"
        codes.append(answer[1].split("|")[1])
    return codes


@pytest.mark.parametrize(
    ("accept_ack", "application_ack", "granted", "refused"),
    [
        ("", "", ["AA"], ["AE"]),
        ("AL", "", ["CA"], ["CE"]),
        ("AL", "NE", ["CA"], ["CE"]),
        ("AL", "AL", ["CA", "AA"], ["CA", "AE"]),
        ("AL", "ER", ["CA"], ["CA", "AE"]),
        ("AL", "SU", ["CA", "AA"], ["CE"]),
        ("SU", "AL", ["CA", "AA"], ["CA", "AE"]),
        ("SU", "NE", ["CA"], ["AE"]),
        ("ER", "AL", ["AA"], ["AE"]),
        ("ER", "SU", ["AA"], ["CE"]),
        ("ER", "NE", [], ["CE"]),
        ("NE", "AL", ["AA"], ["AE"]),
        ("NE", "SU", ["AA"], ["AE"]),
        ("NE", "ER", [], ["AE"]),
        ("NE", "NE", [], ["AE"]),
        ("", "AL", ["AA"], ["AE"]),
        ("al", "ne", ["CA"], ["CE"]),
        ('""', '""', ["AA"], ["AE"]),
        ("Y", "N", ["AA"], ["AE"]),
    ],
)
def test_each_mode_gets_its_answers_and_no_refusal_is_kept_quiet(
    message, accept_ack, application_ack, granted, refused
):
    data = in_mode(message, accept_ack, application_ack)
    assert said(answers(data, GRANTED)) == granted
    assert said(answers(data, UNKNOWN)) == refused
    assert "ERR||ORC^1|204" in answers(data, UNKNOWN)[-1].decode()


def test_the_application_answers_in_a_message_of_its_own(message):
    first, second = map(lines, answers(in_mode(message, "AL", "AL"), GRANTED))
    assert ("ACK^O21^ACK" in first[0], "ORL^O22^ORL_O22" in second[0]) == (True, True)
    assert (first[0].split("|")[9], second[0].split("|")[9]) == ("ACK1", "ACK1-2")
    assert second[0].split("|")[14:16] == ["NE", "NE"]  # it is not to be acknowledged in turn
    assert [line[:3] for line in first] == ["MSH", "MSA"]
    assert "ORC|XR|PL-1001^LIS|BMA-77^MARROWNODE||SC" in second


def test_a_site_may_keep_to_the_accept_acknowledgement(message):
    for application_ack in ("AL", "SU", "ER"):
        data = in_mode(message, "AL", application_ack)
        assert said(answers(data, GRANTED, both=False)) == ["CA"]
        assert said(answers(data, UNKNOWN, both=False)) == ["CE"]


def test_what_refused_is_told_from_what_granted(message):
    assert not is_refusal(b"".join(answers(in_mode(message, "AL", "AL"), GRANTED)))
    assert not is_refusal(b"")
    for accept_ack, application_ack in (("", ""), ("AL", "NE"), ("AL", "AL")):
        assert is_refusal(b"".join(answers(in_mode(message, accept_ack, application_ack), UNKNOWN)))
    strange = answers(message("strange_separators"), UNKNOWN)
    assert is_refusal(strange[0])
    assert is_refusal(refuse(b"", ParseError("no", code=100, reject=True), at=AT, control_id="A"))


def test_errors_count_the_segments_of_the_message(message):
    data = message("oml_o21_prior_results").replace(b"ORC|NW|PL-1002", b"ORC|??|PL-1002")
    with pytest.raises(ParseError) as caught:
        parse_order_message(data)
    assert caught.value.location == "ORC^4^1"  # two prior results stand before it


def test_every_request_needs_its_outcome(message):
    with pytest.raises(ValueError, match="3 requests"):
        accept(parse_order_message(message("oml_o21_two_orders")), [GRANTED], at=AT, control_id="A")


def test_a_message_that_is_no_order_gets_an_ack():
    data = b"MSH|^~\\&|LIS|HOSP|NODE|LAB|2026||ADT^A08^ADT_A01|M1|P|2.5.1\rPID|1\r"
    (answer,) = accept(data, at=AT, control_id="A")
    assert lines(answer)[1] == "MSA|AA|M1"


def test_a_refusal_says_where_and_why(message):
    error = ParseError("PID-3 (patient identifier) is required", code=101, location="PID^1^3")
    answer = lines(refuse(message("oml_o21_change"), error, at=AT, control_id="A"))
    assert answer[1:] == [
        "MSA|AE|MSG-0008",
        "ERR||PID^1^3|101^Required field missing^HL70357|E|||PID-3 (patient identifier) is required"
        "|PID-3 (patient identifier) is required",
    ]
    assert valid(answer)
    old = lines(refuse(message("orm_o01_cancel"), error, at=AT, control_id="A"))
    assert old[2] == "ERR|PID^1^3^101&Required field missing&HL70357"


def test_a_refusal_in_enhanced_mode_is_an_accept_acknowledgement(message):
    error = ParseError("wrong kind", code=200, location="MSH^1^9", reject=True)
    assert lines(refuse(message("oml_o33"), error, at=AT, control_id="A"))[1] == "MSA|CR|MSG-0004"


def test_an_internal_error_may_be_tried_again_and_tells_nothing(message):
    answer = lines(refuse(message("oml_o21_change"), KeyError("DOE^JANE"), at=AT, control_id="A"))
    assert answer[1] == "MSA|AR|MSG-0008"
    assert "207" in answer[2]
    assert "DOE" not in answer[2]


GARBAGE = [
    b"",
    b"\r",
    b"hello",
    bytes(range(256)),
    b"MSH",
    b"MSH|",
    b"MSH||A|B",
    b"MSH^^^^^^",
    b"MSHABCDEF",
    b"MSH|^~\\&|" + b"\xff" * 40,
    b"\xff\xfeM\0S\0H\0|\0",
    b"MSH|^~\\&|A|B|C|D|2026||OML^O21|M1|P|2.5.1||||||KLINGON\rPID",
]


@pytest.mark.parametrize("data", GARBAGE)
def test_whatever_arrives_is_answered(data):
    with pytest.raises(ParseError) as caught:
        parse_order_message(data)
    answer = lines(refuse(data, caught.value, at=AT, control_id="A"))
    assert answer[0].startswith("MSH")
    assert answer[1][4:6] in {"AR", "AE"}
    assert answer[2].startswith("ERR|")


def test_the_answer_keeps_separators_names_and_character_set(message):
    answer = answered(message("strange_separators"), GRANTED)
    assert answer[0].startswith("MSH$%*!@$MARROWNODE$LAB$LIS$HOSP$")
    latin = "MSH|^~\\&|L\\T\\S|Hôpital&x|N|L|2026||ADT^A08|M1|T|2.4||||||8859/1\r".encode("latin-1")
    (answer,) = accept(latin, at=AT, control_id="A")
    assert answer.decode("latin-1").split("|")[4:6] == ["L\\T\\S", "Hôpital&x"]


def test_long_control_ids_become_a_digest():
    assert short_control_id("A" * 20) == "A" * 20
    long = short_control_id("A" * 21)
    assert len(long) == 20
    assert long != short_control_id("A" * 22)


ACK = "MSH|^~\\&|LIS|H|N|L|2026||ACK|9|P|2.5.1\rMSA|{}|{}\rERR||OBX^1^3|103^x^HL70357|E|||JANE DOE\r"


def test_answers_are_understood():
    read_ack(ACK.format("AA", "M1").encode(), "M1")
    read_ack(ACK.format("CA", "M1").encode(), "M1")
    read_ack(ACK.format("AA", "").encode(), "M1")


@pytest.mark.parametrize(
    ("answer", "code", "retryable"),
    [
        (ACK.format("AE", "M1"), "AE", False),
        (ACK.format("CE", "M1"), "CE", False),
        (ACK.format("AR", "M1"), "AR", True),
        (ACK.format("CR", "M1"), "CR", True),
        (ACK.format("AA", "M2"), "AA", True),
        (ACK.format("", "M1"), "", True),
        ("MSH|^~\\&|LIS|H|N|L|2026||ACK|9|P|2.5.1\r", "", True),
        ("no HL7", "", True),
    ],
)
def test_other_answers_are_errors_that_may_or_may_not_be_tried_again(answer, code, retryable):
    with pytest.raises(NotAcknowledged) as caught:
        read_ack(answer.encode(), "M1")
    assert (caught.value.code, caught.value.retryable) == (code, retryable)
    assert "JANE" not in str(caught.value)


def test_our_answers_can_be_read_back(message):
    (answer,) = answers(message("orm_o01_cancel"), GRANTED)
    assert [segment.name for segment in read_message(answer).segments] == ["MSH", "MSA", "PID", "ORC", "OBR"]
    read_ack(answer, "MSG-0007")
