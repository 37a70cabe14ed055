"""The MLLP server over real sockets on the loopback interface."""

import asyncio
import contextlib
import functools
import ssl
import subprocess

import pytest

from hl7.errors import NotAcknowledged
from hl7.mllp import MllpServer, frame, send

MESSAGE = b"MSH|^~\\&|LIS|H|NODE|L|20261005||ADT^A08|%s|P|2.5.1\rPID|1\r"
ACK = b"MSH|^~\\&|NODE|L|LIS|H|20261005||ACK|A%s|P|2.5.1\rMSA|AA|%s\r"


def control_id_of(message):
    return message.split(b"|")[9]


async def acknowledge(message, peer):
    await asyncio.sleep(0)
    return [ACK % (control_id_of(message), control_id_of(message))]


@contextlib.asynccontextmanager
async def serving(handle=acknowledge, **options):
    server = MllpServer("127.0.0.1", 0, handle, **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(drain_timeout_s=5)


class Client:
    """One connection that writes bytes as told and reads whole answers."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, server):
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    async def write(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self):
        data = await asyncio.wait_for(self.reader.readuntil(b"\x1c\r"), 10)
        assert data[0] == 0x0B
        return data[1:-2]

    async def closed(self):
        return await asyncio.wait_for(self.reader.read(), 10) == b""

    async def close(self):
        self.writer.close()
        await self.writer.wait_closed()


def with_server(steps, handle=acknowledge, **options):
    """Run `steps(server, client)` against a server."""

    async def run():
        async with serving(handle, **options) as server:
            client = await Client.connect(server)
            try:
                return await steps(server, client)
            finally:
                await client.close()

    return asyncio.run(run())


def test_a_message_is_answered():
    async def steps(_server, client):
        await client.write(frame(MESSAGE % b"1"))
        assert await client.answer() == ACK % (b"1", b"1")

    with_server(steps)


def test_a_message_cut_anywhere_is_put_together():
    async def steps(_server, client):
        for byte in frame(MESSAGE % b"1"):
            await client.write(bytes((byte,)))
            await asyncio.sleep(0)
        assert await client.answer() == ACK % (b"1", b"1")

    with_server(steps)


def test_each_of_several_answers_has_its_own_frame():
    async def handle(message, _peer):
        return [b"CA for " + message, b"AA for " + message]

    async def steps(_server, client):
        await client.write(frame(b"1") + frame(b"2"))
        answers = [await client.answer() for _ in range(4)]
        assert answers == [b"CA for 1", b"AA for 1", b"CA for 2", b"AA for 2"]

    with_server(steps, handle)


def test_several_messages_in_one_write_are_answered_in_order():
    async def steps(_server, client):
        numbers = [b"%d" % number for number in range(20)]
        data = b"".join(frame(MESSAGE % number) for number in numbers)
        await client.write(data[:-10])
        for number in numbers[:-1]:
            assert await client.answer() == ACK % (number, number)
        await client.write(data[-10:])
        assert await client.answer() == ACK % (numbers[-1], numbers[-1])

    with_server(steps)


def test_a_slow_message_does_not_let_a_later_one_overtake():
    release = asyncio.Event()

    async def handle(message, peer):
        if control_id_of(message) == b"1":
            await release.wait()
        release.set()
        return await acknowledge(message, peer)

    async def steps(server, client):
        other = await Client.connect(server)
        await client.write(frame(MESSAGE % b"1") + frame(MESSAGE % b"2"))
        await other.write(frame(MESSAGE % b"3"))  # another connection is served meanwhile and releases the first
        assert await other.answer() == ACK % (b"3", b"3")
        assert await client.answer() == ACK % (b"1", b"1")
        assert await client.answer() == ACK % (b"2", b"2")
        await other.close()

    with_server(steps, handle)


def test_a_thousand_messages_over_twenty_connections_are_each_answered_in_order():
    async def talk(server, number):
        client = await Client.connect(server)
        sent = [b"%d-%d" % (number, count) for count in range(50)]
        await client.write(b"".join(frame(MESSAGE % control_id) for control_id in sent))
        assert [await client.answer() for _ in sent] == [ACK % (control_id, control_id) for control_id in sent]
        await client.close()

    async def steps(server, _client):
        await asyncio.gather(*(talk(server, number) for number in range(20)))

    with_server(steps)


def test_stalled_connections_do_not_hold_up_the_others():
    async def steps(server, client):
        stalled = [await Client.connect(server) for _ in range(50)]
        for other in stalled:
            await other.write(b"\x0bMSH")
        await client.write(frame(MESSAGE % b"1"))
        assert await client.answer() == ACK % (b"1", b"1")
        for other in stalled:
            await other.close()

    with_server(steps)


def test_tls_is_spoken_both_ways(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    client_side = ssl.create_default_context(cafile=str(certificate))

    async def run():
        async with serving(tls=server_side) as server:
            secured = functools.partial(send, "localhost", server.port, MESSAGE % b"1", timeout_s=10)
            assert await asyncio.to_thread(secured, tls=client_side) == ACK % (b"1", b"1")
            with pytest.raises(NotAcknowledged):
                await asyncio.to_thread(secured)

    asyncio.run(run())


def test_blanks_between_frames_do_no_harm():
    async def steps(_server, client):
        await client.write(
            b"\r\n" + frame(MESSAGE % b"1") + b"\r\n\n" + frame(MESSAGE % b"2")[:-1] + frame(MESSAGE % b"3")
        )
        for number in (b"1", b"2", b"3"):
            assert await client.answer() == ACK % (number, number)

    with_server(steps)


def test_stray_bytes_are_refused_and_the_frame_behind_them_is_taken():
    async def steps(_server, client):
        await client.write(b"noise" + frame(MESSAGE % b"1"))
        assert b"MSA|AR" in await client.answer()
        assert await client.answer() == ACK % (b"1", b"1")

    with_server(steps)


def test_a_start_byte_inside_a_frame_refuses_what_stood_before_it():
    async def steps(_server, client):
        await client.write(b"\x0b" + MESSAGE % b"1" + frame(MESSAGE % b"2"))
        assert b"MSA|AR|1\r" in await client.answer()
        assert await client.answer() == ACK % (b"2", b"2")

    with_server(steps)


def test_a_message_too_long_is_refused_and_the_connection_closed():
    async def steps(_server, client):
        await client.write(b"\x0b" + MESSAGE % b"1" + b"x" * 2000)
        answer = await client.answer()
        assert b"MSA|AR|1\r" in answer
        assert b"longer than 1000 bytes" in answer
        assert await client.closed()

    with_server(steps, max_frame_bytes=1000)


def test_a_message_that_stalls_is_refused_and_the_connection_closed():
    async def steps(_server, client):
        await client.write(b"\x0b" + (MESSAGE % b"1")[:60])
        assert b"not finished in time" in await client.answer()
        assert await client.closed()

    with_server(steps, stall_timeout_s=0.05)


def test_a_message_that_trickles_is_refused_in_the_end():
    async def steps(_server, client):
        await client.write(b"\x0b")

        async def trickle():
            while True:
                await client.write(b"M")
                await asyncio.sleep(0.01)

        trickling = asyncio.ensure_future(trickle())
        assert b"not finished in time" in await client.answer()
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)

    with_server(steps, stall_timeout_s=10, frame_timeout_s=0.2)


def test_an_idle_connection_is_kept_while_a_started_frame_is_not():
    async def steps(_server, client):
        await client.write(frame(MESSAGE % b"1"))
        await client.answer()
        await asyncio.sleep(0.2)  # four times the stall timeout: the time itself is what is tested
        await client.write(frame(MESSAGE % b"2"))
        assert await client.answer() == ACK % (b"2", b"2")

    with_server(steps, stall_timeout_s=0.05)


def test_an_idle_connection_is_closed_where_the_site_wants_it():
    async def steps(_server, client):
        assert await client.closed()

    with_server(steps, idle_timeout_s=0.05)


def test_bytes_without_a_frame_are_refused_when_the_connection_ends():
    async def steps(_server, client):
        await client.write(MESSAGE % b"1")
        client.writer.write_eof()
        assert b"MSA|AR|1\r" in await client.answer()

    with_server(steps)


@pytest.mark.parametrize("data", [b"", b"\r", b"garbage", b"MSH|"])
def test_the_handler_gets_whatever_was_framed(data):
    async def handle(message, _peer):
        return [b"got " + message]

    async def steps(_server, client):
        await client.write(frame(data))
        assert await client.answer() == b"got " + data

    with_server(steps, handle)


def test_a_handler_that_fails_is_answered_without_its_words():
    async def handle(_message, _peer):
        raise RuntimeError("JANE DOE")

    async def steps(_server, client):
        await client.write(frame(MESSAGE % b"1"))
        answer = await client.answer()
        assert b"MSA|AR|1\r" in answer
        assert b"207" in answer
        assert b"JANE" not in answer
        await client.write(frame(MESSAGE % b"2"))
        assert b"MSA|AR|2\r" in await client.answer()

    with_server(steps, handle)


def test_a_handler_may_stay_silent():
    async def handle(message, peer):
        return () if control_id_of(message) == b"1" else await acknowledge(message, peer)

    async def steps(_server, client):
        await client.write(frame(MESSAGE % b"1") + frame(MESSAGE % b"2"))
        assert await client.answer() == ACK % (b"2", b"2")

    with_server(steps, handle)


def test_only_allowed_addresses_are_served():
    async def steps(_server, client):
        assert await client.closed()

    with_server(steps, allowed_addresses=("10.0.0.0/8", "::1/128"))

    async def allowed(_server, client):
        await client.write(frame(MESSAGE % b"1"))
        assert await client.answer() == ACK % (b"1", b"1")

    with_server(allowed, allowed_addresses=("10.0.0.0/8", "127.0.0.0/8"))


def test_connections_beyond_the_limit_are_closed():
    async def steps(server, client):
        await client.write(frame(MESSAGE % b"1"))
        await client.answer()
        late = await Client.connect(server)
        assert await late.closed()
        await late.close()

    with_server(steps, maximum_connections=1)


def test_stopping_answers_what_is_in_hand_and_closes_the_rest():
    async def run():
        reached, release = asyncio.Event(), asyncio.Event()

        async def handle(message, peer):
            reached.set()
            await release.wait()
            return await acknowledge(message, peer)

        async with serving(handle) as server:
            busy, idle = await Client.connect(server), await Client.connect(server)
            await busy.write(frame(MESSAGE % b"1"))
            await reached.wait()
            stopping = asyncio.ensure_future(server.stop(drain_timeout_s=10))
            assert await idle.closed()
            release.set()
            assert await busy.answer() == ACK % (b"1", b"1")
            assert await busy.closed()
            await stopping
            with pytest.raises(OSError):
                await Client.connect(server)
            await busy.close()
            await idle.close()

    asyncio.run(run())


def test_a_port_in_use_is_an_os_error():
    async def run():
        async with serving() as server:
            with pytest.raises(OSError):
                await MllpServer("127.0.0.1", server.port, acknowledge).start()

    asyncio.run(run())
