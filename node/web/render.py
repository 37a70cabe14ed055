"""Pictures of instances and frames (PS3.18 section 8.3.5 and 10.4.1.1.3): rendered and thumbnail resources."""

import re
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Request
from PIL import Image
from starlette.responses import Response

from dicom_io.bulk import PDF, locate_document
from dicom_io.contexts import ENCAPSULATED_PDF
from dicom_io.header import parse_header
from dicom_io.media import choose_simple
from dicom_io.rendered import LARGEST_SIDE, Viewport, encode_picture, is_tiled, render_frame, render_slide
from node.catalogue import Held
from node.web.dicomweb import PREFIX, DicomWeb, Services, accepted, require_held
from node.web.multipart import Part, single_answer
from node.web.problems import RequestError
from node.web.retrieve import frame_numbers, frame_table, stored_frame


async def _in_turn(services: Services) -> AsyncIterator[None]:
    """A few pictures at a time: each may read a whole level, and everything else shall be answered meanwhile."""
    async with services.rendering:
        yield


render = APIRouter(prefix=PREFIX, tags=["dicomweb"], dependencies=[Depends(_in_turn)])
_PICTURES = ("image/jpeg", "image/png")
_PROFILES = ("no", "yes", "srgb")
_VIEWPORT = re.compile(r"([1-9]\d{0,8}),([1-9]\d{0,8})" + r"(?:,(\d{1,9}(?:\.\d{1,9})?)?)?" * 4, re.ASCII)
_THUMBNAIL = Viewport(width=256, height=256)
_STUDY = "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"


@render.get(_INSTANCE + "/rendered")
def rendered(request: Request, services: Services, study: str, series: str, instance: str) -> Response:
    """An instance, whole or the part that `viewport` names, in at most 4096 pixels a side."""
    (held,) = require_held(request, services, study, series, instance)
    if held.sop_class_uid == ENCAPSULATED_PDF:
        return _document(request, held)
    return _answer(request, _instance(services, held, _viewport(request)))


@render.get(_INSTANCE + "/frames/{frames}/rendered")
def rendered_frame(
    request: Request, services: Services, study: str, series: str, instance: str, frames: str
) -> Response:
    """One frame."""
    (held,) = require_held(request, services, study, series, instance)
    number, *more = frame_numbers(frames)
    if more:
        raise RequestError(400, "one frame is one picture", field="frames", remedy="ask for each frame by itself")
    stored = stored_frame(frame_table(services, held), number)
    return _answer(request, render_frame(held.path, stored, _viewport(request)))


@render.get(_INSTANCE + "/thumbnail")
def instance_thumbnail(request: Request, services: Services, study: str, series: str, instance: str) -> Response:
    """A small picture of an instance."""
    (held,) = require_held(request, services, study, series, instance)
    return _answer(request, _instance(services, held, _viewport(request, _THUMBNAIL)))


@render.get(_SERIES + "/thumbnail")
def series_thumbnail(request: Request, services: Services, study: str, series: str) -> Response:
    """A small picture of a series: of its largest image."""
    held = require_held(request, services, study, series)
    return _answer(request, _instance(services, _main(held), _viewport(request, _THUMBNAIL)))


@render.get(_STUDY + "/thumbnail")
def study_thumbnail(request: Request, services: Services, study: str) -> Response:
    """A small picture of a study: of its slide."""
    held = require_held(request, services, study)
    return _answer(request, _instance(services, _main(held), _viewport(request, _THUMBNAIL)))


def _document(request: Request, held: Held) -> Response:
    """The PDF itself."""
    if choose_simple(accepted(request), (PDF,)) is None:
        raise RequestError(406, "the document is a PDF", field="Accept", remedy=f"accept {PDF}")
    try:
        document = locate_document(held.path)
    except KeyError as exc:
        raise RequestError(404, "the instance has no PDF", field="address", remedy="retrieve the instance") from exc
    part = Part(content_type=PDF, length=document.length, chunks=document.chunks)
    return single_answer(part, {"Cache-Control": "private, max-age=3600", "Vary": "Accept"})


def _main(instances: tuple[Held, ...]) -> Held:
    """The slide's largest instance, or what else there is."""
    return max(instances, key=lambda held: (held.modality == "SM", held.number_of_frames))


def _instance(services: DicomWeb, held: Held, viewport: Viewport) -> Image.Image:
    if is_tiled(held.path):
        series = services.catalogue.held(held.study_instance_uid, held.series_instance_uid)
        return render_slide(parse_header(held.path), [parse_header(other.path) for other in series], viewport)
    return render_frame(held.path, stored_frame(frame_table(services, held), 1), viewport)


def _viewport(request: Request, default: Viewport | None = None) -> Viewport:
    """Width and height, and perhaps the part of the image that is wanted (PS3.18 8.3.5.1.3)."""
    text = request.query_params.get("viewport")
    if text is None:
        return default or Viewport()
    match = _VIEWPORT.fullmatch(text)
    if match is None:
        remedy = "write width,height or width,height,x,y,columns,rows"
        raise RequestError(400, "viewport is not a size", field="viewport", remedy=remedy)
    width, height = (min(int(number), LARGEST_SIDE) for number in match.group(1, 2))
    x, y, across, down = (float(number) if number else None for number in match.group(3, 4, 5, 6))
    return Viewport(width=width, height=height, x=x or 0.0, y=y or 0.0, across=across, down=down)


def _answer(request: Request, picture: Image.Image) -> Response:
    media_type = choose_simple(accepted(request), _PICTURES)
    if media_type is None:
        raise RequestError(406, "pictures are JPEG or PNG", field="Accept", remedy="accept image/jpeg")
    quality = request.query_params.get("quality", "90")
    if not quality.isascii() or not quality.isdigit() or not 1 <= int(quality) <= 100:
        raise RequestError(400, "quality is not 1 to 100", field="quality", remedy="write a number from 1 to 100")
    profile = request.query_params.get("iccprofile", "no")
    if profile not in _PROFILES:
        raise RequestError(400, "pictures are in sRGB", field="iccprofile", remedy="write no, yes or srgb")
    content = encode_picture(picture, media_type, int(quality), profile=profile != "no")
    return Response(
        content, headers={"Cache-Control": "private, max-age=3600", "Vary": "Accept"}, media_type=media_type
    )
