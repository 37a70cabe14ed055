"""One worker: the DBOS runtime and the model, in a process of its own.

`marrow-node serve` starts one as its child and keeps a pipe to it: when the parent ends, however it ends, the pipe ends
and so does the worker. Work that was in hand is taken up by the next one.
"""

import fcntl
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog
from dbos import DBOS, DBOSConfig

from node.codes import load_codes
from node.files import remove_leftovers
from node.intake.linking import Linking
from node.opening import open_existing
from node.queues import APPLICATION, CASES, DELIVERIES, INTAKE, SIGNATURES, Work
from node.results.delivery import Deliverer
from node.results.notifier import Notifier
from node.results.result_writer import ResultWriter
from node.settings import Settings
from node.tables import cases as case_table
from node.views import CaseState
from node.work.case_steps import CaseSteps
from node.work.inference import Inference
from node.work.signing_steps import SigningSteps
from node.work.withdrawing_steps import WithdrawingSteps
from node.work.worker_protocol import READY
from node.work.workflow import Workflows

# Recorded with every workflow: one written by another version of the steps is not taken up. Raise it when they change.
STEPS_VERSION = "1"
_POLL_S = 0.2

_log = structlog.get_logger(__name__)


def run_worker(settings: Settings, *, parent: int | None = None) -> None:
    """Work until told to stop, or until `parent`, the descriptor of the pipe to the parent process, ends.

    Raises
    ------
    SettingsError, WeightsError
        The database, the codes or the bundle cannot be used.

    """
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    database = open_existing(settings.database_url)
    inference = Inference(settings.bundle, settings.analysis)
    for folder in (settings.home_folder / "cases").glob("*/"):
        remove_leftovers(folder)
    with _only_worker(settings):
        work = Work(settings.database_url)
        DBOS(config=_configuration(settings))
        writer = ResultWriter(settings, load_codes())
        steps = CaseSteps(settings, database, work, inference, writer)
        signing = SigningSteps(settings, database, work, writer)
        withdrawing = WithdrawingSteps(settings, database, work, writer)
        linking = Linking(settings.intake, database, work)
        deliverer, notifier = Deliverer(settings, database, work), Notifier(settings, database, work)
        Workflows(steps, signing, withdrawing, linking, deliverer, notifier, settings)
        DBOS.launch()
        DBOS.register_queue(CASES, worker_concurrency=1, polling_interval_sec=_POLL_S, on_conflict="always_update")
        DBOS.register_queue(SIGNATURES, worker_concurrency=1, polling_interval_sec=_POLL_S, on_conflict="always_update")
        DBOS.register_queue(INTAKE, worker_concurrency=4, polling_interval_sec=_POLL_S, on_conflict="always_update")
        DBOS.register_queue(
            DELIVERIES, partition_concurrency=1, polling_interval_sec=_POLL_S, on_conflict="always_update"
        )
        _log.info("worker ready", bundle=inference.info.name, version=inference.info.version)
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
        _wait_for_signal()
        with database.write() as connection:  # a stop on purpose is no fault of the slide in hand
            connection.execute(
                case_table.update()
                .where(case_table.c.state == CaseState.RUNNING, case_table.c.attempts > 0)
                .values(attempts=case_table.c.attempts - 1)
            )
        _log.info("worker stopped")
        sys.stderr.flush()
        os._exit(0)  # threads that still count cannot be interrupted; what they do is not lost


def _configuration(settings: Settings) -> DBOSConfig:
    on_one_machine = settings.database_url.startswith("sqlite")
    return {
        "name": APPLICATION,
        "system_database_url": settings.database_url,
        "application_version": STEPS_VERSION,
        "executor_id": "local" if on_one_machine else socket.gethostname(),
        "log_level": "WARNING",
    }


@contextmanager
def _only_worker(settings: Settings) -> Iterator[None]:
    """On SQLite one worker works; the one of a node that just died may still be ending, so wait for it."""
    with (settings.home_folder / "worker.lock").open("w") as lock:
        if settings.database_url.startswith("sqlite"):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _end_with(parent: int) -> None:
    while os.read(parent, 1):
        pass
    os._exit(0)


def _wait_for_signal() -> None:
    stop = threading.Event()

    def stopped(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stopped)
    stop.wait()
