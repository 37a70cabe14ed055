"""Storing (STOW-RS, PS3.18 section 10.5): an object that comes this way starts the same cases as one by C-STORE."""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from dicom_io.errors import DicomError, InstanceRejected
from dicom_io.header import InstanceHeader, parse_header
from dicom_io.media import DICOM, parse_accept
from dicom_io.store import OUT_OF_RESOURCES
from dicom_io.stow import OTHER_STUDY, PROCESSING_FAILURE, Refused, require_storable, store_response
from node.errors import dimse_status
from node.web.dicomweb import PREFIX, Receiver, Services, json_answer, require_json, root_of
from node.web.multipart import ReceivedPart, receive_parts
from node.web.problems import RequestError

storing = APIRouter(prefix=PREFIX, tags=["dicomweb"])
_SOURCE = "STOW-RS"


@storing.post("/studies")
async def store(request: Request, services: Services) -> Response:
    """Store objects of any study."""
    return await _store(request, services.receiver, None)


@storing.post("/studies/{study}")
async def store_in_study(request: Request, services: Services, study: str) -> Response:
    """Store objects of one study."""
    return await _store(request, services.receiver, study)


async def _store(request: Request, receiver: Receiver, study: str | None) -> Response:
    """200 when every object is kept, 202 when some are, 409 when none is, or 503 when none is for want of space."""
    media_type = require_json(request)
    content_type = request.headers.get("content-type", "")
    if not any(entry.multipart and entry.part == DICOM for entry in parse_accept(content_type)):
        remedy = f'send multipart/related; type="{DICOM}"'
        raise RequestError(415, "objects come as whole DICOM files", field="Content-Type", remedy=remedy)
    kept: list[InstanceHeader] = []
    refused: list[Refused] = []
    store = receiver.store
    async for part in receive_parts(content_type, request.stream(), store.spool, store.require_space):
        outcome = await run_in_threadpool(_take, receiver, part, study)
        if isinstance(outcome, InstanceHeader):
            kept.append(outcome)
        else:
            refused.append(outcome)
    if kept:
        await run_in_threadpool(receiver.released, frozenset(header.series_instance_uid for header in kept))
    if not kept and not refused:
        raise RequestError(400, "the body has no part", field="body", remedy="send at least one object")
    passing = all(each.reason >> 8 == OUT_OF_RESOURCES >> 8 for each in refused)
    status = (202 if refused else 200) if kept else 503 if passing else 409
    return json_answer(store_response(kept, refused, root_of(request)), media_type, {}, status)


def _take(receiver: Receiver, part: ReceivedPart, study: str | None) -> InstanceHeader | Refused:
    """Keep and index one object, or say why not; its file is gone from the spool either way."""
    header: InstanceHeader | None = None
    try:
        receiver.store.require_space()
        require_storable(part.path)
        header = parse_header(part.path)
        _require_study(header, study)
        kept = receiver.store.keep(part.path)
        receiver.index(kept, _SOURCE)
    except Exception as error:  # one object's failure is told in the answer, not instead of it
        return _refused(error, header)
    finally:
        part.path.unlink(missing_ok=True)
    return kept


def _require_study(header: InstanceHeader, study: str | None) -> None:
    if study is not None and header.study_instance_uid != study:
        raise InstanceRejected(OTHER_STUDY, "StudyInstanceUID differs from the address")


def _refused(error: Exception, header: InstanceHeader | None) -> Refused:
    explanation = str(error) if isinstance(error, DicomError) else "the node could not store it; try again"
    return Refused(
        reason=dimse_status(error) or PROCESSING_FAILURE,
        explanation=explanation,
        sop_class_uid=header.sop_class_uid if header else "",
        sop_instance_uid=header.sop_instance_uid if header else "",
    )
