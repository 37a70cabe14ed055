"""Chunked reception: the bytes of a C-STORE go to the spool as they come (PS3.8 Annex D, P-DATA).

pynetdicom writes a chunked data set to what `NamedTemporaryFile` gives it, in the system's temporary folder, and its
network thread dies of a full disk. `receive_into_spool` gives it a `SpoolFile` instead: on the volume of the store,
hashed while written, and quiet about a full disk until the request can be answered.
"""

import hashlib
import tempfile
import threading
import weakref
from pathlib import Path
from typing import IO, Any

from pynetdicom import AE, _config, dimse_messages
from pynetdicom.association import Association
from pynetdicom.events import Event

from dicom_io.errors import InstanceRejected
from dicom_io.scan import CANNOT_UNDERSTAND
from dicom_io.store import OUT_OF_RESOURCES, FileStore

_CHECK_SPACE_EVERY = 64 << 20
_GROUP_LENGTH_END = 144  # preamble, DICM and the element (0002,0000), PS3.10 7.1

_stores: "weakref.WeakKeyDictionary[AE, FileStore]" = weakref.WeakKeyDictionary()
_unfinished: "weakref.WeakKeyDictionary[Association, set[SpoolFile]]" = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class SpoolFile:
    """One instance on its way in; has what pynetdicom uses of a temporary file.

    Parameters
    ----------
    store : FileStore
        In whose spool to write.
    """

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._path = store.new_spool_path()
        self._file: IO[bytes] | None = None
        self._failure: InstanceRejected | None = None
        self._head: bytearray | None = bytearray()
        self._digest = hashlib.sha256()
        self._next_check = 0
        self._written = 0

    @property
    def name(self) -> str:
        return str(self._path)

    @property
    def file(self) -> "SpoolFile":
        return self

    @property
    def sha256(self) -> str:
        """Digest of the data set so far, without the file meta information (see `scan.dataset_digest`)."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> int:
        if self._failure is None:
            try:
                self._append(data)
            except InstanceRejected as exc:
                self._fail(exc)
            except OSError as exc:
                self._fail(InstanceRejected(OUT_OF_RESOURCES, f"the spool cannot be written: {exc.strerror}"))
        return len(data)

    def flush(self) -> None:
        """Nothing to do: every write is one system call."""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def finish(self) -> Path:
        """Close the file, now whole, and give its path.

        Raises
        ------
        InstanceRejected
            0xA700 when it could not be written.
        """
        self.close()
        if self._failure is not None:
            raise self._failure
        return self._path

    def discard(self) -> None:
        """Close and remove the file, if it is still there."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _append(self, data: bytes) -> None:
        if self._written >= self._next_check:
            self._store.require_space()
            self._next_check = self._written + _CHECK_SPACE_EVERY
        if self._file is None:
            self._file = self._path.open("xb", buffering=0)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._written += len(data)
        self._hash(data)

    def _hash(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            start = _GROUP_LENGTH_END + int.from_bytes(self._head[_GROUP_LENGTH_END - 4 : _GROUP_LENGTH_END], "little")
            if len(self._head) < max(start, _GROUP_LENGTH_END):
                return
            data, self._head = bytes(self._head[start:]), None
        self._digest.update(data)

    def _fail(self, failure: InstanceRejected) -> None:
        self._failure = failure
        self.discard()


def receive_into_spool(ae: AE, store: FileStore) -> None:
    """Make `ae` receive into the spool of `store`; other entities of this process are left as they are."""
    _config.STORE_RECV_CHUNKED_DATASET = True
    _stores[ae] = store
    dimse_messages.NamedTemporaryFile = _open


def spool_of(event: Event) -> SpoolFile:
    """The file a C-STORE request came into; from now on its keeping is the handler's task.

    Raises
    ------
    InstanceRejected
        0xC000 when the request came without a data set.
    """
    spooled = event.request._dataset_file
    if not isinstance(spooled, SpoolFile):
        raise InstanceRejected(CANNOT_UNDERSTAND, "a C-STORE request without a data set")
    with _lock:
        _unfinished.get(event.assoc, set()).discard(spooled)
    return spooled


def discard_unfinished(assoc: Association) -> None:
    """Remove what an association that ended had begun to send."""
    with _lock:
        files = _unfinished.pop(assoc, set())
    for file in files:
        file.discard()


def _open(**options: Any) -> Any:  # noqa: ANN401 - two kinds of file
    """Stands for `NamedTemporaryFile` in pynetdicom; runs in the network thread of one association."""
    assoc = getattr(threading.current_thread(), "assoc", None)
    store = None if assoc is None else _stores.get(assoc.ae)
    if store is None:
        return tempfile.NamedTemporaryFile(**options)  # pynetdicom closes it
    file = SpoolFile(store)
    with _lock:
        _unfinished.setdefault(assoc, set()).add(file)
    return file
