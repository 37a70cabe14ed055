"""What a worker does (DBOS): one durable workflow per run of a case, read ▸ analyse ▸ encode ▸ deliver, and small ones.

Each step is recorded when it is done, so a killed worker takes up where it stopped. The case's row is the authority on
whether a run still counts: a step of a cancelled or overtaken run ends it.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfiguredInstance, StepOptions

from dicom_io.errors import SlideError
from dicom_io.slide import DicomSlide
from node import cases, delivery_book, order_book
from node.archive import analysis_file, load_analysis, save_analysis
from node.database import Database, instances, objects, slides
from node.database import cases as case_table
from node.delivery import Deliverer, destinations
from node.errors import CaseCancelled, NodeError, RepeatedCrash, answer
from node.files import replace_folder
from node.inference import Inference, describe
from node.linking import Linking
from node.outputs import Output, write_outputs
from node.queues import CLASS, COUNT, DELIVER, INSTANCE, LINK, SETTLE, WAIT_ORDER, WAIT_SLIDE, Work
from node.settings import Settings
from node.views import CaseState
from pipeline.domain import CellCode, Report, ResultStatus, SlideInfo
from pipeline.errors import NoCountableRegion, TooFewCells

P = ParamSpec("P")
R = TypeVar("R")
_log = structlog.get_logger(__name__)
_PROGRESS_EVERY_S = 0.4


@DBOS.dbos_class(CLASS)
class Workflows(DBOSConfiguredInstance):
    """The workflows of this node; DBOS finds the instance by its name."""

    def __init__(self, steps: "CaseSteps", linking: Linking, deliverer: Deliverer, settings: Settings) -> None:
        super().__init__(INSTANCE)
        self._steps = steps
        self._linking = linking
        self._deliverer = deliverer
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


class CaseSteps:
    """The steps of one run. Each returns what the next ones need, as JSON, and may be done twice."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        work: Work,
        inference: Inference,
        codes: Mapping[str, CellCode],
    ) -> None:
        self._settings = settings
        self._database = database
        self._work = work
        self._inference = inference
        self._codes = codes
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
        few = self._too_few(analysis.differential.total if analysis else None)
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
        paths = [Path(path) for path in slide["files"]]
        folder = self._folder / case_id / f"revision-{case.revision}"
        with replace_folder(folder) as filling, ExitStack() as stack:
            opened = stack.enter_context(DicomSlide.open(paths)) if analysis else None
            written = write_outputs(report, opened, paths, self._codes, self._settings, filling)
        made = tuple(replace(output, path=folder / output.name) for output in written)
        hold = f"not countable: {report.reason}" if analysis is None else few
        self._record(case_id, run, report, made, hold)

    def deliver(self, case_id: str, run: int) -> None:
        """Start the delivery to each destination; they go on by themselves, and end the case."""
        with self._database.write() as connection:
            case = self._still(connection, case_id, run)
            if case.state == CaseState.RUNNING:
                cases.move(connection, case_id, CaseState.DELIVERING, "results are made", stage="deliver")
            where = destinations(self._settings)
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

    def _too_few(self, total: int | None) -> str:
        wanted = self._settings.analysis.minimum_cells
        if total is None or total >= wanted:
            return ""
        return f"only {total} cells were counted, {wanted} are wanted: the percentages are uncertain"

    def _record(self, case_id: str, run: int, report: Report, made: tuple[Output, ...], hold: str) -> None:
        now = datetime.now(UTC)
        count = report.analysis.differential if report.analysis else None
        with self._database.write() as connection:
            case = self._still(connection, case_id, run)
            connection.execute(
                objects.delete().where(objects.c.case_id == case_id, objects.c.revision == report.revision)
            )
            rows = [
                {**asdict(output), "path": str(output.path), "case_id": case_id, "revision": report.revision}
                for output in made
            ]
            connection.execute(objects.insert(), [{**row, "created_at": now} for row in rows])
            connection.execute(
                case_table.update()
                .where(case_table.c.id == case_id)
                .values(
                    analysed_at=report.analysed_at,
                    result_status=report.status.value,
                    bundle_name=report.bundle.name,
                    bundle_version=report.bundle.version,
                    bundle_digest=report.bundle.digest,
                    total_cells=count.total if count else None,
                    me_ratio=count.me_ratio if count else None,
                    alerts=[*report.warnings, *(report.analysis.warnings if report.analysis else ())],
                    hold_cause="; ".join(cause for cause in (case.hold_cause, hold) if cause),
                    progress=cases.whole_progress("deliver", 0.0),
                    updated_at=now,
                )
            )


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
