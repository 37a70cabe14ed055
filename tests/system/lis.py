"""A laboratory system: places orders by MLLP and receives results, parsing each at hl7apy's level STRICT."""

import asyncio
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from hl7.acks import accept, short_control_id
from hl7.messages import read_header
from hl7.mllp import MllpServer, send
from hl7.placer import encode_order
from pipeline.domain import EntityId, Order, Patient, Priority
from tests.system.processes import free_port
from tests.system.scans import Scan

ORDERED_AT = datetime(2026, 1, 2, 4, 0, tzinfo=UTC)


class Lis:
    """An MLLP receiver on a port it keeps over `stop` and `start`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.received: list[bytes] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: MllpServer | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        self._server = MllpServer("127.0.0.1", self.port, self._take)
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result()

    def stop(self) -> None:
        if self._server is not None:
            asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result()
            self._server = None

    async def _take(self, message: bytes, _peer: str) -> tuple[bytes, ...]:
        parse_message(message.decode(), validation_level=VALIDATION_LEVEL.STRICT)
        self.received.append(message)
        return accept(message, at=datetime.now(UTC), control_id=short_control_id(f"A{len(self.received)}"))

    @property
    def control_ids(self) -> set[str]:
        return {read_header(message).control_id for message in self.received}


def order_for(scan: Scan, priority: Priority = Priority.ROUTINE, patient: Patient | None = None) -> Order:
    """The order that names a scan by its accession number and container."""
    return Order(
        patient=patient or scan.patient,
        placer_order_number=EntityId(value=f"PL-{scan.accession}", namespace="LIS"),
        accession_number=scan.accession,
        container_ids=(scan.container,),
        test_code="47286-0",
        test_name="Differential panel - Bone marrow",
        priority=priority,
    )


def place(port: int, order: Order, *, control: str = "NW", control_id: str = "") -> bytes:
    """Send an order to the node; returns its acknowledgement."""
    control_id = control_id or short_control_id(f"{control}-{order.accession_number}")
    return send("127.0.0.1", port, encode_order(order, control=control, control_id=control_id, at=ORDERED_AT))
