"""Peers that are broken or mean no good: the listener refuses them and serves the others."""

import contextlib
import random
import socket
import threading
from dataclasses import replace

import pytest
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification

from dicom_io.errors import PeerError
from dicom_io.sender import echo, send
from tests.receiver import receiving
from tests.unit.dicom_io.instances import picture, save_level


def test_peers_that_say_nothing_keep_nobody_out(tmp_path, wait_for):
    with receiving(tmp_path / "store", maximum_associations=2) as receiver:
        silent = [socket.create_connection(("127.0.0.1", receiver.listener.port), timeout=10) for _ in range(9)]
        try:
            wait_for(lambda: sum("AcceptorThread" in thread.name for thread in threading.enumerate()) >= 9)
            echo(receiver.peer)
            silent += [socket.create_connection(("127.0.0.1", receiver.listener.port), timeout=10) for _ in range(20)]
            assert silent[-1].recv(1) == b"", "too many from one address are closed at once"
            for connection in silent[:9]:
                connection.close()
            wait_for(lambda: can_echo(receiver.peer))
        finally:
            for connection in silent:
                connection.close()


def can_echo(peer):
    try:
        echo(peer)
    except PeerError:
        return False
    return True


def test_a_command_without_end_is_not_held_in_memory(tmp_path):
    """Fragments of a command set that never says that it is whole (PS3.8 9.3.1, message control header)."""
    fragment = b"\x01" + bytes(1 << 19)
    with receiving(tmp_path / "store") as receiver:
        assoc = AE("ENDLESS").associate("127.0.0.1", receiver.listener.port, [build_context(Verification)])
        context = assoc.accepted_contexts[0].context_id
        item = (len(fragment) + 1).to_bytes(4, "big") + bytes([context]) + fragment
        pdu = b"\x04\x00" + len(item).to_bytes(4, "big") + item
        connection = assoc.dul.socket.socket
        with pytest.raises(OSError):
            for _ in range(1000):
                connection.sendall(pdu)
        assoc.dul.socket.close()
        echo(receiver.peer)


def test_a_damaged_conversation_leaves_nothing_behind(tmp_path, wait_for):
    """A real association, recorded and played again with bytes changed, lost and added."""
    level = save_level(tmp_path, "level", picture(64, 64), "2.25.9")
    chance = random.Random(1)
    with receiving(tmp_path / "store") as receiver:
        recorded = record(receiver.peer, [level])
        before = threading.active_count()
        for _ in range(150):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", receiver.peer.port)) as connection,
            ):
                connection.sendall(damaged(recorded, chance))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass
        echo(receiver.peer)
        wait_for(lambda: threading.active_count() <= before, timeout_s=60)
        wait_for(lambda: receiver.spooled() == [])
        assert {header.sop_instance_uid for header in receiver.instances} == {"2.25.9"}


def record(peer, paths):
    """What a sender sends, by a relay between it and the peer."""
    sent = bytearray()

    def pump(source, target, copy=None):
        while piece := source.recv(1 << 16):
            if copy is not None:
                copy.extend(piece)
            target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as relay:
        sender = threading.Thread(target=send, args=(replace(peer, port=relay.getsockname()[1]), paths))
        sender.start()
        near, _ = relay.accept()
        with near, socket.create_connection((peer.host, peer.port)) as far:
            forward = threading.Thread(target=pump, args=(near, far, sent))
            forward.start()
            pump(far, near)
            forward.join()
        sender.join()
    return bytes(sent)


def damaged(recorded, chance):
    stream = bytearray(recorded)
    kind = chance.randrange(3)
    if kind == 0:
        for _ in range(chance.randrange(1, 6)):
            stream[chance.randrange(700)] = chance.randrange(256)  # mostly in the request for the association
    elif kind == 1:
        del stream[chance.randrange(len(stream)) :]
    else:
        place = chance.randrange(len(stream))
        stream[place:place] = chance.randbytes(chance.randrange(1, 40))
    return bytes(stream)
