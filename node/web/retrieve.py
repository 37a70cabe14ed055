"""Retrieving (WADO-RS, PS3.18 section 10.4): instances, metadata, frames and bulk values as they are stored."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from dicom_io.bulk import DOCUMENT, PDF, FileRange, locate_bulk, locate_document
from dicom_io.errors import SlideError
from dicom_io.frames import StoredFrames
from dicom_io.media import DICOM, OCTETS, Representation, choose_for_frames, choose_for_instance, choose_simple
from dicom_io.rendered import decode_frame
from node.catalogue import Held
from node.web.dicomweb import PREFIX, DicomWeb, Services, accepted, require_held, require_json, root_of
from node.web.metadata import address_of, metadata_list
from node.web.multipart import Part, multipart_answer, single_answer
from node.web.problems import RequestError

retrieve = APIRouter(prefix=PREFIX, tags=["dicomweb"])
_FRAME_LIST = re.compile(r"[1-9][0-9]{0,9}(,[1-9][0-9]{0,9})*")
_STUDY = "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"


@retrieve.get(_STUDY)
def study(request: Request, services: Services, study: str) -> Response:
    """Every instance of a study."""
    return _instances(request, require_held(request, services, study))


@retrieve.get(_SERIES)
def series(request: Request, services: Services, study: str, series: str) -> Response:
    """Every instance of a series."""
    return _instances(request, require_held(request, services, study, series))


@retrieve.get(_INSTANCE)
def instance(request: Request, services: Services, study: str, series: str, instance: str) -> Response:
    """One instance."""
    return _instances(request, require_held(request, services, study, series, instance), one=True)


@retrieve.get(_STUDY + "/metadata")
def study_metadata(request: Request, services: Services, study: str) -> Response:
    """The metadata of a study."""
    return _metadata(request, services, require_held(request, services, study))


@retrieve.get(_SERIES + "/metadata")
def series_metadata(request: Request, services: Services, study: str, series: str) -> Response:
    """The metadata of a series."""
    return _metadata(request, services, require_held(request, services, study, series))


@retrieve.get(_INSTANCE + "/metadata")
def instance_metadata(request: Request, services: Services, study: str, series: str, instance: str) -> Response:
    """The metadata of an instance."""
    return _metadata(request, services, require_held(request, services, study, series, instance))


@retrieve.get(_INSTANCE + "/frames/{frames}")
def frames(request: Request, services: Services, study: str, series: str, instance: str, frames: str) -> Response:
    """Frames by number, from 1, separated by commas."""
    (held,) = require_held(request, services, study, series, instance)
    numbers = frame_numbers(frames)
    table = frame_table(services, held)
    chosen = choose_for_frames(accepted(request), held.transfer_syntax_uid)
    if chosen is None or (len(numbers) > 1 and not chosen.multipart):
        raise RequestError(
            406,
            f"frames are stored in transfer syntax {held.transfer_syntax_uid}",
            field="Accept",
            remedy='accept multipart/related; type="application/octet-stream"; transfer-syntax=*',
        )
    kept = _unchanging(held.sop_instance_uid, frames, chosen.media_type, chosen.transfer_syntax)
    if _is_known(request, kept):
        return _not_modified(kept)
    base = f"{address_of(held, root_of(request))}/frames"
    parts = _frame_parts(table, held, numbers, chosen, base)
    return multipart_answer(parts, chosen.media_type, kept) if chosen.multipart else single_answer(parts[0], kept)


@retrieve.get(_INSTANCE + "/bulkdata/{address:path}")
def bulkdata(request: Request, services: Services, study: str, series: str, instance: str, address: str) -> Response:
    """One binary value, little-endian, by its path in the data set."""
    (held,) = require_held(request, services, study, series, instance)
    ranges = accepted(request)
    media_type = choose_simple(ranges, (OCTETS, PDF) if address == DOCUMENT else (OCTETS,))
    if media_type is None:
        raise RequestError(406, "bulk values are octets", field="Accept", remedy=f"accept {OCTETS}")
    kept = _unchanging(held.sop_instance_uid, address, media_type)
    if _is_known(request, kept):
        return _not_modified(kept)
    try:
        value = locate_document(held.path) if media_type == PDF else locate_bulk(held.path, address)
    except KeyError as exc:
        remedy = "take the address from the metadata"
        raise RequestError(404, "no such bulk value", field="address", remedy=remedy) from exc
    location = f"{address_of(held, root_of(request))}/bulkdata/{address}"
    part = Part(content_type=media_type, length=value.length, chunks=value.chunks, location=location)
    alone = all(not entry.multipart and entry.media_type == media_type for entry in ranges)
    return single_answer(part, kept) if alone else multipart_answer([part], media_type, kept)


def frame_numbers(text: str) -> list[int]:
    """The numbers of a frame list; RequestError 400 when it is none."""
    if not _FRAME_LIST.fullmatch(text):
        raise RequestError(400, "not a list of frame numbers", field="frames", remedy="write 1 or 1,2,3")
    return [int(number) for number in text.split(",")]


def frame_table(services: DicomWeb, held: Held) -> StoredFrames:
    """Where the frames of an instance are; RequestError 404 when it has none."""
    try:
        return services.tables.of(held.path)
    except SlideError as exc:
        raise RequestError(404, "the instance has no frames", field="frames", remedy="retrieve the instance") from exc


def stored_frame(table: StoredFrames, number: int) -> bytes:
    """One frame as stored; RequestError 404 when there is no such frame."""
    _require_frame(table, number)
    return table.read(number)


def _require_frame(table: StoredFrames, number: int) -> None:
    if number > table.count:
        remedy = f"ask for 1 to {table.count}"
        raise RequestError(404, f"the instance has no frame {number}", field="frames", remedy=remedy)


def _frame_parts(
    table: StoredFrames, held: Held, numbers: Sequence[int], chosen: Representation, base: str
) -> list[Part]:
    """Frames as parts, each read when its turn has come."""
    for number in numbers:
        _require_frame(table, number)

    def read(number: int) -> Iterator[bytes]:
        frame = table.read(number)
        yield decode_frame(held.path, frame).tobytes() if chosen.decoded else frame

    # All frames decode to one length; the first is decoded before the answer begins, which refuses a damaged image.
    decoded_length = decode_frame(held.path, table.read(numbers[0])).nbytes if chosen.decoded else 0
    return [
        Part(
            content_type=_described(chosen),
            length=decoded_length or table.length(number),
            chunks=partial(read, number),
            location=f"{base}/{number}",
        )
        for number in numbers
    ]


def _described(chosen: Representation) -> str:
    return f"{chosen.media_type}; transfer-syntax={chosen.transfer_syntax}"


def _instances(request: Request, instances: Sequence[Held], *, one: bool = False) -> Response:
    ranges = accepted(request)
    parts, alone = [], False
    for held in instances:
        chosen = choose_for_instance(ranges, held.transfer_syntax_uid)
        if chosen is None:
            raise RequestError(
                406,
                f"an instance is stored in transfer syntax {held.transfer_syntax_uid} and is not converted",
                field="Accept",
                remedy='accept multipart/related; type="application/dicom"; transfer-syntax=*',
            )
        alone = one and not chosen.multipart
        file = FileRange.whole(held.path)
        location = address_of(held, root_of(request))
        parts.append(Part(content_type=_described(chosen), length=file.length, chunks=file.chunks, location=location))
    kept = (_unchanging if one else _growing)(*(held.sop_instance_uid for held in instances))
    if _is_known(request, kept):
        return _not_modified(kept)
    return single_answer(parts[0], kept) if alone else multipart_answer(parts, DICOM, kept)


def _metadata(request: Request, services: DicomWeb, instances: Sequence[Held]) -> Response:
    media_type = require_json(request)
    root = root_of(request)
    kept = _growing(root, media_type, str(services.inline_bytes), *(held.sop_instance_uid for held in instances))
    if _is_known(request, kept):
        return _not_modified(kept)
    content = metadata_list(instances, root, services.cache, services.inline_bytes)
    return Response(content, headers=kept, media_type=media_type)


def _unchanging(*parts: str) -> dict[str, str]:
    """How long an answer may be kept that follows from one SOP instance, which never changes under its UID."""
    return {**_growing(*parts), "Cache-Control": "private, max-age=31536000, immutable"}


def _growing(*parts: str) -> dict[str, str]:
    """The same for an answer that another instance, or another name of the node, would change."""
    tag = hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]
    return {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache", "Vary": "Accept"}


def _is_known(request: Request, kept: Mapping[str, str]) -> bool:
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    return kept["ETag"] in known or "*" in known


def _not_modified(kept: Mapping[str, str]) -> Response:
    """304 repeats what it says of keeping: a client replaces its own copy's headers by these (RFC 9110 15.4.5)."""
    return Response(status_code=304, headers=kept)
