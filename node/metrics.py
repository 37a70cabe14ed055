"""What Prometheus scrapes: counted from the database when it asks, so that no process keeps a tally of its own.

No label holds a patient, an accession or a case.
"""

import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.database import Database
from node.tables import cases, cell_changes, deliveries, instances, messages, signatures
from node.views import CaseState, Check

_LOW_DISK_BYTES = 2 << 30


class NodeCollector(Collector):
    """Cases, deliveries, instances, messages and reviews by state, and how long the oldest case waits."""

    def __init__(self, database: Database, worker_ready: Callable[[], bool]) -> None:
        self._database = database
        self._worker_ready = worker_ready

    def collect(self) -> Iterable[Metric]:
        """Read the tables."""
        with self._database.read() as connection:
            counted = connection.execute(sa.select(cases.c.state, sa.func.count()).group_by(cases.c.state))
            by_state: dict[str, int] = {state: number for state, number in counted}  # noqa: C416 - rows, not pairs
            sent = connection.execute(
                sa.select(deliveries.c.destination, deliveries.c.state, sa.func.count()).group_by(
                    deliveries.c.destination, deliveries.c.state
                )
            ).all()
            received = connection.execute(sa.select(sa.func.count()).select_from(instances)).scalar_one()
            exchanged = connection.execute(
                sa.select(messages.c.direction, sa.func.count()).group_by(messages.c.direction)
            ).all()
            signed = connection.execute(
                sa.select(signatures.c.status, sa.func.count()).group_by(signatures.c.status)
            ).all()
            changed = connection.execute(sa.select(sa.func.count()).select_from(cell_changes)).scalar_one()
            urgent = connection.execute(
                sa.select(sa.func.count()).select_from(cases).where(cases.c.urgent.is_(True))
            ).scalar_one()
            oldest = connection.execute(
                sa.select(sa.func.min(cases.c.created_at)).where(
                    cases.c.state.in_([CaseState.QUEUED, CaseState.RUNNING])
                )
            ).scalar()
        family = GaugeMetricFamily("marrow_cases", "Cases by state.", labels=["state"])
        for state in CaseState:
            family.add_metric([state.value], by_state.get(state.value, 0))
        yield family
        family = GaugeMetricFamily("marrow_deliveries", "Deliveries by state.", labels=["destination", "state"])
        for destination, state_name, number in sent:
            family.add_metric([destination, state_name], number)
        yield family
        yield GaugeMetricFamily("marrow_instances", "DICOM instances kept.", value=received)
        family = GaugeMetricFamily("marrow_messages", "HL7 messages kept.", labels=["direction"])
        for direction, number in exchanged:
            family.add_metric([direction], number)
        yield family
        family = GaugeMetricFamily("marrow_signatures", "Results signed: F first, C again.", labels=["status"])
        for status, number in signed:
            family.add_metric([status], number)
        yield family
        yield GaugeMetricFamily("marrow_cell_changes", "Classes that experts chose or took back.", value=changed)
        yield GaugeMetricFamily("marrow_urgent_cases", "Cases above the blast threshold, not signed.", value=urgent)
        age_s = 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()
        yield GaugeMetricFamily("marrow_oldest_case_seconds", "Age of the oldest case not yet counted.", value=age_s)
        yield GaugeMetricFamily("marrow_worker_ready", "1 when a worker is up.", value=float(self._worker_ready()))


def build_registry(database: Database, worker_ready: Callable[[], bool]) -> CollectorRegistry:
    """The registry that `/metrics` shows."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(database, worker_ready))
    return registry


def readiness(database: Database, home: Path, worker_ready: Callable[[], bool]) -> tuple[Check, ...]:
    """Whether the node can do a case now (`/health/ready`)."""
    try:
        with database.read() as connection:
            connection.execute(sa.select(sa.func.count()).select_from(cases)).scalar_one()
        answers = Check(name="database", ok=True)
    except sa.exc.SQLAlchemyError as exc:
        answers = Check(name="database", ok=False, detail=f"does not answer ({type(exc).__name__})")
    free = shutil.disk_usage(home).free
    enough = Check(name="disk", ok=free > _LOW_DISK_BYTES, detail=f"{free >> 20} MiB free")
    up = worker_ready()
    worker = Check(name="worker", ok=up, detail="" if up else "starting, or started again after it ended; see the log")
    return (answers, enough, worker)
