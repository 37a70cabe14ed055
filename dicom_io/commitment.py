"""Storage Commitment Push Model SCP (PS3.4 Annex J): a scanner asks whether it may delete what it sent.

The answer is what lies on the disk at that moment. It goes out on an association of its own to the asking entity,
whose address must be known: on the one that asked, pynetdicom would take the next C-STORE request for the response.
"""

import logging
import threading
from collections.abc import Sequence

from pydicom.dataset import Dataset
from pynetdicom import build_role
from pynetdicom.events import Event
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from dicom_io.errors import InstanceRejected, PeerError
from dicom_io.header import parse_header
from dicom_io.sender import Peer, associate
from dicom_io.store import FileStore

log = logging.getLogger(__name__)

SUCCESS, NO_SUCH_INSTANCE, INVALID_ARGUMENT = 0x0000, 0x0112, 0x0115  # PS3.7 Annex C
NO_SUCH_ACTION, NOT_AUTHORISED = 0x0123, 0x0124
_REQUEST = 1  # action type, J.3.2.1.1
_ALL_COMMITTED, _SOME_FAILED = 1, 2  # event types, J.3.3.1.1
_NO_SUCH_OBJECT, _CLASS_CONFLICT = 0x0112, 0x0119  # failure reasons, PS3.3 C.14.1.1
_TIMEOUT_S = 60.0


class CommitmentProvider:
    """Answers requests for commitment from a store.

    Parameters
    ----------
    store : FileStore
        What is promised.
    peers : Sequence[Peer]
        Entities that take the answer on an association of their own, by AE title.
    """

    def __init__(self, store: FileStore, peers: Sequence[Peer]) -> None:
        self._store = store
        self._peers = {peer.ae_title: peer for peer in peers}

    def handle_action(self, event: Event) -> tuple[int, None]:
        """N-ACTION: take the request; the report follows in a thread of its own."""
        if event.action_type != _REQUEST:
            return NO_SUCH_ACTION, None
        if event.request.RequestedSOPInstanceUID != StorageCommitmentPushModelInstance:
            return NO_SUCH_INSTANCE, None
        request = event.action_information
        if not request.get("TransactionUID") or not request.get("ReferencedSOPSequence"):
            return INVALID_ARGUMENT, None
        calling_ae = str(event.assoc.requestor.ae_title).strip()
        peer = self._peers.get(calling_ae)
        if peer is None:
            log.warning("storage commitment asked by %s refused: its host and port are not configured", calling_ae)
            return NOT_AUTHORISED, None
        threading.Thread(target=self._answer, args=(peer, request), daemon=True).start()
        return SUCCESS, None

    def report(self, request: Dataset) -> tuple[int, Dataset]:
        """Event type and event information for a request (PS3.4 table J.3-2)."""
        kept, failed = [], []
        for item in request.ReferencedSOPSequence:
            reference = Dataset()
            reference.ReferencedSOPClassUID = item.ReferencedSOPClassUID
            reference.ReferencedSOPInstanceUID = item.ReferencedSOPInstanceUID
            reason = self._reason_against(str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
            if reason:
                reference.FailureReason = reason
                failed.append(reference)
            else:
                kept.append(reference)
        information = Dataset()
        information.TransactionUID = request.TransactionUID
        if kept:
            information.ReferencedSOPSequence = kept
        if failed:
            information.FailedSOPSequence = failed
        return _SOME_FAILED if failed else _ALL_COMMITTED, information

    def _reason_against(self, sop_class_uid: str, sop_instance_uid: str) -> int:
        path = self._store.find(sop_instance_uid)
        if path is None:
            return _NO_SUCH_OBJECT
        try:
            return 0 if parse_header(path).sop_class_uid == sop_class_uid else _CLASS_CONFLICT
        except InstanceRejected:
            return _NO_SUCH_OBJECT

    def _answer(self, peer: Peer, request: Dataset) -> None:
        contexts = [build_context(StorageCommitmentPushModel)]
        roles = [build_role(StorageCommitmentPushModel, scp_role=True)]
        try:
            event_type, information = self.report(request)
            with associate(peer, contexts, _TIMEOUT_S, roles=roles) as assoc:
                status, _ = assoc.send_n_event_report(
                    information, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
                )
            if status.get("Status") != SUCCESS:
                log.warning("%s did not take the storage commitment report", peer)
        except (PeerError, RuntimeError, ValueError, AttributeError) as exc:
            log.warning("storage commitment could not be reported to %s: %s", peer, exc)
