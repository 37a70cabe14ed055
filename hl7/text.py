"""Leaves of HL7 v2 text: separators, escapes, character sets, times; one segment written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

# Table 0211; a set that Python decodes with shift states (ISO 2022) is decoded before splitting, as all are
CHARACTER_SETS: Mapping[str, str] = {
    "": "ascii",
    "ASCII": "ascii",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    **{f"8859/{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
    "ISO IR6": "ascii",
    "ISO IR14": "iso2022_jp",
    "ISO IR87": "iso2022_jp",
    "ISO IR159": "iso2022_jp_2",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
}
_TIME = re.compile(r"(\d{4})(\d\d)?(\d\d)?(?:(\d\d)(\d\d)?(\d\d)?(?:\.(\d{1,6})\d*)?)?([+-]\d{4})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Separators:
    """MSH-1 and MSH-2."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"

    @property
    def encoding_characters(self) -> str:
        return self.component + self.repetition + self.escape + self.subcomponent


def codec_name(character_set: str) -> str | None:
    """Python's codec for a table 0211 value; None for one this node does not read."""
    return CHARACTER_SETS.get(character_set.strip().upper())


def unescape(leaf: str, marks: Separators, codec: str = "utf-8") -> str:
    r"""Replace the escape sequences of one leaf (HL7 v2.5.1 2.7); unknown ones stay as written.

    `\H\` and `\N\` (highlighting) vanish, `\.br\` and `\.sp\` become a new line; the bytes of `\Xhh\` are read with
    the message's own `codec`.
    """
    if marks.escape not in leaf:
        return leaf
    mark = re.escape(marks.escape)
    known = {
        "F": marks.field,
        "S": marks.component,
        "T": marks.subcomponent,
        "R": marks.repetition,
        "E": marks.escape,
        "H": "",
        "N": "",
        ".br": "\n",
        ".sp": "\n",
    }

    def replace(found: re.Match[str]) -> str:
        name = found.group(1)
        if name in known:
            return known[name]
        digits = re.fullmatch(r"X((?:[0-9A-Fa-f]{2})+)", name)
        try:
            return bytes.fromhex(digits.group(1)).decode(codec) if digits else found.group(0)
        except UnicodeDecodeError:
            return found.group(0)

    return re.sub(f"{mark}([^{mark}]*){mark}", replace, leaf)


def escape(text: str, marks: Separators | None = None) -> str:
    r"""One leaf ready to send: separators escaped, line ends as `\.br\`, other control characters as `\Xhh\`."""
    marks = marks or Separators()
    mark = marks.escape
    names = {
        mark: "E",
        marks.field: "F",
        marks.component: "S",
        marks.subcomponent: "T",
        marks.repetition: "R",
        "\n": ".br",
    }
    return "".join(
        f"{mark}{names[character]}{mark}"
        if character in names
        else f"{mark}X{ord(character):02X}{mark}"
        if ord(character) < 0x20 or ord(character) == 0x7F
        else character
        for character in re.sub(r"\r\n?", "\n", text)
    )


def write_segment(name: str, fields: Mapping[int, str], marks: Separators | None = None) -> str:
    """One segment of fields that are already escaped; positions not named are empty, none trail."""
    marks = marks or Separators()
    last = max((number for number, value in fields.items() if value), default=0)
    if name in {"MSH", "FHS", "BHS"}:
        parts = [name, marks.encoding_characters, *(fields.get(number, "") for number in range(3, last + 1))]
    else:
        parts = [name, *(fields.get(number, "") for number in range(1, last + 1))]
    return marks.field.join(parts)


def join_components(*parts: str) -> str:
    """Escape and join the components of a field, without trailing separators."""
    return "^".join(escape(part) for part in parts).rstrip("^")


def read_time(text: str) -> datetime:
    """A DTM/TS value; naive when it states no offset, the start of the period when it is less precise.

    Raises
    ------
    ValueError
        Not a time of HL7 v2.5.1 2.A.22.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ValueError("not YYYY[MM[DD[HH[MM[SS[.S]]]]]][+/-ZZZZ]")
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    zone = None
    if offset:
        sign = -1 if offset[0] == "-" else 1
        zone = timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5])))
    return datetime(
        int(year),
        int(month or 1),
        int(day or 1),
        int(hour or 0),
        int(minute or 0),
        min(int(second or 0), 59),
        int((fraction or "0").ljust(6, "0")),
        tzinfo=zone,
    )


def write_time(at: datetime | None) -> str:
    """DTM to the second, with the offset when `at` has one; empty for None."""
    return at.strftime("%Y%m%d%H%M%S%z") if at is not None else ""
