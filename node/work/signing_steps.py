"""The steps that carry out a signature: encode ▸ deliver. What is signed is made again from what the run kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dicom_io.results import ResultObject
from node import cases
from node.database import Database
from node.dispatch import SIGNING
from node.errors import CaseCancelled
from node.intake import order_book
from node.people.accounts import DEMO_REVIEWER
from node.queues import Work
from node.results import delivery_book, run_book
from node.results.archive import analysis_file, load_analysis
from node.results.delivery import destinations
from node.results.result_writer import ResultWriter
from node.results.run_book import RunRecord
from node.review import marking, review_book
from node.review.marking import Change
from node.review.review_book import Signature
from node.settings import Settings
from node.tables import objects
from node.views import CaseState
from pipeline.domain import Analysis, DifferentialCount, Order, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """What a run kept, and the experts' changes up to a version, oldest first."""

    record: RunRecord
    changes: tuple[Change, ...]


class SigningSteps:
    """The steps of one signature, named by the revision of the result that it makes; each may be done twice."""

    def __init__(self, settings: Settings, database: Database, work: Work, writer: ResultWriter) -> None:
        self._settings = settings
        self._database = database
        self._work = work
        self._writer = writer

    def encode(self, case_id: str, revision: int) -> None:
        """Make the signed result: corrected SEG and ANN, verified SR, ORU and the files beside them."""
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
        made = self._writer.write(report, counted.record.files, predecessors, first_for_lis=first)
        with self._database.write() as connection:
            still(connection, case_id, revision)
            self._writer.keep(connection, report, made)

    def deliver(self, case_id: str, revision: int) -> None:
        """Start the delivery to each destination; results still on their way to the LIS are overtaken."""
        with self._database.write() as connection:
            case = still(connection, case_id, revision)
            if case.stage == SIGNING:
                cases.move(connection, case_id, CaseState.DELIVERING, "the signed result is made", stage="deliver")
            where = destinations(self._settings)
            delivery_book.open_deliveries(connection, self._work, case_id, revision, where)
            delivery_book.close_case(connection, case_id, revision)

    def fail(self, case_id: str, revision: int, cause: str) -> None:
        """Make the case a dead letter; the signature stands, and its result is made when a person requeues."""
        with self._database.write() as connection:
            try:
                still(connection, case_id, revision)
            except CaseCancelled:
                return
            cases.move(connection, case_id, CaseState.FAILED, f"{cause} Requeue to make the signed result again.")

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


def still(connection: Connection, case_id: str, revision: int) -> Row[Any]:
    """The case, if this revision is what it is working on."""
    case = cases.current(connection, case_id)
    if case.revision != revision or case.state != CaseState.DELIVERING:
        msg = f"revision {revision} of case {case_id} is over"
        raise CaseCancelled(msg)
    return case


def _read_counted(connection: Connection, signature: Signature) -> _Counted:
    record = run_book.read_run(connection, signature.case_id, signature.run)
    assert record is not None  # a run without is not signed
    changes = review_book.read_changes(connection, signature.case_id, signature.run, until=signature.version)
    return _Counted(record=record, changes=changes)


def made_before(connection: Connection, case_id: str, revision: int, study: str) -> tuple[ResultObject, ...]:
    """The objects of the newest revision below this one that has any."""
    newest = sa.select(sa.func.max(objects.c.revision)).where(
        objects.c.case_id == case_id, objects.c.revision < revision
    )
    rows = connection.execute(
        sa.select(objects).where(
            objects.c.case_id == case_id,
            objects.c.revision == newest.scalar_subquery(),
            objects.c.sop_instance_uid != "",
        )
    )
    return tuple(
        ResultObject(
            kind=row.kind,
            path=Path(row.path),
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            study_instance_uid=study,
            series_instance_uid=row.series_instance_uid,
        )
        for row in rows
    )


def _reservations(signature: Signature) -> Sequence[str]:
    """What a reader must know of how it was signed."""
    said = []
    if signature.reason:
        said.append(f"Signed with cells unreviewed that ask for it: {signature.reason}")
    if signature.name == DEMO_REVIEWER.name:
        said.append("Signed in a demonstration, by nobody who had to sign in.")
    return said
