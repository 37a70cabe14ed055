"""Viewers that are served from elsewhere may use DICOMweb, where the site names their origin (Fetch standard, CORS)."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

_METHODS = ("GET", "POST", "OPTIONS")
_ASKED = ("Accept", "Authorization", "Content-Type", "If-None-Match", "Range")
_SHOWN = ("Content-Length", "Content-Location", "Content-Type", "ETag", "Warning")


class CrossOrigin:
    """Answers foreign origins under one path and leaves the rest of the node to itself.

    Parameters
    ----------
    app : ASGIApp
    path : str
        Where foreign pages may ask.
    origins : Sequence of str
        Such as ``https://viewer.example.org``; none: no foreign page may.
    """

    def __init__(self, app: ASGIApp, path: str, origins: Sequence[str]) -> None:
        self._app = app
        self._path = f"{path}/"
        self._open = CORSMiddleware(
            self._answer_options,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_ASKED,
            allow_credentials=True,
            expose_headers=_SHOWN,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        shared = scope["type"] == "http" and scope["path"].startswith(self._path)
        await (self._open if shared else self._app)(scope, receive, send)

    async def _answer_options(self, scope: Scope, receive: Receive, send: Send) -> None:
        """OPTIONS of a client that is no browser; everything else is the application's."""
        asked = Response(status_code=204, headers={"Allow": ", ".join(_METHODS)})
        await (asked if scope["method"] == "OPTIONS" else self._app)(scope, receive, send)
