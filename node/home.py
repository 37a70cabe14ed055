"""The folder a node owns: who has it, and where its node listens."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from node.errors import SettingsError
from node.files import write_atomically

_log = structlog.get_logger(__name__)


@contextmanager
def own_home(home: Path) -> Iterator[Path]:
    """The home folder, made when absent, held against a second node.

    Raises
    ------
    SettingsError
        It cannot be written, or another node has it.

    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "node.lock").open("w")
    except OSError as exc:
        msg = f"home: {home} cannot be used ({exc.strerror}); name a folder the node may write to"
        raise SettingsError(msg) from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            msg = f"home: another node runs in {home}; stop it, or give this one its own home"
            raise SettingsError(msg) from exc
        yield home


def announce(home: Path, **ports: int) -> None:
    """Say, in the log and in run.json, that the node is up and where."""
    write_atomically(home / "run.json", json.dumps({"pid": os.getpid(), **ports}).encode())
    _log.info("node is up", **ports)
