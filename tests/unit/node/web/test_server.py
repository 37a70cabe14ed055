"""The server in its thread: clients that do not come to the point, and answers larger than memory."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from node.views import CaseState
from node.web import server
from node.web.app import create_web
from node.web.identity import COOKIE
from node.web.sources import WebSources
from tests.large import write_large_instance
from tests.serving import serving
from tests.stored_cases import Site, store_case


@pytest.fixture
def port(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(server, "HEAD_S", 0.3)
    with serving(site) as address:
        yield int(address.rpartition(":")[2])


def closed(connection: socket.socket) -> bool:
    """True when the node has ended the connection; a piece of a head is sent as long as it has not."""
    try:
        connection.sendall(b"a")
        return connection.recv(1024, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("begun", [b"", b"GET /health/live HTTP/1.1\r\nHost: a\r\nX: "])
def test_a_head_that_does_not_end_is_not_waited_for(port: int, wait_for: Callable[..., object], begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(begun)
        assert wait_for(lambda: closed(connection))


def test_nor_the_next_one(port: int, wait_for: Callable[..., object]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wait_for(lambda: b"200 OK" in connection.recv(4096))
        connection.sendall(b"GET ")
        assert wait_for(lambda: closed(connection))


def test_an_answer_may_take_longer(site: Site, port: int) -> None:
    """A stream of events still brings them when connections that began after it were given up."""
    cookies = {COOKIE: site.sign_in()}
    with httpx.stream("GET", f"http://127.0.0.1:{port}/api/events", timeout=30, cookies=cookies) as answer:
        lines = answer.iter_lines()
        assert "listening" in next(lines)
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as idle:
                assert idle.recv(1) == b""
        case_id = store_case(site, CaseState.WAITING)
        assert any(case_id in line for line in lines)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_a_study_of_any_size_needs_no_memory(site: Site, tmp_path: Path, port: int, level: str) -> None:
    megabytes = 400
    header = site.receive(write_large_instance(tmp_path / "large.dcm", megabytes))
    address = f"http://127.0.0.1:{port}/dicomweb/studies/{header.study_instance_uid}"
    if level != "study":
        address += f"/series/{header.series_instance_uid}"
    if level == "instance":
        address += f"/instances/{header.sop_instance_uid}"
    before, most, received = resident_bytes(), 0, 0
    with httpx.stream("GET", address, timeout=60) as answer:
        for piece in answer.iter_raw(1 << 20):
            received += len(piece)
            most = max(most, resident_bytes())
    assert received == int(answer.headers["content-length"]) > megabytes * 1_000_000
    assert most - before < 64 << 20


def test_pictures_wait_for_their_turn_and_nothing_else_does(sources: WebSources, site: Site, shared: Path) -> None:
    header = site.receive(shared / "dicom" / "highdicom-sm_image.dcm")
    series = f"/dicomweb/studies/{header.study_instance_uid}/series/{header.series_instance_uid}"
    address = f"{series}/instances/{header.sop_instance_uid}/rendered"

    async def ask() -> list[int]:
        app = create_web(sources)
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client:
            turns = app.state.dicomweb.rendering
            taken = 0
            while not turns.locked():
                await turns.acquire()
                taken += 1
            pictures = [asyncio.create_task(client.get(address)) for _ in range(60)]
            assert (await client.get("/health/ready")).is_success
            assert (await client.get(series.partition("/series")[0] + "/metadata")).is_success
            assert not any(picture.done() for picture in pictures)
            for _ in range(taken):
                turns.release()
            return [answer.status_code for answer in await asyncio.gather(*pictures)]

    assert asyncio.run(ask()) == [200] * 60
