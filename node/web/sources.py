"""What the pages are made from; `node/app.py` gives it to `create_web`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from node.actions import CaseActions
from node.database import Database
from node.people.passwords import Passwords
from node.people.sessions import Sessions
from node.people.sign_in import SignIn
from node.queues import Work
from node.review.cell_book import CellBook
from node.review.reviewing import Reviewing
from node.settings import WebSettings
from node.views import Check, ClassView
from node.web.dicomweb import Receiver

STATIC = Path(__file__).with_name("static")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSources:
    """Where the web side reads, and the one place it gives what it receives.

    `checks` answers /health/ready and is called from worker threads; `cache` is a folder that may be emptied at any
    time.
    """

    database: Database
    work: Work
    settings: WebSettings
    passwords: Passwords
    sign_in: SignIn
    sessions: Sessions
    checks: Callable[[], tuple[Check, ...]]
    classes: tuple[ClassView, ...]
    registry: CollectorRegistry
    receiver: Receiver
    actions: CaseActions
    cells: CellBook
    reviewing: Reviewing
    cache: Path
    static: Path = STATIC
    poll_interval_s: float = 0.5
    session_check_s: float = 15.0  # how long a page may listen on after its session has ended


def get_sources(request: Request) -> WebSources:
    """What `create_web` was given."""
    return cast(WebSources, request.app.state.sources)


Sources = Annotated[WebSources, Depends(get_sources)]
