"""C-STORE SCP and C-ECHO SCP (PS3.4 Annex A and B).

A data set goes from the socket straight into the spool of the store, hashed on the way. Its status is answered when
the instance is on the disk and indexed: 0x0000 means that it can no longer be lost.
"""

import ipaddress
import logging
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification

from dicom_io.contexts import STORED_SOP_CLASSES, STORED_TRANSFER_SYNTAXES
from dicom_io.errors import InstanceRejected, PeerError
from dicom_io.spool import discard_unfinished, receive_into_spool, spool_of
from dicom_io.store import FileStore, InstanceHeader

log = logging.getLogger(__name__)

SUCCESS = 0x0000
_MAXIMUM_PDU = 1 << 20
_ERROR_COMMENT_LENGTH = 64  # VR LO
_REJECTED_PERMANENT, _SERVICE_USER, _CALLING_AE_NOT_RECOGNISED = 0x01, 0x01, 0x03


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """Where to listen and whom to hear; empty lists allow everyone."""

    ae_title: str = "MARROWNODE"
    host: str = "127.0.0.1"
    port: int = 11112  # 0: any free port
    allowed_calling_ae: tuple[str, ...] = ()
    allowed_addresses: tuple[str, ...] = ()  # addresses or networks, as 10.1.0.0/16
    check_called_ae: bool = False
    network_timeout_s: float = 600.0  # scanners pause between levels
    maximum_associations: int = 25


class DicomListener:
    """Receives instances into a `FileStore`.

    Parameters
    ----------
    config : ListenerConfig
    store : FileStore
    on_instance : Callable[[InstanceHeader, str], None]
        Called with the kept instance and the calling AE title; when it returns the instance is acknowledged, so it
        commits the index first. What it raises is answered with `status_of`.
    on_released : Callable[[frozenset[str]], None]
        Called with the series UIDs an association brought, when that association ended normally.
    status_of : Callable[[Exception], int]
        The DIMSE status for an exception.
    """

    def __init__(
        self,
        config: ListenerConfig,
        store: FileStore,
        on_instance: Callable[[InstanceHeader, str], None],
        on_released: Callable[[frozenset[str]], None],
        status_of: Callable[[Exception], int],
    ) -> None:
        self.config = config
        self._store = store
        self._on_instance = on_instance
        self._on_released = on_released
        self._status_of = status_of
        self._networks = tuple(ipaddress.ip_network(text, strict=False) for text in config.allowed_addresses)
        self._series: weakref.WeakKeyDictionary[Association, set[str]] = weakref.WeakKeyDictionary()
        self._series_lock = threading.Lock()
        self._ae = _application_entity(config)

    @property
    def port(self) -> int:
        """The port listened on, also when `config.port` is 0."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen until `stop`.

        Raises
        ------
        PeerError
            The port cannot be opened.
        """
        receive_into_spool(self._ae, self._store)
        address = (self.config.host, self.config.port)
        handlers = [
            (evt.EVT_REQUESTED, self._handle_requested),
            (evt.EVT_C_STORE, self._handle_store),
            (evt.EVT_RELEASED, self._handle_released),
            (evt.EVT_CONN_CLOSE, self._handle_closed),
        ]
        try:
            self._server = self._ae.start_server(address, block=False, evt_handlers=handlers)
        except OSError as exc:
            where = f"{self.config.host}:{self.config.port}"
            raise PeerError(f"DICOM port {where} cannot be opened: {exc.strerror}", retryable=False) from exc

    def stop(self) -> None:
        """End every association and close the port."""
        self._ae.shutdown()

    def _handle_requested(self, event: Event) -> None:
        """Turn away an address that is not on the list (PS3.8 9.3.4)."""
        address = ipaddress.ip_address(event.assoc.requestor.address)
        if self._networks and not any(address in network for network in self._networks):
            log.warning("association refused: address %s is not in allowed_addresses", address)
            event.assoc.acse.send_reject(_REJECTED_PERMANENT, _SERVICE_USER, _CALLING_AE_NOT_RECOGNISED)
            event.assoc.kill()

    def _handle_store(self, event: Event) -> int | Dataset:
        spooled = spool_of(event)
        calling_ae = str(event.assoc.requestor.ae_title)
        try:
            header = self._store.keep(spooled.finish(), sha256=spooled.sha256)
            self._on_instance(header, calling_ae)
        except Exception as exc:  # the peer must be answered, whatever went wrong
            return self._refusal(exc, calling_ae)
        with self._series_lock:
            self._series.setdefault(event.assoc, set()).add(header.series_instance_uid)
        return SUCCESS

    def _refusal(self, exc: Exception, calling_ae: str) -> Dataset:
        status = self._status_of(exc)
        if isinstance(exc, InstanceRejected):
            log.warning("instance from %s refused with 0x%04X: %s", calling_ae, status, exc)
        else:
            log.exception("instance from %s not kept, answered 0x%04X", calling_ae, status)
        answer = Dataset()
        answer.Status = status
        answer.ErrorComment = str(exc)[:_ERROR_COMMENT_LENGTH] if isinstance(exc, InstanceRejected) else "not kept"
        return answer

    def _handle_released(self, event: Event) -> None:
        with self._series_lock:
            series = self._series.pop(event.assoc, None)
        if not series:
            return
        try:
            self._on_released(frozenset(series))
        except Exception:
            log.exception("the end of an association could not be recorded")

    def _handle_closed(self, event: Event) -> None:
        discard_unfinished(event.assoc)


def _application_entity(config: ListenerConfig) -> AE:
    ae = AE(config.ae_title)
    ae.maximum_pdu_size = _MAXIMUM_PDU
    ae.maximum_associations = config.maximum_associations
    ae.network_timeout = config.network_timeout_s
    ae.require_called_aet = config.check_called_ae
    ae.require_calling_aet = list(config.allowed_calling_ae)
    ae.add_supported_context(Verification)
    for sop_class in STORED_SOP_CLASSES:
        ae.add_supported_context(sop_class, list(STORED_TRANSFER_SYNTAXES))
    return ae
