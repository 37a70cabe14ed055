"""The web side in one place: pages, JSON, events, health."""

from collections.abc import Callable
from functools import partial

from fastapi import Depends, FastAPI
from fastapi.responses import FileResponse
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.staticfiles import StaticFiles

from dicom_io.bulk import PDF
from dicom_io.frames import FrameTables
from node.cases import changed_since
from node.catalogue import Catalogue
from node.web.actions import actions
from node.web.api import api
from node.web.cells import cells
from node.web.cross_origin import CrossOrigin
from node.web.dicomweb import PREFIX, DicomWeb, search
from node.web.events import events
from node.web.feed import CaseFeed
from node.web.headers import SecurityHeaders
from node.web.health import health
from node.web.identity import find_viewer, may_use_dicomweb
from node.web.limits import TimelyBodies
from node.web.opened import OpenedCases, audit_opening
from node.web.problems import RequestError, install_problem_answers
from node.web.proxies import ProxiedRequests
from node.web.reading import Reading
from node.web.render import render
from node.web.retrieve import retrieve
from node.web.review import reviews
from node.web.same_origin import SameOrigin
from node.web.session import session
from node.web.sources import Sources, WebSources
from node.web.storing import storing

_PAGES = {
    "/": "index.html",
    "/signin": "signin.html",
    "/cases/{case_id}": "case.html",
    "/agreement": "agreement.html",
}
_NEVER_GZIPPED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "multipart/*", "application/dicom", "application/octet-stream", PDF)


def create_web(sources: WebSources) -> FastAPI:
    """The application uvicorn serves.

    Its interactive documentation is off: it would load scripts from elsewhere. `/api/openapi.json` describes it.
    """
    app = FastAPI(title="Marrow Node", openapi_url="/api/openapi.json", docs_url=None, redoc_url=None)
    app.state.sources = sources
    app.state.feed = CaseFeed(partial(changed_since, sources.database), sources.poll_interval_s)
    opened = OpenedCases(sources.database)
    app.state.opened_cases = opened
    app.state.dicomweb = DicomWeb(
        catalogue=Catalogue(sources.database),
        shown=Reading(opened, sources.reviewing).shown,
        tables=FrameTables(),
        cache=sources.cache / "metadata",
        receiver=sources.receiver,
        public_url=sources.settings.public_url,
        inline_bytes=sources.settings.inline_bytes,
    )
    app.state.cell_book = sources.cells
    install_problem_answers(app)
    app.include_router(health)
    app.include_router(session)
    for part in (api, actions, events, cells, reviews):
        app.include_router(part, dependencies=[Depends(find_viewer), Depends(audit_opening)])
    for service in (search, retrieve, render, storing):
        app.include_router(service, dependencies=[Depends(may_use_dicomweb)])
    for address, name in _PAGES.items():
        app.add_api_route(address, _page(name), response_class=FileResponse, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=sources.static, check_dir=False), name="static")
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=4, exclude_content_types=_NEVER_GZIPPED)
    app.add_middleware(SameOrigin)
    app.add_middleware(TimelyBodies)
    app.add_middleware(CrossOrigin, path=PREFIX, origins=sources.settings.cors_origins)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(ProxiedRequests, trusted=sources.settings.trusted_proxies)
    return app


def _page(name: str) -> Callable[[Sources], FileResponse]:
    def page(sources: Sources) -> FileResponse:
        file = sources.static / name
        if not file.is_file():
            raise RequestError(503, "the pages are not built", remedy="run `make web`, then reload")
        return FileResponse(file)

    return page
