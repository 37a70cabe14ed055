"""What pynetdicom receives with (PS3.8 Annex B), made safe and fast.

It reads 4096 bytes a call, believes any PDU length a peer claims, leaves a socket open whose peer went away first, and
holds in memory whatever a peer sends as a command. `use_bounds` puts in place what does none of these.
"""

import io
import logging
import threading

from pynetdicom import ae, dimse_messages, dul, transport
from pynetdicom.association import Association
from pynetdicom.fsm import StateMachine
from pynetdicom.transport import AssociationSocket

log = logging.getLogger(__name__)

MAXIMUM_PDU = 1 << 20  # bytes of a P-DATA-TF we announce to take (PS3.8 D.1)
LARGEST_MESSAGE = 16 << 20  # bytes of a command, or of a data set other than an instance, such as of N-ACTION
_LARGEST_BELIEVED = 2 * MAXIMUM_PDU  # some peers count headers differently


class BoundedSocket(AssociationSocket):  # type: ignore[misc] # pynetdicom's types are not followed
    """Reads a PDU at once, refuses one larger than announced, and always closes."""

    def recv(self, nr_bytes: int) -> bytearray:
        """`nr_bytes` bytes, fewer when the connection ends before.

        Raises
        ------
        ConnectionError
            The peer claims a PDU beyond what was announced; the association ends.
        """
        if nr_bytes > _LARGEST_BELIEVED:
            raise ConnectionError(f"a PDU of {nr_bytes} bytes is larger than the {MAXIMUM_PDU} announced")
        buffer = bytearray(nr_bytes)
        view = memoryview(buffer)
        received = 0
        while received < nr_bytes:
            count = self.socket.recv_into(view[received:])
            if count == 0:
                break
            received += count
        view.release()
        del buffer[received:]
        return buffer

    def _shutdown_socket(self) -> None:
        connection = self.socket
        super()._shutdown_socket()
        if connection is not None:
            connection.close()


class BoundedMessage(io.BytesIO):
    """A message on its way in; one that grows too large ends its association (A-ABORT) and is forgotten."""

    def write(self, data: bytes) -> int:  # type: ignore[override] # pynetdicom writes bytes, no other buffers
        if self.tell() + len(data) > LARGEST_MESSAGE:
            events = getattr(threading.current_thread(), "event_queue", None)  # of the association's network thread
            if events is not None:
                events.put("Evt19")  # an invalid PDU (PS3.8 table 9-5)
            self.truncate(0)
            return len(data)
        return super().write(data)


class EndingStateMachine(StateMachine):  # type: ignore[misc] # pynetdicom's types are not followed
    """Ends the association where pynetdicom lets its network thread die, of what no peer should send."""

    def do_action(self, event: str) -> None:
        try:
            super().do_action(event)
        except Exception as exc:
            log.warning("association ended in state %s: %s", self.current_state, type(exc).__name__)
            self.dul.kill_dul()
            if self.dul.socket is not None:
                self.dul.socket.close()
            stop_waiting(self.dul.assoc)


def stop_waiting(assoc: Association) -> None:
    """Let an association end whose peer has gone before it asked for one; it would wait 30 s for that."""
    if assoc.requestor.primitive is None:
        assoc.dul.to_user_queue.put(None)


def use_bounds() -> None:
    """Every association of this process made from now on receives, closes and ends this way."""
    dul.StateMachine = EndingStateMachine
    ae.AssociationSocket = transport.AssociationSocket = BoundedSocket
    dimse_messages.BytesIO = BoundedMessage
