"""Log lines are JSON and name no patient."""

import json
import logging

import pytest
import structlog

from node import log


@pytest.fixture(autouse=True)
def _restored() -> object:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def test_one_json_line_without_patient(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info")
    structlog.get_logger("node.test").info("received", case="C1", patient_name="Muster^Maria", body="PID|1")
    logging.getLogger("another.library").warning("third party")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["received", "third party"]
    assert lines[0]["case"] == "C1"
    assert "patient_name" not in lines[0]
    assert "body" not in lines[0]
    assert {"level", "timestamp", "logger"} <= set(lines[0])


def test_level(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("error")
    structlog.get_logger("node.test").info("received")
    logging.getLogger("dbos").info("launched")
    assert capsys.readouterr().err == ""
