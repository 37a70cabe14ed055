"""A listener with its store, for tests: what arrived, from whom, and what was released."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dicom_io.errors import InstanceRejected
from dicom_io.listener import DicomListener, ListenerConfig
from dicom_io.sender import Peer
from dicom_io.store import FileStore, InstanceHeader


@dataclass
class Receiver:
    """`fail_with`, when set, is raised instead of indexing."""

    store: FileStore
    instances: list[InstanceHeader] = field(default_factory=list)
    calling: list[str] = field(default_factory=list)
    released: list[frozenset[str]] = field(default_factory=list)
    available: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    fail_with: Exception | None = None
    listener: DicomListener = field(init=False)

    @property
    def peer(self) -> Peer:
        return Peer(ae_title=self.listener.config.ae_title, host="127.0.0.1", port=self.listener.port)

    def index(self, header: InstanceHeader, calling_ae: str) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        self.instances.append(header)
        self.calling.append(calling_ae)

    def announce(self, study: str, series: frozenset[str]) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        self.available.append((study, series))

    def spooled(self) -> list[Path]:
        return list(self.store.spool.iterdir())


def status_of(error: Exception) -> int:
    return error.status if isinstance(error, InstanceRejected) else 0x0110


@contextmanager
def receiving(root: Path, *, reserve_bytes: int = 0, **config) -> Iterator[Receiver]:
    """Listen on a free port of the loopback interface."""
    receiver = Receiver(FileStore(root, reserve_bytes=reserve_bytes))
    receiver.listener = DicomListener(
        ListenerConfig(port=0, **config),
        receiver.store,
        receiver.index,
        receiver.released.append,
        status_of,
        receiver.announce,
    )
    receiver.listener.start()
    try:
        yield receiver
    finally:
        receiver.listener.stop()
