"""What Prometheus and /health/ready are told comes from the database."""

from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import generate_latest

from node import cases
from node.database import Database
from node.metrics import build_registry, readiness
from node.tables import cell_changes, signatures
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


def test_reviews_are_counted(database: Database) -> None:
    now = datetime.now(UTC)
    with database.write() as connection:
        case_id = cases.create(connection, CaseState.REPORTED, "x", urgent=True)
        change = {"run": 1, "class_name": "others", "previous": "monocyte", "model": "monocyte", "actor": "petra"}
        for cell in (1, 2):
            connection.execute(
                cell_changes.insert().values(case_id=case_id, cell_id=cell, at=now, blind=False, **change)
            )
        for revision, status in ((1, "F"), (2, "C"), (3, "C")):
            connection.execute(
                signatures.insert().values(
                    case_id=case_id, revision=revision, run=1, version=1, status=status, name="petra",
                    full_name="Dr. Petra Prüfer", at=now,
                )
            )  # fmt: skip
    text = generate_latest(build_registry(database, lambda: True)).decode()
    assert 'marrow_signatures{status="F"} 1.0' in text
    assert 'marrow_signatures{status="C"} 2.0' in text
    assert "marrow_cell_changes 2.0" in text
    assert "marrow_urgent_cases 1.0" in text
    assert "Pr" not in text.replace("Prometheus", "")
    assert case_id not in text


def test_ready_only_with_worker_and_database(database: Database, tmp_path: Path) -> None:
    assert all(check.ok for check in readiness(database, tmp_path, lambda: True))
    failing = [check.name for check in readiness(database, tmp_path, lambda: False) if not check.ok]
    assert failing == ["worker"]
    broken = Database(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    failing = [check.name for check in readiness(broken, tmp_path, lambda: True) if not check.ok]
    broken.close()
    assert failing == ["database"]
