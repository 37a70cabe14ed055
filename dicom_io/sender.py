"""C-STORE SCU and C-ECHO SCU (PS3.4 Annex A and B), STOW-RS client (PS3.18 section 10.5)."""

import io
import logging
import re
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification

from dicom_io.errors import PeerError
from dicom_io.scan import FileStart, read_start
from dicom_io.transport import MAXIMUM_PDU, use_bounds

log = logging.getLogger(__name__)

_MAXIMUM_CONTEXTS = 128  # PS3.8 9.3.2.2: odd numbers to 255
_CHUNK = 1 << 20
_AE_TITLE = re.compile(r"(?! *$)[ -\[\]-~]{1,16}")  # VR AE, PS3.5 6.2
_TRANSIENT = 0x02  # A-ASSOCIATE-RJ result, PS3.8 9.3.4
_PROCESSING_FAILURE, _RESOURCE_LIMITATION = 0x0110, 0x0213

# Values of (0000,0900) that mean another try may succeed: A7xx out of resources, and two general ones (PS3.7 Annex C)
_RETRYABLE = range(0xA700, 0xA800)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another application entity, and the title this node calls itself by."""

    ae_title: str
    host: str
    port: int
    calling_ae: str = "MARROWNODE"

    def __str__(self) -> str:
        return f"{self.ae_title} at {self.host}:{self.port}"


def echo(peer: Peer, *, timeout_s: float = 10.0) -> None:
    """C-ECHO.

    Raises
    ------
    PeerError
        No answer, or a refusal.
    """
    with associate(peer, [build_context(Verification)], timeout_s) as assoc:
        status = assoc.send_c_echo()
        if status.get("Status") != 0:
            raise PeerError(f"{peer} did not answer C-ECHO", retryable=True)


def send(peer: Peer, paths: Sequence[Path], *, timeout_s: float = 60.0) -> None:
    """C-STORE every file to `peer`, read from the disk in chunks.

    A file goes in the syntax it is stored in; where the peer takes an uncompressed object in Implicit VR only, it is
    re-encoded. Sending an object again is harmless, so a caller may repeat the whole list.

    Parameters
    ----------
    peer : Peer
        The receiver.
    paths : Sequence[Path]
        DICOM files (PS3.10).
    timeout_s : float
        For the connection, and for each answer.

    Raises
    ------
    PeerError
        The peer cannot be reached or refuses an object; names the object.
    """
    pending = [(path, read_start(path)) for path in paths]
    while pending:
        batch, contexts = _batch(pending)
        pending = pending[len(batch) :]
        with associate(peer, contexts, timeout_s) as assoc:
            for path, start in batch:
                _store(assoc, peer, path, start)


def _batch(pending: Sequence[tuple[Path, FileStart]]) -> tuple[list[tuple[Path, FileStart]], list[PresentationContext]]:
    """As many files as one association can negotiate, with one syntax in each context: the peer may not choose."""
    batch: list[tuple[Path, FileStart]] = []
    wanted: dict[tuple[str, str], None] = {}
    for path, start in pending:
        pairs = [(start.sop_class_uid, start.transfer_syntax_uid)]
        if start.transfer_syntax_uid == ExplicitVRLittleEndian:
            pairs.append((start.sop_class_uid, str(ImplicitVRLittleEndian)))
        new = [pair for pair in pairs if pair not in wanted]
        if len(wanted) + len(new) > _MAXIMUM_CONTEXTS:
            break
        wanted.update(dict.fromkeys(new))
        batch.append((path, start))
    return batch, [build_context(sop_class, syntax) for sop_class, syntax in wanted]


@contextmanager
def associate(
    peer: Peer,
    contexts: Sequence[PresentationContext],
    timeout_s: float,
    *,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Iterator[Association]:
    """An association with `peer`, released at the end.

    Raises
    ------
    PeerError
        It cannot be reached, rejects the association, or accepts none of `contexts`.
    """
    assoc = _request(peer, contexts, timeout_s, roles)
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def _request(
    peer: Peer,
    contexts: Sequence[PresentationContext],
    timeout_s: float,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation],
) -> Association:
    _config.STORE_SEND_CHUNKED_DATASET = True
    use_bounds()
    _check(peer)
    ae = AE(peer.calling_ae)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    assoc = ae.associate(
        peer.host,
        peer.port,
        contexts=list(contexts),
        ae_title=peer.ae_title,
        max_pdu=MAXIMUM_PDU,
        ext_neg=list(roles),
    )
    if assoc.is_established:
        return assoc
    if assoc.is_rejected:
        answer: A_ASSOCIATE = assoc.acceptor.primitive
        raise PeerError(
            f"{peer} rejected the association: {answer.reason_str}; check both AE titles there and here",
            retryable=answer.result == _TRANSIENT,
        )
    if assoc.acceptor.primitive is not None and not assoc.accepted_contexts:
        classes = ", ".join(sorted({str(UID(context.abstract_syntax).name) for context in contexts}))
        raise PeerError(f"{peer} accepts none of: {classes}; enable them there", retryable=False)
    raise PeerError(f"{peer} cannot be reached; check host, port and that it runs", retryable=True)


def _check(peer: Peer) -> None:
    for title in (peer.ae_title, peer.calling_ae):
        if not _AE_TITLE.fullmatch(title):
            raise PeerError(f"{peer}: {title!r} is not an AE title (1 to 16 characters, no backslash)", retryable=False)
    try:
        socket.getaddrinfo(peer.host, peer.port)
    except OSError as exc:
        raise PeerError(f"{peer} cannot be reached: {exc.strerror}; check the host's name", retryable=True) from exc


def _store(assoc: Association, peer: Peer, path: Path, start: FileStart) -> None:
    name = f"{UID(start.sop_class_uid).name} {start.sop_instance_uid}"
    accepted = {(str(cx.abstract_syntax), str(cx.transfer_syntax[0])) for cx in assoc.accepted_contexts}
    payload: Path | Dataset = path
    if (start.sop_class_uid, start.transfer_syntax_uid) not in accepted:
        if (start.sop_class_uid, str(ImplicitVRLittleEndian)) not in accepted:
            syntax = UID(start.transfer_syntax_uid).name
            raise PeerError(f"{peer} does not accept {name} in {syntax}; enable it there", retryable=False)
        payload = _implicit(path)
    try:
        answer = assoc.send_c_store(payload)
    except (RuntimeError, OSError) as exc:
        raise PeerError(f"the association with {peer} ended before {name} was sent", retryable=True) from exc
    status = answer.get("Status")
    if status is None:
        raise PeerError(f"{peer} gave no answer to {name}", retryable=True)
    if status == 0:
        return
    comment = str(answer.get("ErrorComment", "")).strip()
    said = f"0x{status:04X}" + (f" ({comment})" if comment else "")
    if status >> 12 == 0xB:
        log.warning("%s stored %s with warning %s", peer, name, said)
        return
    retryable = status in _RETRYABLE or status in (_PROCESSING_FAILURE, _RESOURCE_LIMITATION)
    raise PeerError(f"{peer} refused {name} with status {said}", retryable=retryable)


def _implicit(path: Path) -> Dataset:
    """The data set in memory, marked to be encoded in the default transfer syntax (PS3.5 10.1)."""
    ds = dcmread(path)
    buffer = io.BytesIO()
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    ds.save_as(buffer, implicit_vr=True, little_endian=True)
    buffer.seek(0)
    return dcmread(buffer)


def stow(url: str, paths: Sequence[Path], *, timeout_s: float = 60.0, headers: Mapping[str, str] | None = None) -> None:
    """Store every file at the DICOMweb studies resource `url` in one STOW-RS request, streamed.

    Parameters
    ----------
    url : str
        As `https://host/dicomweb/studies`.
    paths : Sequence[Path]
        DICOM files (PS3.10).
    timeout_s : float
        For the connection and each read or write.
    headers : Mapping[str, str] | None
        Such as Authorization.

    Raises
    ------
    PeerError
        The service cannot be reached or refuses an object.
    """
    boundary = uuid.uuid4().hex
    sent = {
        **(headers or {}),
        "Accept": "application/dicom+json",
        "Content-Length": str(_length(paths, boundary)),
        "Content-Type": f'multipart/related; type="application/dicom"; boundary="{boundary}"',
    }
    try:
        answer = httpx.post(url, content=_parts(paths, boundary), headers=sent, timeout=timeout_s)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise PeerError(f"{url} cannot be reached: {type(exc).__name__}", retryable=True) from exc
    refused = _refused(answer)
    if answer.status_code == httpx.codes.OK and not refused:
        return
    if refused:
        retryable = all(reason in _RETRYABLE or reason in (0x0110, 0x0213) for _, reason in refused)
        listed = ", ".join(f"{sop_instance_uid} (0x{reason:04X})" for sop_instance_uid, reason in refused)
        raise PeerError(f"{url} refused {listed}", retryable=retryable)
    if not answer.is_success:
        retryable = answer.status_code >= 500 or answer.status_code in (408, 429)
        raise PeerError(f"{url} answered HTTP {answer.status_code}", retryable=retryable)


def _heads(boundary: str) -> tuple[bytes, bytes, bytes]:
    """What stands before each part, after each part, and at the end (RFC 2046 5.1.1)."""
    before = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return before, b"\r\n", f"--{boundary}--\r\n".encode()


def _length(paths: Sequence[Path], boundary: str) -> int:
    before, after, end = _heads(boundary)
    return sum(len(before) + path.stat().st_size + len(after) for path in paths) + len(end)


def _parts(paths: Sequence[Path], boundary: str) -> Iterator[bytes]:
    before, after, end = _heads(boundary)
    for path in paths:
        yield before
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        yield after
    yield end


def _refused(answer: httpx.Response) -> list[tuple[str, int]]:
    """SOP instance UID and failure reason of every item of Failed SOP Sequence (0008,1198)."""
    try:
        content = answer.json()
    except ValueError:
        return []
    document = content[0] if isinstance(content, list) and content else content
    items = document.get("00081198", {}).get("Value", []) if isinstance(document, dict) else []
    return [
        (str(item.get("00081155", {}).get("Value", ["?"])[0]), int(item.get("00081197", {}).get("Value", [0x0110])[0]))
        for item in items
    ]
