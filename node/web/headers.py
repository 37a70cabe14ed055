"""Response headers that keep a page to itself: no foreign script, frame, font or request."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# One style element of dicom-microscopy-viewer, by its content; another version of it shows as an error in the browser.
_VIEWER_STYLE = "'sha256-JxUHoUDhN6FBkSak1coehzJME/jqPm3SsO+5PriuYOg='"
# Scripts and workers come from the node alone; WebAssembly transforms the colours of the slide's frames.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        f"style-src 'self' {_VIEWER_STYLE}",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
# The codecs of the worker build their glue code at run time; a worker has no page, and this one sees only frames.
_WORKER = "/static/js/dataLoader.worker.min.js"
_WORKER_POLICY = "default-src 'none'; script-src 'self' 'unsafe-eval'; connect-src 'self'"
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_NAMED_BY_CONTENT = "/static/assets/"  # vite puts a hash of the content into these names


class SecurityHeaders:
    """Adds the headers to every answer, and forbids keeping what a handler did not allow to be kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        lasting = scope["path"].startswith(_NAMED_BY_CONTENT)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if scope["path"] == _WORKER:
                    headers["Content-Security-Policy"] = _WORKER_POLICY
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                keep = lasting and message["status"] == 200
                headers.setdefault("Cache-Control", "public, max-age=31536000, immutable" if keep else "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)
