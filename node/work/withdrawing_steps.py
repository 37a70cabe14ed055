"""The steps that take a result back: encode ▸ deliver. What they send says that there is none, and why."""

from node import cases
from node.database import Database
from node.dispatch import WITHDRAWING
from node.errors import CaseCancelled
from node.intake import order_book
from node.queues import Work
from node.results import delivery_book, run_book, withdrawal_book
from node.results.delivery import destinations
from node.results.result_writer import ResultWriter
from node.settings import Settings
from node.views import CaseState
from node.work.signing_steps import made_before, still
from pipeline.domain import Report, ResultStatus


class WithdrawingSteps:
    """The steps of one withdrawal, named by its revision of the result; each may be done twice."""

    def __init__(self, settings: Settings, database: Database, work: Work, writer: ResultWriter) -> None:
        self._settings = settings
        self._database = database
        self._work = work
        self._writer = writer

    def encode(self, case_id: str, revision: int) -> None:
        """Make SR, ORU, PDF and result.json without a result."""
        with self._database.read() as connection:
            case = still(connection, case_id, revision)
            withdrawal = withdrawal_book.read(connection, case_id, revision)
            assert withdrawal is not None  # kept in the transaction that asked for this
            record = run_book.read_run(connection, case_id, withdrawal.run)
            assert record is not None  # what has no record is not withdrawn
            order = order_book.read_order(connection, case.order_id)
            predecessors = made_before(connection, case_id, revision, record.slide.study_instance_uid)
        report = Report(
            case_id=case_id,
            order=order,
            slide=record.slide,
            bundle=record.bundle,
            analysis=None,
            status=ResultStatus.NO_RESULT,
            analysed_at=withdrawal.at,
            reason=f"The result was withdrawn: {withdrawal.reason}",
            revision=revision,
            remarks=("A person has taken back every result that was sent before under this number.",),
        )
        made = self._writer.write(report, record.files, predecessors)
        with self._database.write() as connection:
            still(connection, case_id, revision)
            self._writer.keep(connection, report, made)

    def deliver(self, case_id: str, revision: int) -> None:
        """Tell each destination."""
        with self._database.write() as connection:
            case = still(connection, case_id, revision)
            if case.stage == WITHDRAWING:
                cases.move(connection, case_id, CaseState.DELIVERING, "the withdrawal is made", stage="deliver")
            where = destinations(self._settings)
            delivery_book.open_deliveries(connection, self._work, case_id, revision, where)
            delivery_book.close_case(connection, case_id, revision)

    def fail(self, case_id: str, revision: int, cause: str) -> None:
        """Make the case a dead letter; the withdrawal stands, and everyone is told when a person requeues."""
        with self._database.write() as connection:
            try:
                still(connection, case_id, revision)
            except CaseCancelled:
                return
            cases.move(connection, case_id, CaseState.FAILED, f"{cause} Requeue to send the withdrawal again.")
