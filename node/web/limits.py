"""How long the body of a request may pause: one whose sender is gone would be waited for without end."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LONGEST_PAUSE_S = 60.0


class TimelyBodies:
    """Ends a request (408) when no piece of its body comes for `pause_s` seconds."""

    def __init__(self, app: ASGIApp, pause_s: float = LONGEST_PAUSE_S) -> None:
        self._app = app
        self._pause_s = pause_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        whole = False

        async def receive_timely() -> Message:
            nonlocal whole
            if whole:
                return await receive()  # that the client has gone, which may take as long as the answer
            try:
                async with asyncio.timeout(self._pause_s):
                    message = await receive()
            except TimeoutError as exc:
                raise HTTPException(408, "the body has stopped") from exc
            whole = not message.get("more_body", False)
            return message

        await self._app(scope, receive_timely if scope["type"] == "http" else receive, send)
