"""Starting peers on free ports and waiting for what they do."""

import os
import socket
import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar

T = TypeVar("T")
# Below those the system gives to clients (32768 and up): a peer that is stopped finds its port free when it starts
# again, and who calls it meanwhile cannot be given that very port and so reach itself. Each worker has its own.
_PORTS = count(20_000 + 2_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 6))


def free_port() -> int:
    """A port nothing listens on now, handed out once."""
    for port in _PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the ports are counted without end")


def wait_until(condition: Callable[[], T], what: str, timeout_s: float = 60.0, every_s: float = 0.05) -> T:
    """The first truthy value of `condition`; fails naming `what` after the deadline."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(every_s)
    return value
