"""The JSON the pages read: worklist, case, result and files."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse

from node.actions import Action, offered
from node.cases import list_cases, read_case
from node.views import (
    CaseEvent,
    CaseFile,
    CaseRow,
    CaseState,
    CaseView,
    ClassView,
    DeliveryView,
    WorklistQuery,
    tells_classes,
)
from node.web.identity import Viewer
from node.web.problems import RequestError
from node.web.sources import Sources
from pipeline.domain import Order, ResultStatus, SlideInfo

api = APIRouter(prefix="/api", tags=["cases"])

SortKey = Literal["priority", "age", "state", "accession", "patient", "changed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistAnswer:
    """One page of the worklist; `counts` is by state, over all cases."""

    rows: tuple[CaseRow, ...]
    total: int
    counts: dict[CaseState, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLink:
    """A downloadable object: `CaseFile` without its place on the disk; `tells_classes` of the cells, or counts them."""

    name: str
    kind: str
    media_type: str
    revision: int
    sop_instance_uid: str
    series_instance_uid: str
    size: int  # bytes
    tells_classes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseAnswer:
    """`CaseView` as the page gets it."""

    row: CaseRow
    order: Order | None
    slides: tuple[SlideInfo, ...]
    status: ResultStatus | None
    revision: int
    events: tuple[CaseEvent, ...]
    deliveries: tuple[DeliveryView, ...]
    files: tuple[FileLink, ...]
    actions: tuple[Action, ...]  # what the person who asks can do with it now


@api.get("/worklist")
def worklist(
    *,
    sources: Sources,
    search: Annotated[str, Query(max_length=128)] = "",
    state: Annotated[tuple[CaseState, ...], Query()] = (),
    sort: SortKey = "priority",
    descending: bool = False,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> WorklistAnswer:
    """Cases that match, one page of them."""
    query = WorklistQuery(
        search=search.strip(), states=state, sort=sort, descending=descending, offset=offset, limit=limit
    )
    page = list_cases(sources.database, query)
    return WorklistAnswer(rows=page.rows, total=page.total, counts=dict(page.counts))


@api.get("/classes")
def classes(sources: Sources) -> tuple[ClassView, ...]:
    """The 22 classes in order, with the colours of their segments and annotations."""
    return sources.classes


@api.get("/cases/{case_id}")
def case(case_id: str, sources: Sources, person: Viewer) -> CaseAnswer:
    """One case: order, slides, history, deliveries, what can be downloaded, and what can be done."""
    view = _case(sources, case_id)
    return CaseAnswer(
        row=view.row,
        order=view.order,
        slides=view.slides,
        status=view.status,
        revision=view.revision,
        events=view.events,
        deliveries=view.deliveries,
        files=tuple(_link(file) for file in view.files if file.path.is_file()),
        actions=offered(view, person),
    )


@api.get("/cases/{case_id}/files/{name}", response_class=FileResponse)
def case_file(case_id: str, name: str, sources: Sources, download: bool = False) -> FileResponse:
    """One object of a case, by the name the case lists; `download` asks the browser to save it.

    While cells of the case wait for their blind choice, a file that tells the model's classes is answered 409.
    """
    for file in _case(sources, case_id).files:
        if file.name == name and file.path.is_file():
            if tells_classes(file.kind) and sources.reviewing.hides(case_id):
                remedy = "choose the class of every cell of the blind review, or sign the case; then ask again"
                raise RequestError(409, "the file tells classes that blind review hides", field="name", remedy=remedy)
            saved_as = f"{case_id}-{name}" if download else None
            return FileResponse(file.path, media_type=file.media_type, filename=saved_as)
    raise RequestError(404, "the case has no such file", field="name", remedy="choose one of the case's `files`")


def _case(sources: Sources, case_id: str) -> CaseView:
    view = read_case(sources.database, case_id)
    if view is None:
        raise RequestError(404, "no such case", field="case_id", remedy="choose a case from the worklist")
    return view


def _link(file: CaseFile) -> FileLink:
    return FileLink(
        name=file.name,
        kind=file.kind,
        media_type=file.media_type,
        revision=file.revision,
        sop_instance_uid=file.sop_instance_uid,
        series_instance_uid=file.series_instance_uid,
        size=file.path.stat().st_size,
        tells_classes=tells_classes(file.kind),
    )
