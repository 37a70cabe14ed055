"""Attribute matching (PS3.4 C.2.2.2) over records in the DICOM JSON Model.

A key is a tag of eight hexadecimal digits, or the tags that lead to an attribute of a sequence's items:
``00400275.00400009``.
"""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

_TIMES = frozenset({"DA", "TM", "DT"})
_EXACT = frozenset({"UI", "IS", "DS", "US", "UL", "SS", "SL", "FD", "FL", "AT"})
_SINGLE = frozenset({"LT", "ST", "UC", "UR", "UT"})  # a backslash in them is a character like any other
_LISTED = frozenset({"CS", "UI"})  # a comma cannot be in their values: viewers separate lists by it
_RANGE = re.compile(r"[0-9.:+]*-?[0-9.:+]*")


def key_of(name: str) -> str:
    """The key for keywords or tags with dots between them; empty when there is no such attribute."""
    tags = []
    for part in name.split("."):
        if re.fullmatch(r"[0-9A-Fa-f]{8}", part):
            tags.append(part.upper())
        elif (tag := tag_for_keyword(part)) is not None:
            tags.append(f"{tag:08X}")
        else:
            return ""
    return ".".join(tags)


def values_of(key: str, text: str) -> tuple[str, ...]:
    """The values `text` allows; none when it allows any (universal matching, C.2.2.2.3).

    Raises
    ------
    ValueError
        The attribute is a time, and the text neither one nor a range.
    """
    vr = _vr(key)
    if vr in _TIMES and not _RANGE.fullmatch(text):
        raise ValueError(text)
    parts = [text] if vr in _SINGLE else re.split(r"[,\\]" if vr in _LISTED else r"\\", text)
    values = tuple(part for part in parts if part)
    return () if "*" in values else values


def matches(record: Mapping[str, Any], key: str, values: Sequence[str], *, fuzzy: bool) -> bool:
    """True when a value the record has is one of `values`, or when any value will do."""
    if not values:
        return True
    vr, found = _vr(key), _texts(record, key)
    if vr in _EXACT:
        return any(text in values for text in found)
    if vr in _TIMES:
        return any(_in_range(text, value) for text in found for value in values)
    if vr == "PN":
        return any(_matches_name(text, value, fuzzy=fuzzy) for text in found for value in values)
    return any(_matches_wildcard(text, value) for text in found for value in values)


def _vr(key: str) -> str:
    try:
        return dictionary_VR(int(key[-8:], 16))
    except KeyError:
        return "LO"


def _texts(record: Mapping[str, Any], key: str) -> list[str]:
    """The values of an attribute; of a name each of its writings."""
    tag, _, rest = key.partition(".")
    values = [value for value in record.get(tag, {}).get("Value", ()) if value is not None]
    if rest:
        return [text for item in values for text in _texts(item, rest)]
    return [str(text) for value in values for text in (value.values() if isinstance(value, dict) else (value,))]


def _in_range(text: str, asked: str) -> bool:
    low, dash, high = asked.replace(":", "").partition("-")
    text = text.replace(":", "")
    if not dash:
        return text.startswith(low)
    return (not low or text[: len(low)] >= low) and (not high or text[: len(high)] <= high)


def _matches_name(name: str, asked: str, *, fuzzy: bool) -> bool:
    """Without regard to case; fuzzy means that each asked word begins some word of the name (PS3.18 10.6.1.2)."""
    name, asked = name.casefold().rstrip("^"), asked.casefold().rstrip("^")
    if not fuzzy:
        return _matches_wildcard(name, asked)
    words = re.split(r"[\^\s,=]+", name)
    return all(any(_matches_wildcard(word, f"{part}*") for word in words) for part in re.split(r"[\^\s,]+", asked))


def _matches_wildcard(text: str, asked: str) -> bool:
    """`*` and `?` stand for any characters and for one (C.2.2.2.4), without backtracking."""
    return fnmatch.fnmatchcase(text, asked.replace("[", "[[]"))
