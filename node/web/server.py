"""uvicorn in a thread, with a port that is known and a stop that does not wait for open event streams."""

import asyncio
import socket
import threading

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 30.0


class TimelyProtocol(H11Protocol):
    """Closes a connection on which no request comes; uvicorn would wait for its head forever."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn declares it
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._waiting is not None:
            self._waiting.cancel()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def _wait(self) -> None:
        """Give the next request some time from now on, whether its head comes late or byte by byte."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = self.loop.call_later(HEAD_S, self._give_up, self.cycle)

    def _give_up(self, latest: object) -> None:
        if self.cycle is latest:
            self.transport.close()


class WebServer:
    """Serves `app` on `host:port` until `stop()`; port 0 takes a free one.

    Raises
    ------
    OSError
        From `start()`, when the address cannot be bound; the message names it.

    """

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        config = uvicorn.Config(
            app,
            http=TimelyProtocol,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # uvicorn would believe any local client; see `ProxiedRequests`
            timeout_graceful_shutdown=1,
            lifespan="off",
        )
        self._host, self._port = host, port
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> None:
        """Bind, then serve from a thread; requests queue from the moment this returns."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self._host, self._port))
            listening.listen(128)
        except OSError as exc:
            listening.close()
            raise OSError(exc.errno, f"web: cannot listen on {self._host}:{self._port}: {exc.strerror}") from exc
        self._port = listening.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="web", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
            self._thread = None
