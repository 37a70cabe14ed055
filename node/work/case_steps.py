"""The steps of one run of a case: read ▸ analyse ▸ encode ▸ deliver."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from dicom_io.errors import SlideError
from dicom_io.slide import DicomSlide
from node import cases
from node.database import Database
from node.errors import CaseCancelled, RepeatedCrash
from node.intake import order_book
from node.queues import Work
from node.results import delivery_book, notifier, run_book
from node.results.archive import analysis_file, load_analysis, save_analysis
from node.results.delivery import destinations
from node.results.outputs import Output
from node.results.result_writer import ResultWriter
from node.results.run_book import RunRecord
from node.review import review_book
from node.review.review_book import Signature
from node.settings import Settings
from node.tables import cases as case_table
from node.tables import instances, slides
from node.views import CaseState
from node.work.inference import Inference, describe
from pipeline.domain import Report, ResultStatus, SlideInfo
from pipeline.errors import NoCountableRegion, TooFewCells

_PROGRESS_EVERY_S = 0.4


class CaseSteps:
    """The steps of one run. Each returns what the next ones need, as JSON, and may be done twice."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        work: Work,
        inference: Inference,
        writer: ResultWriter,
    ) -> None:
        self._settings = settings
        self._database = database
        self._work = work
        self._inference = inference
        self._writer = writer
        self._folder = settings.home_folder / "cases"

    def read(self, case_id: str, run: int) -> dict[str, Any]:
        """Fix which files this run counts, and what the slide says of itself."""
        with self._database.write() as connection:
            case = self._still(connection, case_id, run)
            if case.state == CaseState.QUEUED:
                cases.move(connection, case_id, CaseState.RUNNING, "counting began", stage="read", progress=0.0)
            paths = connection.execute(
                sa.select(instances.c.path)
                .where(instances.c.series_instance_uid == case.series_instance_uid)
                .order_by(instances.c.path)
            ).scalars()
            files = list(paths)
        info, warnings, reason = describe([Path(path) for path in files])
        slide = cases.SLIDE_INFO.dump_python(info, mode="json")
        with self._database.write() as connection:
            self._still(connection, case_id, run)
            connection.execute(
                slides.update().where(slides.c.series_instance_uid == case.series_instance_uid).values(info=slide)
            )
            connection.execute(
                case_table.update()
                .where(case_table.c.id == case_id)
                .values(slide_digest=info.digest or case.slide_digest, synthetic=info.synthetic)
            )
        return {"files": files, "slide": slide, "warnings": list(warnings), "reason": reason}

    def analyse(self, case_id: str, run: int, slide: dict[str, Any]) -> dict[str, Any]:
        """Count the slide; the analysis is kept as a file, the time of the analysis with the step."""
        self._begin_attempt(case_id, run)
        reason = slide["reason"]
        if not reason:
            try:
                with DicomSlide.open([Path(path) for path in slide["files"]]) as opened:
                    analysis = self._inference.analyse(opened, self._progress(case_id, run))
                save_analysis(analysis, analysis_file(self._folder, case_id, run))
            except (NoCountableRegion, TooFewCells, SlideError) as exc:
                reason = str(exc)
        return {"reason": reason, "analysed_at": datetime.now(UTC).isoformat()}

    def encode(self, case_id: str, run: int, slide: dict[str, Any], counted: dict[str, Any]) -> None:
        """Make every result file, and record what the case came to."""
        self._progress(case_id, run)("encode", 0.0)
        with self._database.read() as connection:
            case = self._still(connection, case_id, run)
            order = order_book.read_order(connection, case.order_id)
        info: SlideInfo = cases.SLIDE_INFO.validate_python(slide["slide"])
        analysis = None if counted["reason"] else load_analysis(analysis_file(self._folder, case_id, run))
        report = Report(
            case_id=case_id,
            order=order,
            slide=info,
            bundle=self._inference.info,
            analysis=analysis,
            status=ResultStatus.PRELIMINARY if analysis else ResultStatus.NO_RESULT,
            analysed_at=datetime.fromisoformat(counted["analysed_at"]),
            reason=counted["reason"],
            revision=case.revision,
            warnings=tuple(slide["warnings"]),
        )
        files = tuple(Path(path) for path in slide["files"])
        self._record(run, report, self._writer.write(report, files), files)

    def deliver(self, case_id: str, run: int) -> None:
        """Start the delivery to each destination; they go on by themselves, and end the case."""
        with self._database.write() as connection:
            case = self._still(connection, case_id, run)
            record = run_book.read_run(connection, case_id, run)
            if record is not None and case.revision != record.revision:
                return  # this step was done before, and the result signed since
            if case.state == CaseState.RUNNING:
                cases.move(connection, case_id, CaseState.DELIVERING, "results are made", stage="deliver")
            where = destinations(self._settings)
            if (
                review_book.last_signed_result(connection, case_id) is not None
            ):  # a final result is not taken back by a P
                where = tuple((name, kind) for name, kind in where if kind != "hl7")
            delivery_book.open_deliveries(connection, self._work, case_id, case.revision, where)
            delivery_book.close_case(connection, case_id, case.revision)

    def fail(self, case_id: str, run: int, cause: str) -> None:
        """Make the case a dead letter, unless it has gone on without this run."""
        with self._database.write() as connection:
            try:
                self._still(connection, case_id, run)
            except CaseCancelled:
                return
            cases.move(connection, case_id, CaseState.FAILED, f"{cause} Requeue to try again.")

    def _still(self, connection: sa.Connection, case_id: str, run: int) -> sa.Row[Any]:
        """The case, if this run is its current one and it goes on."""
        case = cases.current(connection, case_id)
        going = {CaseState.QUEUED, CaseState.RUNNING, CaseState.DELIVERING}
        if case.run != run or case.state not in going:
            msg = f"run {run} of case {case_id} is over"
            raise CaseCancelled(msg)
        return case

    def _begin_attempt(self, case_id: str, run: int) -> None:
        limit = self._settings.retry.analysis_attempts
        with self._database.write() as connection:
            case = self._still(connection, case_id, run)
            if case.attempts >= limit:
                msg = f"the worker ended {case.attempts} times while counting this slide."
                raise RepeatedCrash(msg)
            connection.execute(case_table.update().where(case_table.c.id == case_id).values(attempts=case.attempts + 1))
            if case.attempts:
                cases.note(connection, case_id, f"counting began again, attempt {case.attempts + 1} of {limit}")

    def _progress(self, case_id: str, run: int) -> Callable[[str, float], None]:
        """What the pipeline calls as it goes on: keeps the case's progress, and ends a run that no longer counts."""
        last_stage, last_at = "", 0.0

        def keep(stage: str, fraction: float) -> None:
            nonlocal last_stage, last_at
            now = time.monotonic()
            if stage == last_stage and now - last_at < _PROGRESS_EVERY_S:
                return
            last_stage, last_at = stage, now
            with self._database.write() as connection:
                changed = connection.execute(
                    case_table.update()
                    .where(
                        case_table.c.id == case_id,
                        case_table.c.run == run,
                        case_table.c.state == CaseState.RUNNING,
                    )
                    .values(
                        stage=stage,
                        progress=cases.whole_progress(stage, fraction),
                        updated_at=datetime.now(UTC),
                    )
                )
            if not changed.rowcount:
                msg = f"run {run} of case {case_id} is over"
                raise CaseCancelled(msg)

        return keep

    def _hold_cause(self, report: Report, signed: Signature | None) -> str:
        """Why a person must look at a result before it counts as reported; empty when nobody has to."""
        if report.analysis is None:
            cause = f"not countable: {report.reason}"
        else:
            total, wanted = report.analysis.differential.total, self._settings.analysis.minimum_cells
            few = f"only {total} cells were counted, {wanted} are wanted: the percentages are uncertain"
            cause = few if total < wanted else ""
        if signed is None:
            return cause
        again = f"counted again after {signed.full_name} signed it: review and sign the new count"
        return f"{again}; {cause}" if cause else again

    def _record(self, run: int, report: Report, made: tuple[Output, ...], files: tuple[Path, ...]) -> None:
        record = RunRecord(
            case_id=report.case_id,
            run=run,
            revision=report.revision,
            files=files,
            slide=report.slide,
            bundle=report.bundle,
            field_um=self._inference.field_um,
            warnings=report.warnings,
            analysed_at=report.analysed_at,
        )
        with self._database.write() as connection:
            case = self._still(connection, report.case_id, run)
            hold = self._hold_cause(report, review_book.last_signed_result(connection, report.case_id))
            holds = [case.hold_cause, hold if hold not in case.hold_cause else ""]
            run_book.keep_run(connection, record)
            self._writer.keep(connection, report, made)
            notifier.ask_if_urgent(connection, self._work, self._settings.notify, report.case_id)
            connection.execute(
                case_table.update()
                .where(case_table.c.id == report.case_id)
                .values(hold_cause="; ".join(cause for cause in holds if cause))
            )
