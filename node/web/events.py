"""The changes of cases as server-sent events."""

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from node.web.identity import find_person
from node.web.sources import Sources

events = APIRouter(prefix="/api", tags=["cases"])


@events.get("/events", response_class=EventSourceResponse)
async def changes(request: Request, sources: Sources) -> AsyncIterator[ServerSentEvent]:
    """A `case` event with the row of each case that changes, for as long as the session lasts."""
    async with request.app.state.feed.listen() as page:
        yield ServerSentEvent(comment="listening", retry=2000)
        ask_at = 0.0
        while True:
            now = time.monotonic()
            if now >= ask_at:
                if await run_in_threadpool(find_person, request, sources) is None:
                    return
                ask_at = now + sources.session_check_s
            try:
                async with asyncio.timeout(ask_at - now):
                    row = await page.get()
            except TimeoutError:
                continue
            yield ServerSentEvent(event="case", data=row)
