"""The steps that take a result back. What they send says that there is none, and why."""

from node.dispatch import WITHDRAWING
from node.intake import order_book
from node.results import run_book, withdrawal_book
from node.work.revision_steps import Draft, RevisionSteps, made_before, made_until, still
from pipeline.domain import Report, ResultStatus


class WithdrawingSteps(RevisionSteps):
    """SR, ORU, PDF and result.json without a result, and the note that has archives hide what they have."""

    stage = WITHDRAWING
    made = "the withdrawal is made"
    remedy = "Requeue to send the withdrawal again."

    def draft(self, case_id: str, revision: int) -> Draft:
        """That there is no result, and why."""
        with self._database.read() as connection:
            case = still(connection, case_id, revision)
            withdrawal = withdrawal_book.read(connection, case_id, revision)
            assert withdrawal is not None  # kept in the transaction that asked for this
            record = run_book.read_run(connection, case_id, withdrawal.run)
            assert record is not None  # what has no record is not withdrawn
            order = order_book.read_order(connection, case.order_id)
            study = record.slide.study_instance_uid
            predecessors = made_before(connection, case_id, revision, study)
            rejected = made_until(connection, case_id, revision, study)
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
        return Draft(report=report, files=record.files, predecessors=predecessors, rejected=rejected)
