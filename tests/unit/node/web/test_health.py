"""Liveness, readiness, metrics and the headers of every answer."""

from fastapi.testclient import TestClient

from node.views import Check


def test_live_and_ready(client: TestClient, checks: list[Check]) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").status_code == 200
    checks.append(Check(name="disk", ok=False, detail="less than 1 GB is free: make room"))
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"][2] == {"name": "disk", "ok": False, "detail": "less than 1 GB is free: make room"}


def test_metrics_are_prometheus_text(client: TestClient) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "cases_total 1.0" in answer.text


def test_every_answer_forbids_foreign_content(client: TestClient) -> None:
    for path in ("/health/live", "/api/worklist", "/nowhere"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_documentation_loads_nothing_from_elsewhere(client: TestClient) -> None:
    assert client.get("/docs").status_code == 404
    assert client.get("/api/openapi.json").json()["info"]["title"] == "Marrow Node"
