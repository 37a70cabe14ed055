"""A message sent to a receiver: its answer, and what is said of one that does not come."""

import contextlib
import socket
import threading
import time

import pytest

from hl7.errors import FramingError, NotAcknowledged
from hl7.mllp import frame, send

MESSAGE = b"MSH|^~\\&|LIS|H|NODE|L|20261005||ADT^A08|%s|P|2.5.1\rPID|1\r"
ACK = b"MSH|^~\\&|NODE|L|LIS|H|20261005||ACK|A%s|P|2.5.1\rMSA|AA|%s\r"


@contextlib.contextmanager
def listener(answers):
    """A peer that answers one message with the bytes given, then closes; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        received = []

        def serve():
            connection, _ = server.accept()
            with connection:
                while not received or not received[-1].endswith(b"\x1c\r"):
                    received.append((received[-1] if received else b"") + connection.recv(65536))
                for answer in answers:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], received
        finally:
            thread.join(10)


def test_sending_returns_the_acknowledgement():
    answer = frame(ACK % (b"1", b"1"))
    with listener([answer[:10], answer[10:]]) as (port, received):
        assert send("127.0.0.1", port, MESSAGE % b"1", timeout_s=5) == ACK % (b"1", b"1")
        assert received[-1] == frame(MESSAGE % b"1")


@pytest.mark.parametrize(
    ("answer", "retryable", "may_have_it"),
    [
        (frame((ACK % (b"1", b"1")).replace(b"|AA|", b"|AE|")), False, False),
        (frame((ACK % (b"1", b"1")).replace(b"|AA|", b"|AR|")), True, False),
        (frame((ACK % (b"2", b"2")).replace(b"|AA|", b"|AE|")), True, True),
        (frame(ACK % (b"2", b"2")), True, True),
        (b"", True, True),
    ],
)
def test_sending_says_whether_to_try_again_and_whether_it_may_have_arrived(answer, retryable, may_have_it):
    with listener([answer]) as (port, _), pytest.raises(NotAcknowledged) as caught:
        send("127.0.0.1", port, MESSAGE % b"1", timeout_s=5)
    assert (caught.value.retryable, caught.value.may_have_it) == (retryable, may_have_it)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400\r\n\r\n\x0bx", b"\x0bMSH|^~\\&"])
def test_answers_without_a_frame_are_framing_errors(answer):
    with listener([answer]) as (port, _), pytest.raises(FramingError):
        send("127.0.0.1", port, MESSAGE % b"1", timeout_s=5)


def test_sending_does_not_wait_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(NotAcknowledged, match="did not answer") as caught:
            send("127.0.0.1", silent.getsockname()[1], MESSAGE % b"1", timeout_s=0.2)
        assert caught.value.retryable
        assert caught.value.may_have_it
        assert time.monotonic() - started < 5


def test_a_peer_that_is_absent_may_be_tried_again():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NotAcknowledged, match=f"127.0.0.1:{port}") as caught:
        send("127.0.0.1", port, MESSAGE % b"1", timeout_s=1)
    assert caught.value.retryable
    assert not caught.value.may_have_it


def test_a_message_that_would_break_its_frame_is_not_sent():
    with pytest.raises(FramingError):
        send("127.0.0.1", 1, b"MSH|\x1c", timeout_s=1)
