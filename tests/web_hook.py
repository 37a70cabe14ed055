"""A web server of the site that takes notices of urgent cases."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Self


class WebHook(ThreadingHTTPServer):
    """Answers each notice with the next status of `answers`, then 204."""

    def __init__(self, port: int = 0) -> None:
        self.answers: list[int] = []
        self.received: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", port), _Taking)
        self._thread = Thread(target=self.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?key=secret"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Taking(BaseHTTPRequestHandler):
    server: WebHook

    def do_POST(self) -> None:
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
