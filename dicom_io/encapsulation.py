"""Encapsulated pixel data written frame by frame (PS3.5 A.4, PS3.3 C.7.6.3.1.8)."""

import hashlib
import io
import os
import shutil
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset

from pipeline.domain import RgbImage

_ITEM = struct.pack("<HH", 0xFFFE, 0xE000)
_SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
_PIXEL_DATA = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
_LARGEST_BASIC_OFFSET = 0xFFFFFFFF


class FrameWriter:
    """Encodes frames as baseline JPEG, 4:2:2, into a file beside the one to be; a context manager.

    Parameters
    ----------
    path : Path
        Scratch file, removed at the end, on the volume of the file to be.
    quality : int
        JPEG quality, 1 to 95.
    """

    def __init__(self, path: Path, quality: int) -> None:
        self._path = path
        self._quality = quality
        self._lengths: list[int] = []
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        self._file = self._path.open("w+b")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        for scratch in (self._path, self._path.with_suffix(".dcm")):
            scratch.unlink(missing_ok=True)

    @property
    def count(self) -> int:
        return len(self._lengths)

    @property
    def encoded_bytes(self) -> int:
        return sum(self._lengths)

    @property
    def digest(self) -> str:
        """SHA-256 of the encoded frames so far."""
        return self._digest.hexdigest()

    def append(self, image: RgbImage) -> None:
        """Encode one more frame."""
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=self._quality, subsampling="4:2:2")
        frame = buffer.getvalue()
        self._file.write(_ITEM + struct.pack("<L", len(frame) + len(frame) % 2))
        self._file.write(frame + b"\0" * (len(frame) % 2))
        self._lengths.append(len(frame))
        self._digest.update(frame)

    def save(self, ds: Dataset, path: Path) -> None:
        """Write `ds` with these frames as its pixel data to `path`, which appears whole.

        The Basic Offset Table is filled; beyond its 32 bits the Extended Offset Table takes its place.
        """
        lengths = np.array(self._lengths, dtype=np.uint64)
        ends = np.cumsum(lengths + lengths % 2 + 8)
        offsets = np.concatenate([np.zeros(1, np.uint64), ends[:-1]])
        basic = offsets.astype("<u4").tobytes()
        if int(offsets[-1]) > _LARGEST_BASIC_OFFSET:
            basic = b""
            ds.ExtendedOffsetTable = offsets.astype("<u8").tobytes()
            ds.ExtendedOffsetTableLengths = lengths.astype("<u8").tobytes()
        partial = self._path.with_suffix(".dcm")
        ds.save_as(partial, enforce_file_format=True)
        with partial.open("ab") as file:
            file.write(_PIXEL_DATA + _ITEM + struct.pack("<L", len(basic)) + basic)
            self._file.flush()
            self._file.seek(0)
            shutil.copyfileobj(self._file, file, 1 << 20)
            file.write(_SEQUENCE_END)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
