"""Acting on a case, and the slides that can be attached to one."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from node.actions import NEEDS, ActionName, Deed
from node.intake.free_slides import FreeSlide, free_slides
from node.web.api import CaseAnswer, case
from node.web.identity import Reviewer
from node.web.problems import RequestError
from node.web.sources import Sources

actions = APIRouter(prefix="/api", tags=["actions"])


class Asked(BaseModel):
    """One action, with what it needs; `seen` is how many events the person saw of the case."""

    model_config = ConfigDict(extra="forbid")

    name: ActionName
    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] = ""
    slide: Annotated[str, StringConstraints(pattern=r"^[0-9.]*$", max_length=64)] = ""
    seen: Annotated[int, Field(ge=0)] | None = None


@actions.post("/cases/{case_id}/actions")
def act(case_id: str, asked: Asked, sources: Sources, person: Reviewer) -> CaseAnswer:
    """Do one of the case's `actions`; 409 when it has gone on since."""
    for need in NEEDS[asked.name]:
        if not getattr(asked, need):
            raise RequestError(422, f"this action needs a {need}", field=need, remedy="give it and send again")
    deed = Deed(name=asked.name, reason=asked.reason, slide=asked.slide, seen=asked.seen)
    sources.actions.do(case_id, deed, person)
    return case(case_id, sources, person)


@actions.get("/slides")
def slides(
    *,
    sources: Sources,
    _person: Reviewer,
    search: Annotated[str, Query(max_length=128)] = "",
) -> tuple[FreeSlide, ...]:
    """Slides that can be attached to a case, the newest first."""
    return free_slides(sources.database, search.strip())
