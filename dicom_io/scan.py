"""The byte structure of a DICOM file (PS3.5 section 7, PS3.10 section 7), read without decoding values.

Enough to tell a whole file from a truncated one and to find its pixel data, in one pass of seeks.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import split_dataset

from dicom_io.errors import InstanceRejected

CANNOT_UNDERSTAND = 0xC000
PIXEL_DATA = 0x7FE00010
EXTENDED_OFFSET_TABLE = 0x7FE00001
EXTENDED_OFFSET_TABLE_LENGTHS = 0x7FE00002
PIXEL_GROUP = 0x7FE00000
UNDEFINED = 0xFFFFFFFF
ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
_NO_END = 1 << 63  # of a sequence or item that a delimiter closes
UNREADABLE = (  # what pydicom raises on bytes that are not what they should be
    InvalidDicomError,
    BytesLengthException,
    AttributeError,
    EOFError,
    KeyError,
    NotImplementedError,  # a value representation that it does not know
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)

_SEQUENCE_END_BYTES = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
_LONG_VR = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))


def is_of_the_disk(error: Exception) -> bool:
    """Whether an error is of the disk, not of the bytes on it: pydicom raises OSError for a file that ends too soon."""
    return isinstance(error, OSError) and error.errno is not None


@dataclass(frozen=True, slots=True)
class Element:
    """One top-level element: where its value starts and how long it is (`UNDEFINED` when delimited)."""

    tag: int
    vr: bytes
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStart:
    """What stands before the data set."""

    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    offset: int  # of the data set

    @property
    def implicit(self) -> bool:
        """The elements do not say what they are."""
        return self.transfer_syntax_uid == ImplicitVRLittleEndian


def read_start(path: Path) -> FileStart:
    """The file meta information of the file at `path`.

    Raises
    ------
    InstanceRejected
        0xC000 when the file is not DICOM or does not name its transfer syntax.
    """
    try:
        meta, offset = split_dataset(path)
        start = FileStart(
            transfer_syntax_uid=str(meta.get("TransferSyntaxUID", "")),
            sop_class_uid=str(meta.get("MediaStorageSOPClassUID", "")),
            sop_instance_uid=str(meta.get("MediaStorageSOPInstanceUID", "")),
            offset=int(offset),
        )
    except UNREADABLE as exc:
        raise InstanceRejected(CANNOT_UNDERSTAND, f"{path.name} is not a DICOM file (PS3.10)") from exc
    if not start.transfer_syntax_uid:
        raise InstanceRejected(CANNOT_UNDERSTAND, f"{path.name}: TransferSyntaxUID (0002,0010) is absent")
    return start


def dataset_digest(path: Path) -> str:
    """SHA-256 of the data set alone: the file meta information before it is the receiver's, not the sender's."""
    start = read_start(path)
    with path.open("rb") as file:
        file.seek(start.offset)
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_complete(path: Path) -> None:
    """Check that the data set ends where its last element ends.

    Raises
    ------
    InstanceRejected
        0xC000 when bytes are missing or the structure is broken.
    """
    start = read_start(path)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(start.offset, size - len(_SEQUENCE_END_BYTES)))
        if file.read() == _SEQUENCE_END_BYTES:
            return  # encapsulated pixel data was closed
        if start.transfer_syntax_uid in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
            return  # read whole by pydicom before this
        for _ in elements(file, start):
            pass


def require_moderate(path: Path, before: int, largest: int) -> None:
    """Check that what precedes the element `before` fits into memory, as who reads it will hold it there.

    Raises
    ------
    InstanceRejected
        0xC000 when it has more than `largest` bytes.
    """
    if path.stat().st_size <= largest:
        return
    start = read_start(path)
    if start.transfer_syntax_uid in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
        return  # comes with no sender: neither an association nor STOW-RS takes it
    with path.open("rb") as file:
        end = path.stat().st_size
        for element in elements(file, start):
            if element.tag >= before:
                end = element.offset
                break
            if element.length != UNDEFINED and element.offset + element.length - start.offset > largest:
                break  # `end` is no nearer
    if end - start.offset > largest:
        where = f"({before >> 16:04X},{before & 0xFFFF:04X})"
        raise InstanceRejected(CANNOT_UNDERSTAND, f"the values before {where} are too large")


def elements(file: BinaryIO, start: FileStart) -> Iterator[Element]:
    """Every top-level element in order; little endian, not deflated.

    Raises
    ------
    InstanceRejected
        0xC000 where an element passes the end of the file.
    """
    return elements_in(file, whole(file, start), implicit=start.implicit)


def whole(file: BinaryIO, start: FileStart) -> Element:
    """The data set as if it were an item."""
    return Element(ITEM, b"", start.offset, file.seek(0, 2) - start.offset)


def elements_in(file: BinaryIO, body: Element, *, implicit: bool) -> Iterator[Element]:
    """The elements of an item, without those nested in them.

    Raises
    ------
    InstanceRejected
        0xC000 where an element passes the end of the item.
    """
    position = body.offset
    end = _NO_END if body.length == UNDEFINED else body.offset + body.length
    while position < end:
        file.seek(position)
        element = _element(file, implicit=implicit)
        if element.tag == _ITEM_END or (element.tag == 0 and element.length == 0):
            return  # or the zero padding some writers leave behind
        yield element
        position = _end(file, element, implicit=implicit)
    if position > end:
        raise InstanceRejected(CANNOT_UNDERSTAND, f"truncated: {position - end} bytes are missing; send it again")


def items_of(file: BinaryIO, sequence: Element, *, implicit: bool) -> Iterator[Element]:
    """The items of a sequence."""
    position = sequence.offset
    end = _NO_END if sequence.length == UNDEFINED else sequence.offset + sequence.length
    while position < end:
        file.seek(position)
        item = _element(file, implicit=implicit)
        if item.tag != ITEM:
            return
        yield item
        position = _end(file, item, implicit=implicit)


def _end(file: BinaryIO, element: Element, *, implicit: bool) -> int:
    """The position after an element or item."""
    if element.length != UNDEFINED:
        return element.offset + element.length
    return _end_of_sequence(file, element, implicit=implicit or element.vr == b"UN")


def _element(file: BinaryIO, *, implicit: bool) -> Element:
    head = file.read(8)
    if len(head) < 8:
        raise InstanceRejected(CANNOT_UNDERSTAND, "truncated inside an element's header; send it again")
    group, number = struct.unpack_from("<HH", head)
    tag = group << 16 | number
    if group == 0xFFFE or implicit:
        vr, length = b"", struct.unpack_from("<L", head, 4)[0]
    elif head[4:6] in _LONG_VR:
        vr, tail = head[4:6], file.read(4)
        if len(tail) < 4:
            raise InstanceRejected(CANNOT_UNDERSTAND, "truncated inside an element's header; send it again")
        length = struct.unpack("<L", tail)[0]
    else:
        vr, length = head[4:6], struct.unpack_from("<H", head, 6)[0]
    return Element(tag, vr, file.tell(), length)


def _end_of_sequence(file: BinaryIO, element: Element, *, implicit: bool) -> int:
    """The position after the delimiter that closes a sequence or item, whatever is nested in it."""
    file.seek(element.offset)
    depth: list[tuple[int, bool]] = [(_ITEM_END if element.tag == ITEM else _SEQUENCE_END, implicit)]
    while depth:
        closing, implicit = depth[-1]
        inner = _element(file, implicit=implicit)
        if inner.tag in (_SEQUENCE_END, _ITEM_END):
            if inner.tag != closing:
                raise InstanceRejected(CANNOT_UNDERSTAND, f"broken nesting in element {element.tag:08X}")
            depth.pop()
        elif inner.length != UNDEFINED:
            file.seek(inner.length, 1)
        elif inner.tag == ITEM:
            depth.append((_ITEM_END, implicit))
        else:
            depth.append((_SEQUENCE_END, implicit or inner.vr == b"UN"))
    return file.tell()
