"""One attempt to give a result to one destination: C-STORE or STOW-RS to a PACS, MLLP to a LIS."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from dicom_io.errors import PeerError
from dicom_io.sender import Peer, send, stow
from hl7 import mllp
from hl7.errors import NotAcknowledged
from hl7.messages import read_header
from node.database import Database
from node.errors import answer
from node.queues import Work
from node.results import delivery_book
from node.results.delivery_book import Attempt
from node.settings import LisSettings, PacsSettings, Settings
from node.tables import messages, objects


def destinations(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Every configured destination as (name, kind)."""
    pacs = tuple((pacs.name, "stow" if pacs.url else "dicom") for pacs in settings.pacs)
    return (*pacs, *((lis.name, "hl7") for lis in settings.lis))


class Deliverer:
    """Carries out the delivery attempts that `node/results/delivery_book.py` keeps the state of."""

    def __init__(self, settings: Settings, database: Database, work: Work) -> None:
        self._settings = settings
        self._database = database
        self._work = work

    def attempt(self, delivery_id: str, generation: int, number: int) -> None:
        """Try once, and record what came of it. Sending twice is harmless: UIDs and control id stay the same."""
        with self._database.read() as connection:
            row = delivery_book.pending(connection, delivery_id, generation, number)
        if row is None:
            return
        outcome = self._try(row)
        with self._database.write() as connection:
            if delivery_book.pending(connection, delivery_id, generation, number) is not None:
                delivery_book.settle(connection, self._work, row, outcome, self._settings.retry)

    def _try(self, row: Row[Any]) -> Attempt:
        try:
            self._send(row)
        except Exception as exc:
            return Attempt(problem=str(exc) or type(exc).__name__, retryable=answer(exc).retry)
        return Attempt()

    def _send(self, row: Row[Any]) -> None:
        for pacs in self._settings.pacs:
            if pacs.name == row.destination:
                self._to_pacs(pacs, self._files(row, objects.c.kind.in_(pacs.kinds)))
                return
        for lis in self._settings.lis:
            if lis.name == row.destination:
                self._to_lis(lis, row, self._files(row, objects.c.kind == "ORU"))
                return
        msg = f"destination {row.destination} is no longer configured; add it again or cancel the delivery"
        raise LookupError(msg)

    def _to_pacs(self, pacs: PacsSettings, files: Sequence[Path]) -> None:
        """Give the archive every object, also those after one that it refuses."""
        refusals: list[str] = []
        for file in files:
            try:
                self._store(pacs, file)
            except PeerError as exc:
                if exc.retryable:
                    raise
                refusals.append(str(exc))
        if refusals:
            raise PeerError("; ".join(refusals), retryable=False)

    def _store(self, pacs: PacsSettings, file: Path) -> None:
        timeout_s = self._settings.retry.delivery_timeout_s
        if pacs.url is not None:
            stow(pacs.url, [file], timeout_s=timeout_s)
        else:
            send(peer_of(pacs, self._settings), [file], timeout_s=timeout_s)

    def _to_lis(self, lis: LisSettings, row: Row[Any], files: Sequence[Path]) -> None:
        for file in files:
            body = file.read_bytes()
            message_id = self._keep(lis, row, body)
            if message_id is None:
                return
            try:
                reply = mllp.send(lis.host, lis.port, body, timeout_s=self._settings.retry.delivery_timeout_s)
            except NotAcknowledged as exc:
                if not exc.may_have_it:
                    with self._database.write() as connection:
                        delivery_book.take_back(connection, row)
                raise
            with self._database.write() as connection:
                connection.execute(messages.update().where(messages.c.id == message_id).values(reply=reply))

    def _keep(self, lis: LisSettings, row: Row[Any], body: bytes) -> int | None:
        """Store the message before it is sent; a retry is the same message. None when the attempt was overtaken."""
        control_id = read_header(body).control_id
        key = f"out|{lis.name}|{control_id}"
        with self._database.write() as connection:
            if not delivery_book.hand_over(connection, row):
                return None
            known = connection.execute(sa.select(messages.c.id).where(messages.c.duplicate_key == key)).scalar()
            if known is not None:
                return int(known)
            stored = connection.execute(
                messages.insert()
                .values(
                    direction="out",
                    duplicate_key=key,
                    digest=hashlib.sha256(body).hexdigest(),
                    body=body,
                    peer=lis.name,
                    control_id=control_id,
                    at=datetime.now(UTC),
                    case_id=row.case_id,
                )
                .returning(messages.c.id)
            )
            return int(stored.scalar_one())

    def _files(self, row: Row[Any], wanted: sa.ColumnElement[bool]) -> list[Path]:
        with self._database.read() as connection:
            paths = connection.execute(
                sa.select(objects.c.path)
                .where(objects.c.case_id == row.case_id, objects.c.revision == row.revision, wanted)
                .order_by(objects.c.kind)
            ).scalars()
            return [Path(path) for path in paths]


def peer_of(pacs: PacsSettings, settings: Settings) -> Peer:
    """The PACS as the C-STORE SCU addresses it."""
    assert pacs.ae_title is not None and pacs.host is not None and pacs.port is not None
    calling_ae = pacs.calling_ae or settings.dicom.ae_title
    return Peer(ae_title=pacs.ae_title, host=pacs.host, port=pacs.port, calling_ae=calling_ae)
