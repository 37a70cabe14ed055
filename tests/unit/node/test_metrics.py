"""What Prometheus and /health/ready are told comes from the database."""

from pathlib import Path

from prometheus_client import generate_latest

from node import cases
from node.database import Database
from node.metrics import build_registry, readiness
from node.views import CaseState


def test_counts_by_state(database: Database) -> None:
    with database.write() as connection:
        for state in (CaseState.HELD, CaseState.HELD, CaseState.QUEUED):
            cases.create(connection, state, "x", patient_name="Muster^Maria")
    text = generate_latest(build_registry(database, lambda: True)).decode()
    assert 'marrow_cases{state="held"} 2.0' in text
    assert 'marrow_cases{state="failed"} 0.0' in text
    assert "marrow_worker_ready 1.0" in text
    assert "Muster" not in text
    age = next(line for line in text.splitlines() if line.startswith("marrow_oldest_case_seconds "))
    assert float(age.split()[1]) > 0


def test_ready_only_with_worker_and_database(database: Database, tmp_path: Path) -> None:
    assert all(check.ok for check in readiness(database, tmp_path, lambda: True))
    failing = [check.name for check in readiness(database, tmp_path, lambda: False) if not check.ok]
    assert failing == ["worker"]
    broken = Database(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    failing = [check.name for check in readiness(broken, tmp_path, lambda: True) if not check.ok]
    broken.close()
    assert failing == ["database"]
