"""What changes something must come from the node's own pages, or from no page at all.

A page of another site can make a browser send a request with the person's cookie (cross-site request forgery). The
cookie is SameSite=Strict already; here the browser's own word about the origin is checked, the way of Go's
net/http.CrossOriginProtection: Sec-Fetch-Site where there is one, else Origin against Host; neither is no browser.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from node.web.problems import problem_answer

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_GUARDED = "/api/"  # what DICOMweb takes in is no type that a foreign page may send unasked
_LONGEST_BODY = 4 * 1024 * 1024


class SameOrigin:
    """Refuses changes from other sites, and bodies that are no JSON or too long, before anything is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_GUARDED) and scope["method"] not in _SAFE:
            refusal = _refusal(Headers(scope=scope))
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _refusal(headers: Headers) -> Response | None:
    if not _is_same_origin(headers):
        return problem_answer(403, "the request comes from another site", "Origin", "use the node's own pages")
    if "transfer-encoding" in headers:
        return problem_answer(411, "the length of the body is not stated", "Content-Length", "state it")
    length = int(headers.get("content-length", "0"))
    if length > _LONGEST_BODY:
        return problem_answer(413, "the body is too long", "Content-Length", f"send at most {_LONGEST_BODY} bytes")
    if length and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return problem_answer(415, "the body is not JSON", "Content-Type", "send application/json")
    return None


def _is_same_origin(headers: Headers) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")
