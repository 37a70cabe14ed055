"""Bytes to segments and back: character sets, line ends, escapes, and anything at all."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hl7.acks import Outcome, accept, refuse
from hl7.errors import ParseError
from hl7.messages import Header, Segment, read_header, read_message
from hl7.orders import OrderMessage, parse_order_message
from hl7.text import Separators, escape, read_time, unescape, write_segment, write_time
from tests.unit.hl7.conftest import FIXTURES

HEAD = "MSH|^~\\&|LIS|HOSP|NODE|LAB|20261005||ADT^A08|M1|P|2.5.1"
MESSAGES = [path.read_bytes().replace(b"\n", b"\r") for path in sorted(FIXTURES.glob("o[mr][lm]*.hl7"))]


def name_in(data, **options):
    (pid,) = [segment for segment in read_message(data, **options).segments if segment.name == "PID"]
    return pid.value(5)


@pytest.mark.parametrize(
    ("character_set", "codec", "name"),
    [
        ("", "ascii", "Mueller"),
        ("ASCII", "ascii", "Mueller"),
        ("8859/1", "iso8859-1", "Müller"),
        ("8859/2", "iso8859-2", "Dvořák"),
        ("8859/5", "iso8859-5", "Иванов"),
        ("8859/15", "iso8859-15", "Œuvre€"),
        ("UNICODE UTF-8", "utf-8", "Müller 山田"),
        ("UNICODE UTF-8~8859/1", "utf-8", "Müller"),
        ("unicode utf-8", "utf-8", "Müller"),
        ("~ISO IR87", "ascii", "Yamada"),
        ("ISO IR87", "iso2022_jp", "山田"),
        ("GB 18030-2000", "gb18030", "张伟"),
    ],
)
def test_the_character_set_of_msh_18_is_used(character_set, codec, name):
    text = f"{HEAD}||||||{character_set}\rPID|1||1||{name}\r"
    assert name_in(text.encode(codec)) == name


def test_a_byte_order_mark_says_utf_8():
    assert name_in(b"\xef\xbb\xbf" + f"{HEAD}\rPID|1||1||Müller\r".encode()) == "Müller"


def test_a_site_can_name_the_set_of_silent_senders():
    data = f"{HEAD}\rPID|1||1||Müller\r".encode("latin-1")
    assert name_in(data, default_character_set="8859/1") == "Müller"
    with pytest.raises(ParseError) as caught:
        read_message(data)
    assert (caught.value.code, caught.value.location) == (102, "MSH^1^18")
    assert "ller" not in str(caught.value)


@pytest.mark.parametrize("character_set", ["UNICODE", "UNICODE UTF-16", "ISO IR9999"])
def test_other_character_sets_are_refused(character_set):
    with pytest.raises(ParseError) as caught:
        read_message(f"{HEAD}||||||{character_set}\rPID|1\r".encode())
    assert (caught.value.code, caught.value.location, caught.value.reject) == (103, "MSH^1^18", True)


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_by_its_name(codec):
    data = f"{HEAD}\rPID|1\r".encode(codec)
    with pytest.raises(ParseError, match="UTF-16"):
        read_message(data)


def test_an_utf_16_message_is_still_answered_to_its_sender():
    assert read_header(f"{HEAD}\r".encode("utf-16")).control_id == "M1"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r\n"])
def test_line_ends_are_repaired(end):
    segments = read_message(f"{HEAD}{end}PID|1||1{end}{end}ZXX|a{end}".encode()).segments
    assert [segment.name for segment in segments] == ["MSH", "PID", "ZXX"]


def test_a_line_that_starts_no_segment_continues_the_one_before():
    segments = read_message(f"{HEAD}\nNTE|1||first\nsecond line\nPID|1||1\n".encode()).segments
    assert [segment.name for segment in segments] == ["MSH", "NTE", "PID"]
    assert segments[1].text(3) == "first second line"


@pytest.mark.parametrize("line", ["AML, suspected", "MDS: excluded", "CLL? see 2025"])
def test_text_that_begins_like_a_segment_is_text(line):
    segments = read_message(f"{HEAD}\rNTE|1||Question:\n{line}\rPID|1||1\r".encode()).segments
    assert [segment.name for segment in segments] == ["MSH", "NTE", "PID"]
    assert segments[1].text(3) == f"Question: {line}"


def test_too_many_segments_are_refused():
    with pytest.raises(ParseError, match="segments"):
        read_message((HEAD + "\rNTE|1" * 2_001).encode())


def test_a_field_of_endless_parts_is_refused_before_it_costs_memory():
    segment = Segment("OBR", "OBR|1|" + "~" * 1_000_000, Separators())
    with pytest.raises(ParseError) as caught:
        segment.value(2)
    assert (caught.value.code, caught.value.location) == (102, "OBR^1^2")


def test_leaves_are_found_wherever_they_are():
    segment = Segment("SPM", "SPM|1|a&b^c~d||" + "|" * 50 + "x^^^^^^^^^^^^^y&&z|", Separators())
    assert (segment.value(2), segment.value(2, 1, 2), segment.value(2, 2)) == ("a", "b", "c")
    assert segment.value(2, 1, 1, 2) == "d"
    assert (segment.value(54, 14), segment.value(54, 14, 3)) == ("y", "z")
    assert segment.value(54, 14, 2) == segment.value(99) == segment.value(3) == ""
    assert segment.raw(2) == "a&b^c~d"
    assert segment.repetitions(2) == 2


def test_a_large_encapsulated_document_is_read_whole():
    document = "QUJD" * 1_000_000
    segment = Segment("OBX", f"OBX|1|ED|PDF||LIS^AP^PDF^Base64^{document}||||||F", Separators())
    assert segment.value(5, 5) == document


@pytest.mark.parametrize(
    ("leaf", "text"),
    [
        ("a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f", "a|b^c&d~e\\f"),
        ("one\\.br\\two", "one\ntwo"),
        ("\\H\\bold\\N\\ plain", "bold plain"),
        ("\\X41C3BC\\", "Aü"),
        ("\\X4\\", "\\X4\\"),
        ("\\Zunknown\\ \\C2842\\", "\\Zunknown\\ \\C2842\\"),
        ("\\T\\T\\", "&T\\"),
        ("C:\\data", "C:\\data"),
        ("\\E\\F\\E\\", "\\F\\"),
    ],
)
def test_escapes_are_resolved_once_and_unknown_ones_stay(leaf, text):
    assert unescape(leaf, Separators()) == text


@pytest.mark.parametrize(
    ("character_set", "escaped", "name"),
    [
        ("8859/1", "M\\XFC\\ller", "Müller"),
        ("8859/2", "Dvo\\XF8\\ák", "Dvořák"),
        ("UNICODE UTF-8", "M\\XC3BC\\ller", "Müller"),
        ("", "M\\XC3BC\\ller", "Müller"),
        ("UNICODE UTF-8", "M\\XFC\\ller", "M\\XFC\\ller"),
    ],
)
def test_escaped_bytes_are_of_the_character_set_of_msh_18(character_set, escaped, name):
    text = f"{HEAD}||||||{character_set}\rPID|1||1||{escaped}\r"
    assert name_in(text.encode({"8859/2": "iso8859-2"}.get(character_set, "utf-8"))) == name


def test_nulls_in_the_header_are_read_as_empty():
    header = read_header(f'{HEAD}|||""|""||""\r'.encode())
    assert (header.enhanced, header.character_set) == (False, "")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=40))
def test_what_is_escaped_is_read_back(text):
    written = escape(text)
    assert not set(written) & set("|^~&\r\n\x0b\x1c")
    assert unescape(written, Separators()) == text


def test_segments_are_written_without_trailing_separators():
    assert write_segment("NTE", {1: "1", 3: "x", 9: ""}) == "NTE|1||x"
    assert write_segment("MSH", {3: "A"}) == "MSH|^~\\&|A"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026", datetime(2026, 1, 1)),
        ("202610", datetime(2026, 10, 1)),
        ("20261005", datetime(2026, 10, 5)),
        ("202610050901", datetime(2026, 10, 5, 9, 1)),
        ("20261005090102.25", datetime(2026, 10, 5, 9, 1, 2, 250_000)),
        ("20261005090102.1234567+0000", datetime(2026, 10, 5, 9, 1, 2, 123_456, tzinfo=UTC)),
        ("20261005090102-0330", datetime(2026, 10, 5, 9, 1, 2, tzinfo=timezone(-timedelta(hours=3, minutes=30)))),
        ("20261005+0200", datetime(2026, 10, 5, tzinfo=timezone(timedelta(hours=2)))),
        ("20260630235960", datetime(2026, 6, 30, 23, 59, 59)),  # a leap second
    ],
)
def test_times_are_read_as_precise_as_they_are(text, at):
    assert read_time(text) == at


@pytest.mark.parametrize(
    "text", ["", "26", "2026-10-05", "20261305", "20260230", "2026100525", "yesterday", "2026+9999"]
)
def test_what_is_no_time_is_said(text):
    with pytest.raises(ValueError):
        read_time(text)


def test_times_are_written_with_their_offset():
    assert write_time(datetime(2026, 10, 5, 9, 1, 2, 9, tzinfo=UTC)) == "20261005090102+0000"
    assert write_time(datetime(2026, 10, 5)) == "20261005000000"
    assert write_time(None) == ""


def test_a_header_is_read_from_whatever_there_is():
    assert read_header(b"") == Header()
    assert read_header(b"noise\nMSH|^~\\&|A").sending_application == "A"
    assert read_header(b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|" + b"\xff1|P|2.5.1").message_type == "ORU"


def answered_or_read(data):
    """The only two ways out, an OrderMessage or a ParseError, and each can be answered."""
    at = datetime(2026, 10, 5, tzinfo=UTC)
    try:
        read = parse_order_message(data)
    except ParseError as error:
        answers = (refuse(data, error, at=at, control_id="A"),)
    else:
        assert isinstance(read, OrderMessage)
        answers = accept(read, [Outcome(granted=False)] * len(read.requests), at=at, control_id="A")
    assert answers
    for answer in answers:
        assert answer.startswith(b"MSH")
        assert answer.endswith(b"\r")
        assert not {0x0B, 0x1C} & set(answer)
        assert [line[:3] for line in answer.split(b"\r")].count(b"MSA") == 1


@given(st.binary(max_size=300))
@example(b"\x0b")
@example(b"MSH|^~\\&|")
def test_any_bytes_are_read_or_refused(data):
    answered_or_read(data)


text_parts = st.sampled_from(
    ["|", "^", "~", "&", "\\", "\r", "\n", '""', "\\F\\", "\\X0D\\", "A", "1", " ", "é", "\0", "2026", "NW", "PR", "F"]
    + [f"\r{name}|" for name in ("PID", "PV1", "AL1", "ORC", "OBR", "SPM", "SAC", "TQ1", "NTE", "OBX", "ZZZ", "MSH")]
)


@given(st.lists(text_parts, max_size=80).map("".join), st.sampled_from(["OML^O21", "OML^O33", "OML^O35", "ORM^O01"]))
def test_any_segments_are_read_or_refused(body, kind):
    head = f"MSH|^~\\&|A|B|C|D|2026||{kind}|M1|P|2.5.1||||||UNICODE UTF-8\r"
    answered_or_read((head + "PID|1||1||A\rORC|NW|1\rOBR|1|1||X" + body).encode())


@settings(max_examples=300)
@given(st.sampled_from(MESSAGES), st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=3)), max_size=8))
def test_damaged_orders_are_read_or_refused(message, damages):
    data = bytearray(message)
    for place, replacement in damages:
        at = int(place * (len(data) - 1))
        data[at : at + max(1, len(replacement))] = replacement
    answered_or_read(bytes(data))
