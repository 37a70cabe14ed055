"""What the pages are made from: the functions and values `node/app.py` hands to `create_web`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, cast

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from node.views import CaseRow, CaseView, Check, ClassView, WorklistPage, WorklistQuery

STATIC = Path(__file__).with_name("static")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSources:
    """Read functions over the cases, and what stays the same while the node runs.

    `changed_since` gives the rows whose state, stage or progress changed at or after a moment; `case` gives None
    for an unknown id. All are called from worker threads.
    """

    worklist: Callable[[WorklistQuery], WorklistPage]
    case: Callable[[str], CaseView | None]
    changed_since: Callable[[datetime], tuple[CaseRow, ...]]
    checks: Callable[[], tuple[Check, ...]]
    classes: tuple[ClassView, ...]
    registry: CollectorRegistry
    static: Path = STATIC
    poll_interval_s: float = 0.5


def get_sources(request: Request) -> WebSources:
    """What `create_web` was given."""
    return cast(WebSources, request.app.state.sources)


Sources = Annotated[WebSources, Depends(get_sources)]
