"""The steps that carry out a signature. What is signed is made again from what the run kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from node.dispatch import SIGNING
from node.intake import order_book
from node.people.accounts import DEMO_REVIEWER
from node.results import run_book
from node.results.archive import analysis_file, load_analysis
from node.results.run_book import RunRecord
from node.review import marking, review_book
from node.review.marking import Change
from node.review.review_book import Signature
from node.work.revision_steps import Draft, RevisionSteps, made_before, still
from pipeline.domain import Analysis, DifferentialCount, Order, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """What a run kept, and the experts' changes up to a version, oldest first."""

    record: RunRecord
    changes: tuple[Change, ...]


class SigningSteps(RevisionSteps):
    """Corrected SEG and ANN, verified SR, ORU and the files beside them."""

    stage = SIGNING
    made = "the signed result is made"
    remedy = "Requeue to make the signed result again."

    def draft(self, case_id: str, revision: int) -> Draft:
        """What was signed."""
        with self._database.read() as connection:
            case = still(connection, case_id, revision)
            signature = review_book.read_signature(connection, case_id, revision)
            assert signature is not None  # kept in the transaction that asked for this
            counted = _read_counted(connection, signature)
            earlier = review_book.last_signed_result(connection, case_id, before=revision)
            replaced = None if earlier is None else _read_counted(connection, earlier)
            order = order_book.read_order(connection, case.order_id)
            first = bool(self._settings.lis) and not review_book.lis_may_have(connection, case_id)
            predecessors = made_before(connection, case_id, revision, counted.record.slide.study_instance_uid)
        before = None if replaced is None else self._analysis(replaced)[0].differential
        report = self._report(signature, counted, order, before)
        return Draft(report=report, files=counted.record.files, predecessors=predecessors, first_for_lis=first)

    def _report(
        self, signature: Signature, counted: _Counted, order: Order | None, before: DifferentialCount | None
    ) -> Report:
        analysis, done = self._analysis(counted)
        return Report(
            case_id=signature.case_id,
            order=order,
            slide=counted.record.slide,
            bundle=counted.record.bundle,
            analysis=analysis,
            status=signature.status,
            analysed_at=counted.record.analysed_at,
            reviewer=signature.full_name,
            signed_at=signature.at,
            replaces=before,
            revision=signature.revision,
            warnings=(*counted.record.warnings, *_reservations(signature)),
            remarks=(done,),
        )

    def _analysis(self, counted: _Counted) -> tuple[Analysis, str]:
        """The analysis with the experts' classes, and in a sentence what they did."""
        record = counted.record
        analysis = load_analysis(analysis_file(self._settings.home_folder / "cases", record.case_id, record.run))
        table = marking.table_of(analysis, 0.0, "")
        marks = marking.mark(table, marking.no_marks(table), counted.changes)
        moved = int((marking.final(table, marks) != table.model).sum())
        seen = marking.progress(table, marks).reviewed
        done = f"An expert reviewed {seen} of {len(analysis.cells)} cells and gave {moved} of them another class."
        return marking.corrected(analysis, table, marks, self._settings.analysis), done


def _read_counted(connection: Connection, signature: Signature) -> _Counted:
    record = run_book.read_run(connection, signature.case_id, signature.run)
    assert record is not None  # a run without is not signed
    changes = review_book.read_changes(connection, signature.case_id, signature.run, until=signature.version)
    return _Counted(record=record, changes=changes)


def _reservations(signature: Signature) -> Sequence[str]:
    """What a reader must know of how it was signed."""
    said = []
    if signature.reason:
        said.append(f"Signed with cells unreviewed that ask for it: {signature.reason}")
    if signature.name == DEMO_REVIEWER.name:
        said.append("Signed in a demonstration, by nobody who had to sign in.")
    return said
