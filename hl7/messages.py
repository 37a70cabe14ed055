"""HL7 v2 in and out of bytes: character set, segments, leaves, escapes, header.

hl7apy 1.3.5 parses each field and checks what leaves; where its ways would misplace what a sender wrote:

- every field is read as `varies`: its own version tables drop the position of fields and components they do not
  know (ORC-38 or SPM-30 in a 2.5.1 message), turn times into `datetime` and double backslashes;
- segments are grouped in `hl7.groups`: its `find_groups` takes a second order for a prior result and drops segments
  out of place together with the position reached;
- a byte order mark and line feeds, which it refuses, are repaired before it sees the text.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_field

from hl7.errors import ParseError
from hl7.text import Separators, codec_name, unescape

NULL = '""'  # HL7 v2.5.1 2.5.3: delete the value; an empty field means no change
SUPPORTED_VERSIONS = ("2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2", "2.9")
LONGEST_VALUE = 500  # of an identifier: databases index it
MAXIMUM_SEGMENTS = 2_000
MAXIMUM_PARTS = 1_000  # of one field: hl7apy spends some 2 kB and 0.3 ms on each

Field = tuple[tuple[tuple[str, ...], ...], ...]  # repetitions of components of subcomponents

_READING_VERSION = "2.6"  # names hl7apy's data types only; the fields themselves are read as `varies`
_AS_VARIES = ("leaf", None, "varies", None, None, -1)
_SEGMENT_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_END = re.compile(r"\r\n|\r|\n")
_ACKNOWLEDGEMENTS = frozenset({"AL", "NE", "ER", "SU"})  # table 0155


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """MSH. Fields 3 to 6 are kept as sent, escapes included, so that an answer returns them unaltered."""

    separators: Separators = field(default_factory=Separators)
    sending_application: str = ""
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    message_type: str = ""
    trigger: str = ""
    structure: str = ""
    control_id: str = ""
    processing_id: str = ""
    version: str = ""
    accept_ack: str = ""
    application_ack: str = ""
    character_set: str = ""
    profiles: tuple[str, ...] = ()

    @property
    def enhanced(self) -> bool:
        """Whether the sender asked for enhanced acknowledgement (HL7 v2.5.1 2.9.3)."""
        return bool(self.accept_ack or self.application_ack)


@dataclass(frozen=True)
class Segment:
    """One segment as text; a field is parsed when it is first read."""

    name: str
    line: str
    separators: Separators
    codec: str = "utf-8"
    _read: dict[int, Field] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def _texts(self) -> list[str]:
        """Fields as sent, by number."""
        texts = self.line.split(self.separators.field)
        return [texts[0], self.separators.field, *texts[1:]] if self.name == "MSH" else texts

    def raw(self, number: int) -> str:
        """The field as sent: all repetitions, escapes kept."""
        return self._texts[number].strip() if number < len(self._texts) else ""

    def parsed(self, number: int) -> Field:
        """Repetitions → components → subcomponents of a field, escapes kept."""
        if number not in self._read:
            self._read[number] = _parse_field(self, number)
        return self._read[number]

    def repetitions(self, number: int) -> int:
        return len(self.parsed(number))

    def text(self, number: int, component: int = 1, subcomponent: int = 1, repetition: int = 1) -> str:
        """One leaf, trimmed and unescaped; empty when absent. `""` (delete) is returned as it is."""
        try:
            leaf = self.parsed(number)[repetition - 1][component - 1][subcomponent - 1]
        except IndexError:
            return ""
        return unescape(leaf.strip(), self.separators, self.codec)

    def value(self, number: int, component: int = 1, subcomponent: int = 1, repetition: int = 1) -> str:
        """As `text`, with `""` read as empty."""
        found = self.text(number, component, subcomponent, repetition)
        return "" if found == NULL else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A header and every segment in order, MSH first."""

    header: Header
    segments: tuple[Segment, ...]


def read_message(data: bytes, *, default_character_set: str = "") -> Message:
    """Split a message into segments, whatever its version.

    Parameters
    ----------
    data : bytes
        The message without its MLLP frame. CR LF and LF line ends, a byte order mark and white space around it
        are repaired; a line that starts no segment continues the one before it.
    default_character_set : str
        Table 0211 value read for an empty MSH-18; empty means ASCII, as the standard has it.

    Raises
    ------
    ParseError
        Not an HL7 message, a batch, a character set that is unknown or does not fit, MSH-2 missing.
    """
    refuse_batch(data)
    header = read_header(data)
    text, codec = _decode(data, header.character_set or default_character_set)
    lines = _segment_lines(text, header.separators.field)
    if lines[0][:3] != "MSH":
        raise ParseError("the message does not start with MSH", code=100, location="MSH^1", reject=True)
    _require_header(header, lines[0])
    return Message(header=header, segments=tuple(Segment(line[:3], line, header.separators, codec) for line in lines))


def check_processing(header: Header, processing_ids: Collection[str]) -> None:
    """Raise ParseError for a processing id (MSH-11) that is not among those accepted; none named accepts all."""
    if processing_ids and header.processing_id not in processing_ids:
        raise ParseError(
            f"MSH-11 must be {' or '.join(sorted(processing_ids))} here", code=202, location="MSH^1^11", reject=True
        )


def refuse_second(message: Message) -> None:
    """Raise ParseError where another message stands behind the first: one answer cannot be for both."""
    if any(segment.name == "MSH" for segment in message.segments[1:]):
        raise ParseError(
            "a second MSH stands in the message: send each message in its own MLLP frame",
            code=100,
            location="MSH^2",
            reject=True,
        )


def refuse_batch(data: bytes) -> None:
    """Raise ParseError for a batch or file of messages (HL7 v2.5.1 2.10.3)."""
    start = data[:64].removeprefix(_BYTE_ORDER_MARK).lstrip()[:3]
    if start in {b"FHS", b"BHS"}:
        raise ParseError(
            "FHS/BHS batches are not accepted: send each message in its own MLLP frame",
            code=200,
            location=f"{start.decode()}^1",
            reject=True,
        )


def read_header(data: bytes) -> Header:
    """What can be read of the first MSH, for answering; never raises, unreadable parts are empty."""
    if _is_utf16(data):
        data = data.decode("utf-16", errors="replace").encode()
    start = re.search(rb"(?:^|[\r\n\xbf\s])(MSH[^A-Za-z0-9\s])", data)
    if start is None:
        return Header()
    line = re.split(rb"[\r\n]", data[start.start(1) :], maxsplit=1)[0]
    marks = _separators(line[3:12].decode("latin-1"))
    if marks.field.encode("latin-1") not in line[4:]:
        return Header(separators=marks)
    declared = line.decode("latin-1").split(marks.field)[17:18]
    codec = codec_name(declared[0].split(marks.repetition)[0]) if declared else None
    plain = line.decode("utf-8" if codec in {None, "ascii"} else str(codec), errors="replace")
    stated = ["" if part.strip() == NULL else part for part in plain.split(marks.field)[1:]]
    fields = ["MSH", marks.field, *stated, *[""] * 25]
    kind = [part.strip() for part in fields[9].split(marks.component)] + ["", ""]
    return Header(
        separators=marks,
        sending_application=fields[3],
        sending_facility=fields[4],
        receiving_application=fields[5],
        receiving_facility=fields[6],
        message_type=kind[0],
        trigger=kind[1],
        structure=kind[2],
        control_id=fields[10].strip(),
        processing_id=fields[11].split(marks.component)[0].strip(),
        version=fields[12].split(marks.component)[0].strip(),
        accept_ack=_acknowledgement(fields[15]),
        application_ack=_acknowledgement(fields[16]),
        character_set=fields[18].split(marks.repetition)[0].strip(),
        profiles=tuple(part for part in fields[21].split(marks.repetition) if part.strip()),
    )


def _acknowledgement(text: str) -> str:
    """MSH-15 or MSH-16; a value that is not in its table asks for nothing, lest its sender wait for ever."""
    value = text.strip().upper()
    return value if value in _ACKNOWLEDGEMENTS else ""


def _separators(after_msh: str) -> Separators:
    """The separators of the text behind `MSH`; the recommended ones where they are missing or unusable."""
    default = Separators()
    mark = after_msh[:1]
    listed = after_msh[1:].split(mark, maxsplit=1)[0][:5] if mark else ""
    found = mark + listed[:4]
    if len(listed) < 4 or len(set(found)) < 5 or any(c.isalnum() or not c.isprintable() or c == " " for c in found):
        usable = mark and mark.isprintable() and mark not in default.encoding_characters
        return Separators(field=mark) if usable else default
    return Separators(field=mark, component=found[1], repetition=found[2], escape=found[3], subcomponent=found[4])


def _is_utf16(data: bytes) -> bool:
    return data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"M\0S\0H\0" in data[:12] or b"\0M\0S\0H" in data[:12]


def _decode(data: bytes, character_set: str) -> tuple[str, str]:
    """The text, and the codec that its hexadecimal escapes are read with."""
    if _is_utf16(data):
        raise ParseError(
            "UTF-16 cannot be framed by MLLP: send UNICODE UTF-8", code=102, location="MSH^1^18", reject=True
        )
    body = data.removeprefix(_BYTE_ORDER_MARK)
    codec = codec_name(character_set)
    if codec is None:
        raise ParseError(
            "MSH-18 names a character set this node does not read: send ASCII, 8859/1 to 8859/15 or UNICODE UTF-8",
            code=103,
            location="MSH^1^18",
            reject=True,
        )
    if body is not data and codec == "ascii":
        codec = "utf-8"  # the byte order mark says so
    try:
        return body.decode(codec), "utf-8" if codec == "ascii" else codec
    except UnicodeDecodeError as error:
        raise ParseError(
            f"byte {error.start} does not fit the character set of MSH-18 ({character_set or 'empty, so ASCII'}): "
            "state the character set that was used",
            code=102,
            location="MSH^1^18",
        ) from error


def _segment_lines(text: str, field_mark: str) -> list[str]:
    lines: list[str] = []
    for line in _LINE_END.split(text.strip("\ufeff \t\r\n\0")):
        if _SEGMENT_NAME.match(line) and line[3:].rstrip()[:1] in {"", field_mark}:
            lines.append(line.rstrip())
        elif line.strip() and lines:
            lines[-1] += " " + line.strip()
        elif line.strip():
            raise ParseError("the message does not start with MSH", code=100, location="MSH^1", reject=True)
        if len(lines) > MAXIMUM_SEGMENTS:
            raise ParseError(f"more than {MAXIMUM_SEGMENTS} segments: send a smaller message", code=207, reject=True)
    if not lines:
        raise ParseError("the message is empty", code=100, location="MSH^1", reject=True)
    return lines


def _require_header(header: Header, line: str) -> None:
    listed = line[4:].split(header.separators.field, maxsplit=1)[0]
    stated = header.separators.encoding_characters
    if not listed.startswith(stated) or len(listed) > 5:
        raise ParseError(
            r"MSH-2 must state the encoding characters, such as ^~\&", code=101, location="MSH^1^2", reject=True
        )
    for value, number, name in (
        (header.message_type, 9, "message type"),
        (header.control_id, 10, "message control id"),
        (header.version, 12, "version"),
    ):
        if not value:
            raise ParseError(f"MSH-{number} ({name}) is required", code=101, location=f"MSH^1^{number}", reject=True)
    if header.version not in SUPPORTED_VERSIONS:
        raise ParseError(
            f"MSH-12 names a version this node does not read: send one of {', '.join(SUPPORTED_VERSIONS)}",
            code=203,
            location="MSH^1^12",
            reject=True,
        )


def _parse_field(segment: Segment, number: int) -> Field:
    text, marks = segment.raw(number), segment.separators
    if not text:
        return ()
    separators = sum(map(text.count, (marks.repetition, marks.component, marks.subcomponent)))
    if not separators:
        return (((text,),),)
    if separators > MAXIMUM_PARTS:
        raise ParseError(
            f"a field of more than {MAXIMUM_PARTS} parts cannot be read",
            code=102,
            location=f"{segment.name}^1^{number}",
        )
    characters = {
        "FIELD": marks.field,
        "COMPONENT": marks.component,
        "SUBCOMPONENT": marks.subcomponent,
        "REPETITION": marks.repetition,
        "ESCAPE": marks.escape,
    }
    try:
        repetitions = [
            parse_field(
                repetition,
                f"{segment.name}_{number}",
                _READING_VERSION,
                characters,
                VALIDATION_LEVEL.TOLERANT,
                _AS_VARIES,
            )
            for repetition in text.split(marks.repetition)
        ]
        return tuple(
            tuple(tuple(_leaf(leaf) for leaf in component.children) for component in repetition.children)
            for repetition in repetitions
        )
    except (HL7apyException, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise ParseError(
            f"{segment.name}-{number} cannot be read", code=102, location=f"{segment.name}^1^{number}"
        ) from error


def _leaf(subcomponent: object) -> str:
    held = getattr(subcomponent, "value", None)
    held = getattr(held, "value", held)
    return "" if held is None else str(held)
