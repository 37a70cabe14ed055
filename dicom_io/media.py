"""Which representation of an object a client accepts (PS3.18 sections 8.7.3 to 8.7.5)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.uid import UID, ExplicitVRLittleEndian

OCTETS = "application/octet-stream"
DICOM = "application/dicom"
_MEDIA_TYPES = (  # PS3.18 table 8.7.3-5
    ("image/jpeg", ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57")),
    ("image/jpeg", ("1.2.840.10008.1.2.4.70",)),
    ("image/jls", ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")),
    ("image/jp2", ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")),
    ("image/jpx", ("1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93")),
    ("image/jphc", ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")),
    ("image/jxl", ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112")),
    ("image/dicom-rle", ("1.2.840.10008.1.2.5",)),
)
_MEDIA_TYPE = {uid: media for media, uids in _MEDIA_TYPES for uid in uids}
_OTHER_NAMES = {"image/x-dicom-rle": "image/dicom-rle", "image/x-jls": "image/jls", "image/jhc": "image/jphc"}
_PARAMETER = re.compile(r';\s*([\w-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;,\s]*)')
_RANGE = re.compile(r'\s*([\w.+*-]+/[\w.+*-]+)((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^;,\s]*))*)\s*(?:,|$)')


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRange:
    """One entry of an Accept header; `part` is the `type` of a multipart one, else empty."""

    media_type: str
    part: str = ""
    transfer_syntax: str = ""
    quality: float = 1.0

    @property
    def wanted(self) -> str:
        """The media type of the object itself."""
        return _OTHER_NAMES.get(self.part or self.media_type, self.part or self.media_type)

    @property
    def multipart(self) -> bool:
        return self.media_type in {"multipart/related", "multipart/*"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """How an object is answered: its media type and transfer syntax, in a multipart body or alone, or decoded."""

    media_type: str
    transfer_syntax: str
    multipart: bool = True
    decoded: bool = False


def parse_accept(header: str) -> tuple[MediaRange, ...]:
    """The entries of an Accept header, most wanted first; an absent or empty one accepts anything."""
    found = []
    for match in _RANGE.finditer(header):
        given = {name.lower(): value.strip('"') for name, value in _PARAMETER.findall(match[2])}
        found.append(
            MediaRange(
                media_type=match[1].lower(),
                part=given.get("type", "").lower(),
                transfer_syntax=given.get("transfer-syntax", ""),
                quality=_quality(given.get("q", "1")),
            )
        )
    accepted = sorted((entry for entry in found if entry.quality > 0), key=lambda entry: -entry.quality)
    return tuple(accepted) or ((MediaRange(media_type="*/*"),) if not header.strip() else ())


def frame_media_type(transfer_syntax: str) -> str:
    """The media type of frames stored in a transfer syntax; native ones are plain octets."""
    return _MEDIA_TYPE.get(transfer_syntax, OCTETS)


def choose_for_frames(accepted: Sequence[MediaRange], stored: str) -> Representation | None:
    """How frames stored in `stored` are answered, or None when the client accepts no form of them (406).

    `application/octet-stream; transfer-syntax=*` takes the stored bytes whatever they are, as viewers expect. Octets
    without a transfer syntax mean uncompressed ones.
    """
    native = frame_media_type(stored)
    for entry in accepted:
        multipart = entry.multipart or entry.media_type == "*/*"
        wanted = entry.wanted
        as_stored = entry.transfer_syntax in {"", "*", stored}
        if wanted in {"*/*", "multipart/related", "multipart/*", "image/*"} and as_stored:
            if wanted == "image/*" and native == OCTETS:
                continue
            return Representation(media_type=native, transfer_syntax=stored, multipart=multipart)
        if wanted == OCTETS and (entry.transfer_syntax in {"*", stored} or (native == OCTETS and as_stored)):
            return Representation(media_type=OCTETS, transfer_syntax=stored, multipart=multipart)
        if wanted == OCTETS and entry.transfer_syntax in {"", ExplicitVRLittleEndian}:
            uncompressed = str(ExplicitVRLittleEndian)
            return Representation(media_type=OCTETS, transfer_syntax=uncompressed, multipart=multipart, decoded=True)
        if wanted == native and as_stored:
            return Representation(media_type=native, transfer_syntax=stored, multipart=multipart)
    return None


def choose_for_instance(accepted: Sequence[MediaRange], stored: str) -> Representation | None:
    """How a whole instance is answered: as it is stored, or not at all."""
    for entry in accepted:
        if entry.wanted not in {DICOM, "*/*", "multipart/related", "multipart/*", "application/*"}:
            continue
        # Without a transfer syntax the standard means Explicit VR Little Endian; what is stored is what was sent.
        if entry.transfer_syntax in {"", "*", stored}:
            multipart = entry.media_type != DICOM
            return Representation(media_type=DICOM, transfer_syntax=stored, multipart=multipart)
    return None


def choose_simple(accepted: Sequence[MediaRange], offered: Sequence[str]) -> str | None:
    """The first of `offered` media types the client accepts, by its wishes."""
    for entry in accepted:
        for media_type in offered:
            family = f"{media_type.split('/', maxsplit=1)[0]}/*"
            if entry.wanted in {media_type, family, "*/*"}:
                return media_type
    return None


def is_compressed(transfer_syntax: str) -> bool:
    """True when pixel data is encapsulated."""
    return bool(UID(transfer_syntax).is_encapsulated)


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0
