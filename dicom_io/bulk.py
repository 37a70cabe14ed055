"""Bulk values where they lie in the file (PS3.18 Annex F.2.6): a request reads the one it asks for.

A bulk value is addressed by its path in the data set, items counted from 1: ``006A0002/3/00660016``.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from pydicom.datadict import dictionary_VR

from dicom_io.errors import InstanceRejected, SlideError
from dicom_io.header import read_dataset, text
from dicom_io.scan import (
    PIXEL_GROUP,
    UNDEFINED,
    UNREADABLE,
    Element,
    FileStart,
    elements_in,
    items_of,
    read_start,
    whole,
)

DOCUMENT = "00420011"  # EncapsulatedDocument
PDF = "application/pdf"
BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_ADDRESS = re.compile(r"[0-9A-F]{8}(?:/[1-9][0-9]{0,8}/[0-9A-F]{8})*")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRange:
    """Bytes of a file, read as they are needed."""

    path: Path
    offset: int
    length: int

    @classmethod
    def whole(cls, path: Path) -> "FileRange":
        return cls(path=path, offset=0, length=path.stat().st_size)

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in pieces of at most 1 MiB."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            left = self.length
            while left and (chunk := file.read(min(left, _CHUNK))):
                left -= len(chunk)
                yield chunk


def locate_bulk(path: Path, address: str) -> FileRange:
    """Where one binary value, little-endian, of the instance at `path` lies.

    Raises
    ------
    KeyError
        No such value, or not a binary one.
    SlideError
        The file cannot be read.
    """
    if not _ADDRESS.fullmatch(address) or int(address[:8], 16) >= PIXEL_GROUP:
        raise KeyError(address)
    try:
        start = read_start(path)
        with path.open("rb") as file:
            found = _find(file, start, address)
    except (InstanceRejected, *UNREADABLE) as exc:
        raise SlideError(f"{path.name} cannot be read: {exc}") from exc
    if found is None:
        raise KeyError(address)
    return FileRange(path=path, offset=found.offset, length=found.length)


def locate_document(path: Path) -> FileRange:
    """Where the PDF lies that the instance at `path` encapsulates (PS3.3 C.24.2), without its padding.

    Raises
    ------
    KeyError
        It encapsulates none.
    """
    ds = read_dataset(path)
    if text(ds, "MIMETypeOfEncapsulatedDocument").lower() != PDF:
        raise KeyError(path.name)
    value = locate_bulk(path, DOCUMENT)
    return replace(value, length=min(value.length, int(ds.get("EncapsulatedDocumentLength") or value.length)))


def _find(file: BinaryIO, start: FileStart, address: str) -> Element | None:
    tags, numbers = address.split("/")[::2], address.split("/")[1::2]
    body, implicit = whole(file, start), start.implicit
    for tag, number in zip(tags, numbers, strict=False):
        sequence = _element(file, body, tag, implicit=implicit)
        if sequence is None or sequence.vr not in {b"SQ", b"UN", b""}:
            return None
        implicit = implicit or sequence.vr == b"UN"
        items = items_of(file, sequence, implicit=implicit)
        item = next(itertools.islice(items, int(number) - 1, None), None)
        if item is None:
            return None
        body = item
    element = _element(file, body, tags[-1], implicit=implicit)
    return element if element is not None and _is_binary(element) else None


def _element(file: BinaryIO, body: Element, tag: str, *, implicit: bool) -> Element | None:
    return next((each for each in elements_in(file, body, implicit=implicit) if each.tag == int(tag, 16)), None)


def _is_binary(element: Element) -> bool:
    vr = element.vr.decode("latin-1")
    if not vr:
        try:
            vr = dictionary_VR(element.tag)
        except KeyError:
            vr = "UN"
    return element.length != UNDEFINED and vr[:2] in BINARY
