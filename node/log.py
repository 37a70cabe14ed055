"""Structured logging: one JSON line per event on standard error.

An event carries identifiers of cases, objects and destinations, never a patient's name, number or birth date; the keys
that could are dropped wherever they come from.
"""

import logging
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

_FORBIDDEN = frozenset({"patient", "patient_id", "patient_name", "birth_date", "patient_birth_date", "body", "message"})


def configure(level: str) -> None:
    """Send every log line of this process, third-party ones too, to standard error as JSON."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _drop_patient,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in (
        "dbos",
        "pynetdicom",
        "pydicom",
        "alembic",
        "uvicorn",
        "wsidicom",
        "hl7apy",
        "matplotlib",
        "PIL",
        "fpdf",
        "fontTools",
        "highdicom",
    ):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def _drop_patient(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in _FORBIDDEN & event.keys():
        del event[key]
    return event
