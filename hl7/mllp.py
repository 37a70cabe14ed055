"""MLLP, HL7 v2 Transport release 1: `0x0B message 0x1C 0x0D` over TCP; a server and a sending function.

One message at a time per connection, answers in the order of the messages. What the transport forbids (bytes outside
a frame, a start byte inside one, a frame too large or left unfinished) is answered with AR.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hl7.acks import read_ack, refuse, short_control_id
from hl7.errors import FramingError, NotAcknowledged
from hl7.messages import read_header

START, END, CARRIAGE_RETURN = 0x0B, 0x1C, 0x0D
MAXIMUM_FRAME_BYTES = 16 * 1024 * 1024
_READ_BYTES = 65536
_KEPT_BYTES = 4096  # of a broken frame: enough for its MSH, which the answer needs
_BLANK = b"\r\n\t \0\x1c"

_BETWEEN = bytes((END, CARRIAGE_RETURN, START))  # two messages, as they follow each other on the line

Handler = Callable[[bytes, str], Awaitable[Sequence[bytes]]]
_log = logging.getLogger(__name__)


def frame(message: bytes) -> bytes:
    """The message between start and end bytes."""
    return bytes((START,)) + message + bytes((END, CARRIAGE_RETURN))


def join(messages: Sequence[bytes]) -> bytes:
    """Messages as one value, to keep them: what stands on the line between the first start and the last end byte."""
    return _BETWEEN.join(messages)


def split(joined: bytes) -> tuple[bytes, ...]:
    """The messages that `join` joined."""
    return tuple(joined.split(_BETWEEN)) if joined else ()


@dataclass(frozen=True, slots=True)
class Broken:
    """Bytes that are no frame: what is wrong, their beginning, and whether the stream can go on."""

    error: FramingError
    head: bytes
    fatal: bool = False


class FrameReader:
    """Bytes in, frames out, however TCP cut them.

    The end byte ends a frame; the carriage return behind it is expected but not waited for.
    """

    def __init__(self, maximum_frame_bytes: int = MAXIMUM_FRAME_BYTES) -> None:
        self._maximum = maximum_frame_bytes
        self._open: bytearray | None = None
        self._stray = bytearray()

    @property
    def unfinished(self) -> bytes:
        """The beginning of what has arrived and was not yet given out; empty between frames."""
        held = self._stray if self._open is None else bytes((START,)) + self._open
        return bytes(held[:_KEPT_BYTES])

    def feed(self, data: bytes) -> Iterator[bytes | Broken]:
        """Frames' messages and broken parts, in order; stop after a fatal one."""
        at = 0
        while at < len(data):
            if self._open is None:
                start = data.find(START, at)
                self._keep_stray(data[at : start if start >= 0 else len(data)])
                if start < 0:
                    return
                if self._stray:
                    yield self._broken_stray()
                self._open = bytearray()
                at = start + 1
                continue
            ends = [place for place in (data.find(END, at), data.find(START, at)) if place >= 0]
            stop = min(ends, default=len(data))
            self._open += data[at:stop]
            if len(self._open) > self._maximum:
                head, self._open = bytes(self._open[:_KEPT_BYTES]), None
                yield Broken(FramingError(f"the message is longer than {self._maximum} bytes"), head, fatal=True)
                return
            at = stop
            if stop < len(data):
                message, self._open = bytes(self._open), None
                if data[stop] == END:
                    at = stop + 1
                    yield message
                else:
                    yield Broken(FramingError("a start byte (0x0B) stands inside a frame"), message[:_KEPT_BYTES])

    def _keep_stray(self, data: bytes) -> None:
        """Remember bytes outside a frame; blanks between frames do no harm."""
        if self._stray or data.strip(_BLANK):
            self._stray += data[: max(0, _KEPT_BYTES - len(self._stray))]

    def _broken_stray(self) -> Broken:
        head = bytes(self._stray)
        self._stray.clear()
        return Broken(FramingError("bytes stand before the start byte (0x0B) of the frame"), head)


class MllpServer:
    """Listens for MLLP and hands each message to `handle`.

    Parameters
    ----------
    handle : callable
        ``await handle(message, peer_address)`` returns the answers, each sent in its own frame; none stays silent. It
        runs one message at a time per connection. An exception is answered with AR 207 and logged without its text.
    allowed_addresses : sequence of str
        Networks (CIDR) that may connect; empty allows all.
    idle_timeout_s : float, optional
        Close a connection between messages after this time; None keeps it open, as most senders expect.
    stall_timeout_s : float
        How long a started frame may stay without a further byte before it is refused and the connection closed.
    frame_timeout_s : float
        How long one frame may take from its first to its last byte.
    """

    def __init__(
        self,
        host: str,
        port: int,
        handle: Handler,
        *,
        allowed_addresses: Sequence[str] = (),
        max_frame_bytes: int = MAXIMUM_FRAME_BYTES,
        idle_timeout_s: float | None = None,
        stall_timeout_s: float = 30.0,
        frame_timeout_s: float = 300.0,
        maximum_connections: int = 100,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._requested_port = port
        self._handle = handle
        self._allowed = [ipaddress.ip_network(network, strict=False) for network in allowed_addresses]
        self._max_frame_bytes = max_frame_bytes
        self._idle_timeout_s = idle_timeout_s
        self._stall_timeout_s = stall_timeout_s
        self._frame_timeout_s = frame_timeout_s
        self._maximum_connections = maximum_connections
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """The port listened on; chosen by the system when 0 was asked for."""
        if self._server is None:
            return self._requested_port
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listen. Raises OSError when the address or port cannot be had."""
        self._stopping.clear()
        self._server = await asyncio.start_server(self._connected, self._host, self._requested_port, ssl=self._tls)

    async def stop(self, *, drain_timeout_s: float = 10.0) -> None:
        """Accept no more, let the messages in hand be answered, then close every connection."""
        if self._server is None:
            return
        self._server.close()
        self._stopping.set()
        if self._connections:
            _, late = await asyncio.wait(self._connections, timeout=drain_timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        peer = _peer_address(writer)
        try:
            if not self._is_allowed(peer):
                _log.warning("mllp connection refused: %s is not in the allowed addresses", peer)
            elif len(self._connections) >= self._maximum_connections:
                _log.warning("mllp connection refused: %d are open already", len(self._connections))
            elif task is not None:
                self._connections.add(task)
                _keep_alive(writer)
                await self._serve(reader, writer, peer)
        except (ConnectionError, ssl.SSLError) as error:
            _log.info("mllp connection from %s lost: %s", peer, type(error).__name__)
        finally:
            if task is not None:
                self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    def _is_allowed(self, peer: str) -> bool:
        if not self._allowed:
            return True
        address = ipaddress.ip_address(peer.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._allowed)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        frames = FrameReader(self._max_frame_bytes)
        started: float | None = None
        while True:
            try:
                data = await self._read(reader, frames, started)
            except TimeoutError:
                if frames.unfinished:
                    broken = Broken(FramingError("the frame was not finished in time"), frames.unfinished)
                    await self._answer_broken(broken, writer, peer)
                return
            for found in frames.feed(data):
                started = None
                if isinstance(found, Broken):
                    await self._answer_broken(found, writer, peer)
                    if found.fatal:
                        return
                else:
                    await self._answer(found, writer, peer)
            if not data:
                if frames.unfinished:
                    broken = Broken(FramingError("the connection ended inside a frame"), frames.unfinished)
                    await self._answer_broken(broken, writer, peer)
                return
            if frames.unfinished and started is None:
                started = time.monotonic()

    async def _read(self, reader: asyncio.StreamReader, frames: FrameReader, started: float | None) -> bytes:
        """More bytes; none at the end of the stream, or when stopping between frames."""
        if frames.unfinished:
            left = self._frame_timeout_s - (time.monotonic() - started if started is not None else 0.0)
            timeout: float | None = max(0.0, min(self._stall_timeout_s, left))
        else:
            timeout = self._idle_timeout_s
        reading = asyncio.ensure_future(reader.read(_READ_BYTES))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            done, _ = await asyncio.wait({reading, stopping}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if reading in done:
                return reading.result()
            if not done:
                raise TimeoutError
            return b""
        finally:
            stopping.cancel()
            if not reading.done():
                reading.cancel()
            await asyncio.gather(reading, stopping, return_exceptions=True)

    async def _answer(self, message: bytes, writer: asyncio.StreamWriter, peer: str) -> None:
        try:
            answers = await self._handle(message, peer)
        except Exception as error:  # whatever went wrong, the sender must hear of it and may send again
            _log.exception("mllp message from %s failed: %s", peer, type(error).__name__, exc_info=False)
            answers = (refuse(message, error, at=datetime.now(UTC), control_id=_new_control_id()),)
        for answer in answers:
            writer.write(frame(answer))
        await writer.drain()

    async def _answer_broken(self, broken: Broken, writer: asyncio.StreamWriter, peer: str) -> None:
        _log.warning("mllp from %s: %s", peer, broken.error)
        writer.write(frame(refuse(broken.head, broken.error, at=datetime.now(UTC), control_id=_new_control_id())))
        await writer.drain()


def send(
    host: str,
    port: int,
    message: bytes,
    *,
    timeout_s: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """Send one message, wait for its acknowledgement and check it.

    Returns
    -------
    bytes
        The acknowledgement.

    Raises
    ------
    NotAcknowledged
        Not reachable, no answer in time, or refused; `retryable` says whether to try again.
    FramingError
        The peer answered with something that is no MLLP frame, or `message` cannot be framed.
    """
    if START in message or END in message:
        raise FramingError("the message holds an MLLP start or end byte (0x0B, 0x1C): escape it")
    control_id, begun = read_header(message).control_id, False
    try:
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection((host, port), timeout=timeout_s))
            if tls is not None:
                connection = stack.enter_context(tls.wrap_socket(connection, server_hostname=host))
            begun = True
            connection.sendall(frame(message))
            answer = _receive(connection, time.monotonic() + timeout_s)
    except TimeoutError as error:
        text = f"{host}:{port} did not answer within {timeout_s:g} s"
        raise NotAcknowledged(text, retryable=True, may_have_it=begun) from error
    except OSError as error:
        text = f"{host}:{port} cannot be reached: {error.strerror or error}"
        raise NotAcknowledged(text, retryable=True, may_have_it=begun) from error
    read_ack(answer, control_id)
    return answer


def _receive(connection: socket.socket, deadline: float) -> bytes:
    frames = FrameReader()
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        data = connection.recv(_READ_BYTES)
        for found in frames.feed(data):
            if isinstance(found, Broken):
                raise found.error
            return found
        if not data:
            if frames.unfinished:
                raise FramingError("the answer ended inside a frame")
            raise NotAcknowledged("the connection was closed without an answer", retryable=True)


def _peer_address(writer: asyncio.StreamWriter) -> str:
    name = writer.get_extra_info("peername")
    return str(name[0]) if name else ""


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Find dead peers: first probe after 60 s, then every 15 s, four times."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _new_control_id() -> str:
    return short_control_id(uuid.uuid4().hex)
