"""Keeps one worker process running beside the listeners (`marrow-node serve`)."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import structlog

from node.errors import SettingsError
from node.work.worker_protocol import READY, UNUSABLE

_log = structlog.get_logger(__name__)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_STARTS = 3  # so many workers that never got ready, from the start of the node, and it gives up

# glibc: a heap for each thread holds no large block, so that every batch of the model would pay for page faults.
_ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}


class Supervisor:
    """Starts the worker, and starts it again when it dies, after a wait that doubles while it does not get ready.

    Parameters
    ----------
    config : Path
        The site's file, which the worker reads too.

    """

    def __init__(self, config: Path) -> None:
        self._command = [sys.executable, "-m", "node", "worker", "--config", str(config), "--supervised"]
        self._stopping = threading.Event()
        self._settled = threading.Event()  # the first worker is ready, or never will be
        self._ready = False
        self._unusable = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, name="supervisor", daemon=True)

    @property
    def ready(self) -> bool:
        """Whether a worker is up, its model loaded."""
        return self._ready

    @property
    def pid(self) -> int | None:
        """Process id of the present worker."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        self._thread.start()

    def wait_until_ready(self) -> None:
        """Return when the first worker is ready.

        Raises
        ------
        SettingsError
            The configuration or the bundle keeps any worker from starting; the message is the worker's.

        """
        self._settled.wait()
        if self._unusable:
            raise SettingsError(self._unusable)

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the worker; what it was doing is taken up when the node starts again."""
        self._stopping.set()
        self._settled.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _keep_running(self) -> None:
        wait_s, starts = _FIRST_WAIT_S, 0
        while not self._stopping.is_set():
            got_ready = self._run_once()
            starts += 1
            if starts == _STARTS and not self._settled.is_set():
                self._give_up(f"the worker ended {starts} times before it was ready; the log says why")
            if self._unusable or self._stopping.is_set():
                return
            wait_s = _FIRST_WAIT_S if got_ready else min(wait_s * 2, _LONGEST_WAIT_S)
            self._stopping.wait(wait_s)

    def _run_once(self) -> bool:
        """One worker from start to end; returns whether it got ready."""
        with subprocess.Popen(  # noqa: S603 - our own program
            self._command,
            env={**os.environ, **_ONE_HEAP},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            self._process = process
            if self._stopping.is_set():
                process.terminate()
            assert process.stdout is not None
            last = b""
            for line in process.stdout:
                last = line
                if line == READY:
                    self._ready = True
                    self._settled.set()
            code = process.wait()
        got_ready, self._ready = self._ready, False
        if code == UNUSABLE and not self._settled.is_set():
            self._give_up(last.decode(errors="replace").strip() or "the worker cannot start; the log says why")
        elif not self._stopping.is_set():
            _log.error("worker ended and is started again", code=code)
        return got_ready

    def _give_up(self, reason: str) -> None:
        self._unusable = reason
        self._settled.set()
