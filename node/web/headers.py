"""Response headers that keep a page to itself: no foreign script, frame, font or request."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Scripts and workers come from the node alone; WebAssembly decodes the slide's frames in the viewer's worker.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
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
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                keep = lasting and message["status"] == 200
                headers.setdefault("Cache-Control", "public, max-age=31536000, immutable" if keep else "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)
