"""Retrieving (WADO-RS, PS3.18 section 10.4): instances, metadata, frames and bulk values as they are stored."""

import hashlib
import re
from collections.abc import Iterable

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from dicom_io.dicomjson import read_bulk
from dicom_io.errors import SlideError
from dicom_io.frames import StoredFrames
from dicom_io.media import DICOM, OCTETS, Representation, choose_for_frames, choose_for_instance, choose_simple
from dicom_io.rendered import decode_frame
from node.catalogue import Held
from node.web.dicomweb import PREFIX, DicomWeb, Services, accepted, require_held, require_json, root_of
from node.web.metadata import address_of, metadata_list
from node.web.multipart import Part, multipart_answer
from node.web.problems import RequestError

retrieve = APIRouter(prefix=PREFIX, tags=["dicomweb"])
_FRAME_LIST = re.compile(r"[1-9][0-9]{0,9}(,[1-9][0-9]{0,9})*")
_UNCHANGING = "private, max-age=31536000, immutable"  # a SOP instance never changes under its UID
_STUDY = "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"


@retrieve.get(_STUDY)
def study(request: Request, services: Services, study: str) -> Response:
    """Every instance of a study."""
    return _instances(request, require_held(services, study))


@retrieve.get(_SERIES)
def series(request: Request, services: Services, study: str, series: str) -> Response:
    """Every instance of a series."""
    return _instances(request, require_held(services, study, series))


@retrieve.get(_INSTANCE)
def instance(request: Request, services: Services, study: str, series: str, instance: str) -> Response:
    """One instance."""
    return _instances(request, require_held(services, study, series, instance))


@retrieve.get(_STUDY + "/metadata")
def study_metadata(request: Request, services: Services, study: str) -> Response:
    """The metadata of a study."""
    return _metadata(request, services, require_held(services, study))


@retrieve.get(_SERIES + "/metadata")
def series_metadata(request: Request, services: Services, study: str, series: str) -> Response:
    """The metadata of a series."""
    return _metadata(request, services, require_held(services, study, series))


@retrieve.get(_INSTANCE + "/metadata")
def instance_metadata(request: Request, services: Services, study: str, series: str, instance: str) -> Response:
    """The metadata of an instance."""
    return _metadata(request, services, require_held(services, study, series, instance))


@retrieve.get(_INSTANCE + "/frames/{frames}")
def frames(request: Request, services: Services, study: str, series: str, instance: str, frames: str) -> Response:
    """Frames by number, from 1, separated by commas."""
    (held,) = require_held(services, study, series, instance)
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
    etag = _etag(held.sop_instance_uid, frames, chosen.media_type, chosen.transfer_syntax)
    if _is_known(request, etag):
        return _not_modified(etag)
    headers = {"ETag": etag, "Cache-Control": _UNCHANGING, "Vary": "Accept"}
    contents = [_frame(table, held, number, chosen) for number in numbers]
    if not chosen.multipart:
        return Response(contents[0], headers=headers, media_type=_described(chosen))
    base = f"{address_of(held, root_of(request))}/frames"
    parts = [
        Part(content_type=_described(chosen), content=content, location=f"{base}/{number}")
        for number, content in zip(numbers, contents, strict=True)
    ]
    return multipart_answer(parts, chosen.media_type, headers)


@retrieve.get(_INSTANCE + "/bulkdata/{address:path}")
def bulkdata(request: Request, services: Services, study: str, series: str, instance: str, address: str) -> Response:
    """One binary value, little-endian, by its path in the data set."""
    (held,) = require_held(services, study, series, instance)
    chosen = choose_simple(accepted(request), (OCTETS,))
    if chosen is None:
        raise RequestError(406, "bulk values are octets", field="Accept", remedy=f"accept {OCTETS}")
    etag = _etag(held.sop_instance_uid, address)
    if _is_known(request, etag):
        return _not_modified(etag)
    try:
        value = read_bulk(held.path, address)
    except KeyError as exc:
        remedy = "take the address from the metadata"
        raise RequestError(404, "no such bulk value", field="address", remedy=remedy) from exc
    headers = {"ETag": etag, "Cache-Control": _UNCHANGING, "Vary": "Accept"}
    if all(not entry.multipart and entry.media_type == OCTETS for entry in accepted(request)):
        return Response(value, headers=headers, media_type=OCTETS)
    location = str(request.url.replace(query=""))
    return multipart_answer([Part(content_type=OCTETS, content=value, location=location)], OCTETS, headers)


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
    try:
        return table.read(number)
    except IndexError as exc:
        remedy = f"ask for 1 to {table.count}"
        raise RequestError(404, f"the instance has no frame {number}", field="frames", remedy=remedy) from exc


def _frame(table: StoredFrames, held: Held, number: int, chosen: Representation) -> bytes:
    stored = stored_frame(table, number)
    return decode_frame(held.path, stored).tobytes() if chosen.decoded else stored


def _described(chosen: Representation) -> str:
    return f"{chosen.media_type}; transfer-syntax={chosen.transfer_syntax}"


def _instances(request: Request, instances: Iterable[Held]) -> Response:
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
        alone = not chosen.multipart
        location = address_of(held, root_of(request))
        parts.append(Part(content_type=_described(chosen), content=held.path, location=location))
    if alone and len(parts) == 1:
        headers = {"Content-Type": DICOM, "Content-Length": str(parts[0].length)}
        return StreamingResponse(parts[0].chunks(), headers=headers)
    return multipart_answer(parts, DICOM, {})


def _metadata(request: Request, services: DicomWeb, instances: tuple[Held, ...]) -> Response:
    media_type = require_json(request)
    root = root_of(request)
    etag = _etag(root, media_type, *(held.sop_instance_uid for held in instances))
    if _is_known(request, etag):
        return _not_modified(etag)
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Accept"}
    return Response(metadata_list(instances, root, services.cache), headers=headers, media_type=media_type)


def _etag(*parts: str) -> str:
    return f'"{hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]}"'


def _is_known(request: Request, etag: str) -> bool:
    known = request.headers.get("if-none-match", "")
    return etag in {tag.strip().removeprefix("W/") for tag in known.split(",")}


def _not_modified(etag: str) -> Response:
    return Response(status_code=304, headers={"ETag": etag})
