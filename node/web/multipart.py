"""Multipart bodies (RFC 2387, PS3.18 section 8.6): streamed out with an exact length, streamed in to files."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.responses import StreamingResponse

from node.web.problems import RequestError

if TYPE_CHECKING:  # it is there for type checkers only
    from python_multipart.multipart import MultipartCallbacks

_MOST_PARTS = 10_000
_CHECK_EVERY = 64 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part to send; what `chunks` gives, `length` bytes together, is asked for when its turn has come."""

    content_type: str
    length: int
    chunks: Callable[[], Iterable[bytes]]
    location: str = ""


def single_answer(part: Part, headers: Mapping[str, str]) -> StreamingResponse:
    """One part without a multipart body around it."""
    told = {**headers, "Content-Type": part.content_type, "Content-Length": str(part.length)}
    return StreamingResponse(part.chunks(), headers=told)


def multipart_answer(parts: Sequence[Part], media_type: str, headers: Mapping[str, str]) -> StreamingResponse:
    """A multipart/related answer of parts of one media type; the first boundary line comes without a preamble."""
    boundary = uuid.uuid4().hex
    heads = [_head(part, boundary) for part in parts]
    tail = f"--{boundary}--\r\n".encode()
    length = sum(len(head) + part.length + 2 for head, part in zip(heads, parts, strict=True)) + len(tail)

    def body() -> Iterator[bytes]:
        for head, part in zip(heads, parts, strict=True):
            yield head
            yield from part.chunks()
            yield b"\r\n"
        yield tail

    content_type = f'multipart/related; type="{media_type}"; boundary="{boundary}"'
    return StreamingResponse(body(), headers={**headers, "Content-Type": content_type, "Content-Length": str(length)})


def _head(part: Part, boundary: str) -> bytes:
    location = f"Content-Location: {part.location}\r\n" if part.location else ""
    return f"--{boundary}\r\nContent-Type: {part.content_type}\r\n{location}\r\n".encode()


@dataclass(slots=True)
class ReceivedPart:
    """A part that has come in whole, in a file."""

    path: Path
    content_type: str


@dataclass(slots=True)
class _Receiving:
    """What the parser's callbacks fill."""

    folder: Path
    check: Callable[[], None]
    count: int = 0
    unchecked: int = 0
    done: list[ReceivedPart] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    name: bytes = b""
    value: bytes = b""
    path: Path | None = None
    file: BinaryIO | None = None

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def header_end(self) -> None:
        self.headers[self.name.decode("latin-1").lower()] = self.value.decode("latin-1")
        self.name = self.value = b""

    def headers_finished(self) -> None:
        self.count += 1
        if self.count > _MOST_PARTS:
            remedy = f"send at most {_MOST_PARTS} in one request"
            raise RequestError(413, "the body has too many parts", field="body", remedy=remedy)
        self.path = self.folder / f"stow-{uuid.uuid4().hex}"
        self.file = self.path.open("wb")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        assert self.file is not None
        self.file.write(data[start:end])
        self.unchecked += end - start
        if self.unchecked > _CHECK_EVERY:
            self.check()
            self.unchecked = 0

    def part_end(self) -> None:
        assert self.file is not None
        assert self.path is not None
        self.file.close()
        self.done.append(ReceivedPart(self.path, self.headers.get("content-type", "")))
        self.file, self.path, self.headers = None, None, {}

    def drop(self) -> None:
        """Remove what nobody has taken."""
        if self.file is not None:
            self.file.close()
        for path in (self.path, *(part.path for part in self.done)):
            if path is not None:
                path.unlink(missing_ok=True)


async def receive_parts(
    content_type: str, body: AsyncIterator[bytes], folder: Path, check: Callable[[], None]
) -> AsyncIterator[ReceivedPart]:
    """The parts of a body as they come in whole, each in a file of its own; memory does not grow with them.

    Parameters
    ----------
    content_type : str
        Of the request; names the boundary.
    body : AsyncIterator[bytes]
    folder : Path
        Where the files are written; who takes a part removes its file.
    check : Callable[[], None]
        Called now and then while they are; what it raises ends the request.

    Raises
    ------
    RequestError
        400 when the body is not multipart or ends before its last boundary, 413 when it has too many parts.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise RequestError(400, "the body has no boundary", field="Content-Type", remedy="send multipart/related")
    receiving = _Receiving(folder, check)
    finished = False

    def end() -> None:
        nonlocal finished
        finished = True

    callbacks: MultipartCallbacks = {
        "on_header_field": receiving.header_field,
        "on_header_value": receiving.header_value,
        "on_header_end": receiving.header_end,
        "on_headers_finished": receiving.headers_finished,
        "on_part_data": receiving.part_data,
        "on_part_end": receiving.part_end,
        "on_end": end,
    }
    try:
        parser = MultipartParser(boundary, callbacks)
        async for chunk in body:
            parser.write(chunk)
            while receiving.done:
                yield receiving.done.pop(0)
    except MultipartParseError as exc:
        raise RequestError(400, f"the body is not multipart: {exc}", field="body", remedy="send it again") from exc
    finally:
        receiving.drop()
    if not finished:
        raise RequestError(400, "the body ends before its last boundary", field="body", remedy="send it again")
