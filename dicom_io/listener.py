"""C-STORE, C-ECHO, storage commitment and availability notification SCP (PS3.4 Annex A, B, J and R).

A data set goes from the socket straight into the spool of the store, hashed on the way. Its status is answered when
the instance is on the disk and indexed: 0x0000 means that it can no longer be lost.
"""

import ipaddress
import logging
import threading
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.sop_class import InstanceAvailabilityNotification, StorageCommitmentPushModel, Verification
from pynetdicom.transport import ThreadedAssociationServer

from dicom_io.availability import Announced, take_notification
from dicom_io.commitment import CommitmentProvider
from dicom_io.contexts import STORED_SOP_CLASSES, STORED_TRANSFER_SYNTAXES
from dicom_io.errors import InstanceRejected, PeerError
from dicom_io.sender import Peer
from dicom_io.spool import discard_unfinished, receive_into_spool, spool_of
from dicom_io.store import FileStore, InstanceHeader
from dicom_io.transport import MAXIMUM_PDU, stop_waiting, use_bounds

log = logging.getLogger(__name__)

SUCCESS = 0x0000
_CLOSING_S = 5.0
_SILENT_PER_ADDRESS = 10  # connections that have not asked for an association yet; each lasts 30 s (ARTIM)
_ERROR_COMMENT_LENGTH = 64  # VR LO


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
    commitment_peers: tuple[Peer, ...] = ()  # who may ask for storage commitment, and where to report


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
    on_available : Callable[[str, frozenset[str]], None]
        Called with a study and those of its series that an archive says it holds.
    """

    def __init__(
        self,
        config: ListenerConfig,
        store: FileStore,
        on_instance: Callable[[InstanceHeader, str], None],
        on_released: Callable[[frozenset[str]], None],
        status_of: Callable[[Exception], int],
        on_available: Announced = lambda _study, _series: None,
    ) -> None:
        self.config = config
        self._store = store
        self._on_instance = on_instance
        self._on_released = on_released
        self._status_of = status_of
        self._on_available = on_available
        self._series: weakref.WeakKeyDictionary[Association, set[str]] = weakref.WeakKeyDictionary()
        self._series_lock = threading.Lock()
        self._ae = _ApplicationEntity(config)

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
        if discarded := self._store.discard_unfinished():
            log.info("%d unfinished receptions of an earlier run discarded", discarded)
        use_bounds()
        receive_into_spool(self._ae, self._store)
        address = (self.config.host, self.config.port)
        handlers = [
            (evt.EVT_C_STORE, self._handle_store),
            (evt.EVT_N_ACTION, CommitmentProvider(self._store, self.config.commitment_peers).handle_action),
            (evt.EVT_N_CREATE, self._handle_notification),
            (evt.EVT_RELEASED, self._handle_released),
            (evt.EVT_CONN_CLOSE, self._handle_closed),
        ]
        try:
            self._server = self._ae.start_server(address, block=False, evt_handlers=handlers)
        except OSError as exc:
            where = f"{self.config.host}:{self.config.port}"
            raise PeerError(f"DICOM port {where} cannot be opened: {exc.strerror}", retryable=False) from exc

    def stop(self) -> None:
        """Close the port and abort every association."""
        self._server.shutdown()
        for assoc in self._ae.connections:
            if assoc.is_established:
                assoc.abort()
            else:  # not begun or about to end: an abort has no meaning there (PS3.8 table 9-10)
                assoc.dul.kill_dul()
                if assoc.dul.is_alive():
                    assoc.dul.join(_CLOSING_S)
                assoc.dul.socket.close()

    def _handle_store(self, event: Event) -> int | Dataset:
        calling_ae = str(event.assoc.requestor.ae_title)
        try:
            spooled = spool_of(event)
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
            log.error("instance from %s not kept, answered 0x%04X: %s", calling_ae, status, _where(exc))
        answer = Dataset()
        answer.Status = status
        answer.ErrorComment = str(exc)[:_ERROR_COMMENT_LENGTH] if isinstance(exc, InstanceRejected) else "not kept"
        return answer

    def _handle_notification(self, event: Event) -> tuple[int, Dataset | None]:
        try:
            return take_notification(event, self._on_available)
        except Exception as exc:  # the peer must be answered, whatever went wrong
            log.error("a notification of availability could not be kept: %s", _where(exc))  # noqa: TRY400
            return self._status_of(exc), None

    def _handle_released(self, event: Event) -> None:
        with self._series_lock:
            series = self._series.pop(event.assoc, None)
        if not series:
            return
        try:
            self._on_released(frozenset(series))
        except Exception as exc:  # the peer has gone; the quiet time still closes the slide
            log.error("the end of an association could not be recorded: %s", _where(exc))  # noqa: TRY400

    def _handle_closed(self, event: Event) -> None:
        discard_unfinished(event.assoc)
        stop_waiting(event.assoc)


def _where(exc: Exception) -> str:
    """Kind and place of an error, without its message: a database quotes patients in it."""
    return f"{type(exc).__name__}\n{''.join(traceback.format_tb(exc.__traceback__))}"


class _Server(ThreadedAssociationServer):  # type: ignore[misc] # pynetdicom's types are not followed
    """Closes a connection, before it can say anything, of an address not on the list or with many that say nothing."""

    def verify_request(self, request: object, client_address: tuple[str, int]) -> bool:
        address = ipaddress.ip_address(client_address[0])
        address = getattr(address, "ipv4_mapped", None) or address
        allowed = self.ae.allowed_networks
        if allowed and not any(address in network for network in allowed):
            log.warning("connection refused: address %s is not in allowed_addresses", address)
            return False
        silent = [each for each in self.ae.connections if each.requestor.primitive is None]
        if sum(each.requestor.address == client_address[0] for each in silent) >= _SILENT_PER_ADDRESS:
            log.warning("connection refused: address %s has %d that ask for nothing", address, _SILENT_PER_ADDRESS)
            return False
        return True


class _ApplicationEntity(AE):  # type: ignore[misc] # pynetdicom's types are not followed
    """An application entity whose server knows `allowed_networks`."""

    def __init__(self, config: ListenerConfig) -> None:
        super().__init__(config.ae_title)
        self.allowed_networks = [ipaddress.ip_network(text, strict=False) for text in config.allowed_addresses]
        self.maximum_pdu_size = MAXIMUM_PDU
        self.maximum_associations = config.maximum_associations
        self.network_timeout = config.network_timeout_s
        self.require_called_aet = config.check_called_ae
        self.require_calling_aet = list(config.allowed_calling_ae)
        self.add_supported_context(Verification)
        self.add_supported_context(StorageCommitmentPushModel)
        self.add_supported_context(InstanceAvailabilityNotification)
        for sop_class in STORED_SOP_CLASSES:
            self.add_supported_context(sop_class, list(STORED_TRANSFER_SYNTAXES))

    @property
    def connections(self) -> list[Association]:
        """Every connection there is, whether it has asked for an association or not."""
        return list(super().active_associations)

    @property
    def active_associations(self) -> list[Association]:
        """Those that have asked for an association; a peer that says nothing takes no other's place."""
        return [each for each in self.connections if each.requestor.primitive is not None]

    def make_server(self, *arguments: Any, **options: Any) -> _Server:  # noqa: ANN401 - as the method it stands for
        server: _Server = super().make_server(*arguments, **{**options, "server_class": _Server})
        return server
