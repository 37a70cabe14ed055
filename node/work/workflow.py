"""What a worker does (DBOS): one durable workflow per run of a case, read ▸ analyse ▸ encode ▸ deliver, one per
signature or withdrawal, encode ▸ deliver, and small ones.

Each step is recorded when it is done, so a killed worker takes up where it stopped. The case's row is the authority on
whether a run still counts: a step of a cancelled or overtaken run ends it.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import structlog
from dbos import DBOS, DBOSConfiguredInstance, StepOptions

from node.errors import CaseCancelled, NodeError, answer
from node.intake.linking import Linking
from node.queues import CLASS, COUNT, DELIVER, INSTANCE, LINK, NOTIFY, SETTLE, SIGN, WAIT_ORDER, WAIT_SLIDE, WITHDRAW
from node.results.delivery import Deliverer
from node.results.notifier import Notifier
from node.settings import Settings
from node.work.case_steps import CaseSteps
from node.work.revision_steps import RevisionSteps
from node.work.signing_steps import SigningSteps
from node.work.withdrawing_steps import WithdrawingSteps

P = ParamSpec("P")
R = TypeVar("R")
_log = structlog.get_logger(__name__)


@DBOS.dbos_class(CLASS)
class Workflows(DBOSConfiguredInstance):
    """The workflows of this node; DBOS finds the instance by its name."""

    def __init__(
        self,
        steps: CaseSteps,
        signing: SigningSteps,
        withdrawing: WithdrawingSteps,
        linking: Linking,
        deliverer: Deliverer,
        notifier: Notifier,
        settings: Settings,
    ) -> None:
        super().__init__(INSTANCE)
        self._steps = steps
        self._signing = signing
        self._withdrawing = withdrawing
        self._linking = linking
        self._deliverer = deliverer
        self._notifier = notifier
        self._settings = settings

    @DBOS.workflow(name=COUNT)
    def count(self, case_id: str, run: int) -> None:
        try:
            slide = self._step("read", self._steps.read, case_id, run)
            counted = self._step("analyse", self._steps.analyse, case_id, run, slide)
            self._step("encode", self._steps.encode, case_id, run, slide, counted)
            self._step("deliver", self._steps.deliver, case_id, run)
        except CaseCancelled:
            _log.info("run ended: the case was cancelled or overtaken", case=case_id, run=run)
        except Exception as exc:  # the worker's boundary: recorded on the case, which a person may requeue
            _log.exception("run failed", case=case_id, run=run, error=type(exc).__name__)
            self._step("fail", self._steps.fail, case_id, run, _cause(exc))

    @DBOS.workflow(name=SIGN)
    def sign(self, case_id: str, revision: int) -> None:
        self._revise("signature", self._signing, case_id, revision)

    @DBOS.workflow(name=WITHDRAW)
    def withdraw(self, case_id: str, revision: int) -> None:
        self._revise("withdrawal", self._withdrawing, case_id, revision)

    @DBOS.workflow(name=SETTLE)
    def settle(self, series: str) -> None:
        self._step("settle", self._linking.settle, series)

    @DBOS.workflow(name=LINK)
    def link(self, order_id: str) -> None:
        self._step("link", self._linking.link, order_id)

    @DBOS.workflow(name=WAIT_ORDER)
    def give_up_order(self, case_id: str) -> None:
        self._step("give up the order", self._linking.give_up_order, case_id)

    @DBOS.workflow(name=WAIT_SLIDE)
    def give_up_slide(self, order_id: str) -> None:
        self._step("give up the slide", self._linking.give_up_slide, order_id)

    @DBOS.workflow(name=DELIVER)
    def deliver(self, delivery_id: str, generation: int, attempt: int) -> None:
        self._step("attempt", self._deliverer.attempt, delivery_id, generation, attempt)

    @DBOS.workflow(name=NOTIFY)
    def notify(self, case_id: str, reason: str, attempt: int) -> None:
        self._step("notify", self._notifier.attempt, case_id, reason, attempt)

    def _revise(self, what: str, steps: RevisionSteps, case_id: str, revision: int) -> None:
        try:
            self._step("encode", steps.encode, case_id, revision)
            self._step("deliver", steps.deliver, case_id, revision)
        except CaseCancelled:
            _log.info(f"{what} ended: the case has gone on", case=case_id, revision=revision)
        except Exception as exc:  # as for a run
            _log.exception(f"{what} failed", case=case_id, revision=revision, error=type(exc).__name__)
            self._step("fail", steps.fail, case_id, revision, _cause(exc))

    def _step(self, name: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        retry = self._settings.retry
        options: StepOptions = {
            "name": name,
            "retries_allowed": True,
            "interval_seconds": retry.analysis_first_s,
            "max_attempts": retry.analysis_attempts,
            "backoff_rate": retry.backoff,
            "should_retry": lambda error: answer(error).retry,
        }
        return DBOS.run_step(options, function, *args, **kwargs)


def _cause(error: Exception) -> str:
    """Why a run failed, for a person. The text of an unforeseen error may name a patient, so only its kind is shown."""
    expected = isinstance(error, NodeError) or type(error).__module__.split(".")[0] in {
        "dicom_io",
        "hl7",
        "pdf",
        "pipeline",
    }
    if expected:
        return str(error)
    inner = getattr(error, "errors", None)
    if inner:
        return _cause(inner[-1])
    return f"an unforeseen error ({type(error).__name__}) ended the run; the log has it."
