"""Frames as they are stored, by offset (PS3.5 A.4, PS3.3 C.7.6.3.1.8): a request never reads the whole instance."""

import os
import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import parse_fragments
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_io.errors import InstanceRejected, SlideError
from dicom_io.header import parse_header, read_dataset
from dicom_io.scan import (
    EXTENDED_OFFSET_TABLE,
    EXTENDED_OFFSET_TABLE_LENGTHS,
    UNDEFINED,
    UNREADABLE,
    Element,
    elements,
    read_start,
)

_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # float, double float, integer
_ITEM_HEAD = 8
_ITEM_TAG = struct.pack("<HH", 0xFFFE, 0xE000)
_END_MARKERS = (b"\xff\xd9",)  # of JPEG, JPEG-LS and JPEG 2000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredFrames:
    """Where the frames of one instance are in its file.

    Attributes
    ----------
    starts : ndarray of uint64
        Position in the file of each frame's first byte, for encapsulated frames of its first item.
    ends : ndarray of uint64
        Position after each frame's last byte, or after its last item.
    bits : int
        Bits of one native frame; 0 for encapsulated frames. Native 1-bit frames follow each other without padding.
    """

    path: Path
    transfer_syntax_uid: str
    starts: NDArray[np.uint64]
    ends: NDArray[np.uint64]
    bits: int = 0

    @property
    def count(self) -> int:
        return len(self.starts)

    def length(self, number: int) -> int:
        """How many bytes `read(number)` gives, without reading a frame that is one item.

        Raises
        ------
        IndexError
            There is no such frame.
        """
        start, end = self._place(number)
        if self.bits:
            return (self.bits + 7) // 8
        with self.path.open("rb") as file:
            head = os.pread(file.fileno(), _ITEM_HEAD, start)
        if head[:4] == _ITEM_TAG and start + _ITEM_HEAD + int.from_bytes(head[4:], "little") == end:
            return end - start - _ITEM_HEAD
        return len(self.read(number))

    def read(self, number: int) -> bytes:
        """Frame `number`, from 1, as stored; a native frame of single bits starts on a byte of its own.

        Raises
        ------
        IndexError
            There is no such frame.
        SlideError
            The file has changed or is damaged.
        """
        start, end = self._place(number)
        with self.path.open("rb") as file:
            stored = os.pread(file.fileno(), end - start, start)
        if len(stored) != end - start:
            raise SlideError(f"{self.path.name}: frame {number} is cut off; send the instance again")
        if self.bits:
            return _align(stored, (number - 1) * self.bits % 8, self.bits)
        return _join_items(stored, self.path.name)

    def _place(self, number: int) -> tuple[int, int]:
        if not 1 <= number <= self.count:
            raise IndexError(f"frame {number} of {self.count}")
        return int(self.starts[number - 1]), int(self.ends[number - 1])


class FrameTables:
    """The tables of the instances asked for last; safe to use from several threads.

    A kept instance never changes, so a table stays true as long as its file is there.

    Parameters
    ----------
    capacity : int
        Frames of all tables together; each takes 16 bytes.
    """

    def __init__(self, capacity: int = 4_000_000) -> None:
        self._free = capacity
        self._tables: OrderedDict[Path, StoredFrames] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, path: Path) -> StoredFrames:
        """The table of the instance at `path`, made at first use."""
        with self._lock:
            if path in self._tables:
                self._tables.move_to_end(path)
                return self._tables[path]
        table = locate_frames(path)
        with self._lock:
            if path not in self._tables:
                self._tables[path] = table
                self._free -= table.count
            while self._free < 0 and len(self._tables) > 1:
                self._free += self._tables.popitem(last=False)[1].count
        return table


def locate_frames(path: Path) -> StoredFrames:
    """Find the frames of the instance at `path` from its offset tables, without reading the frames.

    Raises
    ------
    SlideError
        The instance has no pixel data, or its frames cannot be told apart.
    """
    header = parse_header(path)
    start = read_start(path)
    if start.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        raise SlideError(
            f"{path.name} is deflated as a whole: its frames have no place of their own; fetch the instance"
        )
    try:
        with path.open("rb") as file:
            found: dict[int, Element] = {}
            for element in elements(file, start):
                found[element.tag] = element
                if element.tag in _PIXELS:
                    break  # before its frames are walked through
            else:
                raise SlideError(f"{path.name} has no PixelData (7FE0,0010): it is not an image")
            if element.length != UNDEFINED:
                return _native(path, start.transfer_syntax_uid, element, header.number_of_frames)
            starts, ends = _Encapsulated(path, element, found, header.number_of_frames).locate()
    except (*UNREADABLE, InstanceRejected) as exc:
        raise SlideError(f"{path.name}: PixelData (7FE0,0010) is damaged ({exc}); send the instance again") from exc
    return StoredFrames(path=path, transfer_syntax_uid=start.transfer_syntax_uid, starts=starts, ends=ends)


def _native(path: Path, transfer_syntax_uid: str, pixels: Element, count: int) -> StoredFrames:
    ds = read_dataset(path)
    bits = int(ds.Rows) * int(ds.Columns) * int(ds.SamplesPerPixel) * int(ds.BitsAllocated)
    if ds.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3  # chrominance is sampled at every other pixel (PS3.3 C.7.6.3.1.2)
    numbers = np.arange(count, dtype=np.uint64)
    starts = pixels.offset + numbers * bits // 8
    ends = pixels.offset + ((numbers + 1) * bits + 7) // 8
    if count and int(ends[-1]) > pixels.offset + pixels.length:
        raise SlideError(f"{path.name}: PixelData is shorter than NumberOfFrames, Rows and Columns say")
    return StoredFrames(path=path, transfer_syntax_uid=transfer_syntax_uid, starts=starts, ends=ends, bits=bits)


class _Encapsulated:
    """The frames of encapsulated pixel data: extended offsets, basic offsets, or the items themselves."""

    def __init__(self, path: Path, pixels: Element, found: dict[int, Element], count: int) -> None:
        self._path = path
        self._pixels = pixels
        self._found = found
        self._count = count

    def locate(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        with self._path.open("rb") as file:
            basic_length = struct.unpack("<4xL", os.pread(file.fileno(), _ITEM_HEAD, self._pixels.offset))[0]
            first = self._pixels.offset + _ITEM_HEAD + basic_length
            if EXTENDED_OFFSET_TABLE in self._found:
                return self._extended(file.fileno(), first)
            if basic_length:
                table = os.pread(file.fileno(), basic_length, self._pixels.offset + _ITEM_HEAD)
                return self._basic(file.fileno(), first, np.frombuffer(table, "<u4").astype(np.uint64))
            return self._scan(first)

    def _extended(self, descriptor: int, first: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        offsets, lengths = (
            np.frombuffer(os.pread(descriptor, self._found[tag].length, self._found[tag].offset), "<u8")
            for tag in (EXTENDED_OFFSET_TABLE, EXTENDED_OFFSET_TABLE_LENGTHS)
        )
        starts = offsets.astype(np.uint64) + np.uint64(first)
        return starts, starts + _ITEM_HEAD + lengths.astype(np.uint64)

    def _basic(
        self, descriptor: int, first: int, offsets: NDArray[np.uint64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        starts = offsets + np.uint64(first)
        last = self._items_from(int(starts[-1]))
        return starts, np.append(starts[1:], np.uint64(last[-1]))

    def _scan(self, first: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """No offset table: one item a frame, or all items one frame, or an end marker closes a frame."""
        edges = self._items_from(first)
        items = len(edges) - 1
        if self._count == 1 and items:
            starts, ends = edges[:1], edges[-1:]
        elif items == self._count:
            starts, ends = edges[:-1], edges[1:]
        else:
            closing = [edge for edge in edges[1:] if self._is_closed_at(edge)]
            starts, ends = [first, *closing[:-1]], closing
        if len(ends) != self._count:
            raise SlideError(
                f"{self._path.name}: {items} items of pixel data for {self._count} frames and no offset table; "
                "ask the sender for one item a frame"
            )
        return np.array(starts, np.uint64), np.array(ends, np.uint64)

    def _items_from(self, position: int) -> list[int]:
        """Where the items from `position` on start, and where the last one ends."""
        with self._path.open("rb") as file:
            file.seek(position)
            _, starts = parse_fragments(file)
            length = struct.unpack("<4xL", os.pread(file.fileno(), _ITEM_HEAD, starts[-1]))[0]
        return [*starts, starts[-1] + _ITEM_HEAD + length]

    def _is_closed_at(self, edge: int) -> bool:
        with self._path.open("rb") as file:
            tail = os.pread(file.fileno(), 4, edge - 4)
        return any(marker in tail for marker in _END_MARKERS)


def _join_items(stored: bytes, name: str) -> bytes:
    """The fragments of one frame without their item heads."""
    parts = []
    position = 0
    while position + _ITEM_HEAD <= len(stored):
        tag, length = struct.unpack_from("<4sL", stored, position)
        if tag != _ITEM_TAG:
            raise SlideError(f"{name}: the offset table does not lead to a frame; send the instance again")
        parts.append(stored[position + _ITEM_HEAD : position + _ITEM_HEAD + length])
        position += _ITEM_HEAD + length
    return b"".join(parts)


def _align(stored: bytes, shift: int, bits: int) -> bytes:
    """`bits` bits from bit `shift` on, the first in the lowest bit of the first byte (PS3.5 8.1.1)."""
    if shift == 0 and bits % 8 == 0:
        return stored
    unpacked = np.unpackbits(np.frombuffer(stored, np.uint8), bitorder="little")[shift : shift + bits]
    return np.packbits(unpacked, bitorder="little").tobytes()
