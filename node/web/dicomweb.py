"""DICOMweb (PS3.18) over everything the node keeps: what every service of it shares, and searching (QIDO-RS)."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from dicom_io.dicomjson import dump
from dicom_io.frames import FrameTables
from dicom_io.header import InstanceHeader
from dicom_io.media import MediaRange, choose_simple, parse_accept
from dicom_io.qido import BadQuery, Level, parse_query
from dicom_io.store import FileStore
from dicom_io.uids import is_uid
from node.catalogue import Catalogue, Held
from node.web.problems import RequestError

JSON = "application/dicom+json"
_JSON_TYPES = (JSON, "application/json")
PREFIX = "/dicomweb"
_PICTURES_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Takes instances in, by the same way whatever brought them.

    `index` makes a kept instance known, and is durable when it returns; `released` says that a request is complete.
    """

    store: FileStore
    index: Callable[[InstanceHeader, str], None]
    released: Callable[[frozenset[str]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomWeb:
    """What the services work on.

    `shown` is what of some instances may be shown to who asks; `cache` is a folder for metadata that takes long to
    make; `public_url` replaces the address a request names; metadata holds binary values of up to `inline_bytes`.
    """

    catalogue: Catalogue
    shown: Callable[[Request, tuple[Held, ...]], tuple[Held, ...]]
    tables: FrameTables
    cache: Path
    receiver: Receiver
    public_url: str
    inline_bytes: int
    rendering: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_PICTURES_AT_ONCE))


def get_dicomweb(request: Request) -> DicomWeb:
    """What `create_web` made."""
    return cast(DicomWeb, request.app.state.dicomweb)


Services = Annotated[DicomWeb, Depends(get_dicomweb)]
search = APIRouter(prefix=PREFIX, tags=["dicomweb"])


def root_of(request: Request) -> str:
    """The address of the service as the client sees it; retrieve and bulk addresses are absolute."""
    address = get_dicomweb(request).public_url or str(request.base_url)
    return f"{address.rstrip('/')}{PREFIX}"


def accepted(request: Request) -> tuple[MediaRange, ...]:
    """What the client takes, by its header or, where it cannot set one, the `accept` parameter (PS3.18 8.3.3.1)."""
    return parse_accept(request.query_params.get("accept") or ", ".join(request.headers.getlist("accept")))


def require_json(request: Request) -> str:
    """The JSON media type to answer with.

    Raises
    ------
    RequestError
        406.
    """
    chosen = choose_simple(accepted(request), _JSON_TYPES)
    if chosen is None:
        raise RequestError(406, "only JSON is offered here", field="Accept", remedy=f"accept {JSON}")
    return chosen


def require_held(
    request: Request, services: DicomWeb, study: str, series: str | None = None, instance: str | None = None
) -> tuple[Held, ...]:
    """The instances of an address that may be shown.

    Raises
    ------
    RequestError
        404 when there is none, 409 when all of them tell what blind review hides.
    """
    named = [uid for uid in (study, series, instance) if uid is not None]
    held = services.catalogue.held(study, series, instance) if all(map(is_uid, named)) else ()
    if not held:
        raise RequestError(404, "no such study, series or instance", field="address", remedy="search for it first")
    shown = services.shown(request, held)
    if not shown:
        remedy = "choose the class of every cell of the blind review, or sign the case; then ask again"
        raise RequestError(409, "the result tells classes that blind review hides", field="address", remedy=remedy)
    return shown


@search.get("/studies")
def studies(request: Request, services: Services) -> Response:
    """QIDO-RS, all studies."""
    return _search(request, services, Level.STUDY, {})


@search.get("/series")
def all_series(request: Request, services: Services) -> Response:
    """QIDO-RS, series of all studies."""
    return _search(request, services, Level.SERIES, {})


@search.get("/instances")
def all_instances(request: Request, services: Services) -> Response:
    """QIDO-RS, instances of all studies."""
    return _search(request, services, Level.INSTANCE, {})


@search.get("/studies/{study}/series")
def study_series(request: Request, services: Services, study: str) -> Response:
    """QIDO-RS, series of a study."""
    return _search(request, services, Level.SERIES, {Level.STUDY: study})


@search.get("/studies/{study}/instances")
def study_instances(request: Request, services: Services, study: str) -> Response:
    """QIDO-RS, instances of a study."""
    return _search(request, services, Level.INSTANCE, {Level.STUDY: study})


@search.get("/studies/{study}/series/{series}/instances")
def series_instances(request: Request, services: Services, study: str, series: str) -> Response:
    """QIDO-RS, instances of a series."""
    return _search(request, services, Level.INSTANCE, {Level.STUDY: study, Level.SERIES: series})


def _search(request: Request, services: DicomWeb, level: Level, within: Mapping[Level, str]) -> Response:
    media_type = require_json(request)
    parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "accept"]
    try:
        query = parse_query(level, parameters, within)
    except BadQuery as exc:
        raise RequestError(400, str(exc), field=exc.field, remedy="correct it and ask again") from exc
    found = services.catalogue.search(query, root_of(request))
    headers = {}
    if found.remaining:
        headers["Warning"] = f'299 node "There are {found.remaining} additional results that can be requested"'
    elif query.ignored:
        headers["Warning"] = f'299 node "Unknown attributes were ignored: {len(query.ignored)}"'
    return Response(b"[" + b",".join(found.records) + b"]", headers=headers, media_type=media_type)


def json_answer(document: dict[str, Any], media_type: str, headers: Mapping[str, str], status: int = 200) -> Response:
    """A document of the DICOM JSON Model."""
    return Response(dump(document), status, headers, media_type=media_type)
