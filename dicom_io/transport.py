"""The upper layer's socket (PS3.8 Annex B), made safe and fast.

pynetdicom reads 4096 bytes a call, believes any PDU length a peer claims, and leaves a socket open whose peer went
away first. `use_bounded_sockets` puts a socket in place that does none of these.
"""

from pynetdicom import ae, transport
from pynetdicom.transport import AssociationSocket

MAXIMUM_PDU = 1 << 20  # bytes of a P-DATA-TF we announce to take (PS3.8 D.1)
_LARGEST_BELIEVED = 2 * MAXIMUM_PDU  # some peers count headers differently


class BoundedSocket(AssociationSocket):  # type: ignore[misc]
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


def use_bounded_sockets() -> None:
    """Every association of this process made from now on reads and closes its socket this way."""
    ae.AssociationSocket = transport.AssociationSocket = BoundedSocket
