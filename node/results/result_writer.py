"""A report becomes the files of one revision and the rows that tell of them; doing it twice gives the same."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import Connection

from dicom_io.results import ResultObject
from dicom_io.slide import DicomSlide
from node import cases
from node.files import replace_folder
from node.results.alerts import alerts, for_worklist
from node.results.outputs import Output, write_outputs
from node.settings import Settings
from node.tables import cases as case_table
from node.tables import objects
from pipeline.domain import CellCode, Report


class ResultWriter:
    """Makes and records the results of this site's cases."""

    def __init__(self, settings: Settings, codes: Mapping[str, CellCode]) -> None:
        self._settings = settings
        self._codes = codes

    def write(
        self,
        report: Report,
        slide_paths: Sequence[Path],
        predecessors: Sequence[ResultObject] = (),
        *,
        rejected: Sequence[ResultObject] = (),
        first_for_lis: bool = False,
    ) -> tuple[Output, ...]:
        """Make every file of the report's revision; the arguments are those of `write_outputs`.

        Raises
        ------
        SlideError
            The slide was counted, but its files cannot be read or referred to.
        """
        folder = self._settings.home_folder / "cases" / report.case_id / f"revision-{report.revision}"
        with replace_folder(folder) as filling, ExitStack() as stack:
            opened = stack.enter_context(DicomSlide.open(slide_paths)) if report.analysis else None
            written = write_outputs(
                report,
                opened,
                slide_paths,
                self._codes,
                self._settings,
                filling,
                predecessors=predecessors,
                rejected=rejected,
                first_for_lis=first_for_lis,
            )
        return tuple(replace(output, path=folder / output.name) for output in written)

    def keep(self, connection: Connection, report: Report, made: Sequence[Output]) -> None:
        """Record the files, and what the case came to; alerts of a review are kept with its changes, not here."""
        now = datetime.now(UTC)
        connection.execute(
            objects.delete().where(objects.c.case_id == report.case_id, objects.c.revision == report.revision)
        )
        common = {"case_id": report.case_id, "revision": report.revision, "created_at": now}
        connection.execute(
            objects.insert(), [{**asdict(output), "path": str(output.path), **common} for output in made]
        )
        count = report.analysis.differential if report.analysis else None
        texts, urgent = for_worklist(alerts(count, self._settings)) if count else ([], False)
        warnings = (*report.warnings, *(report.analysis.warnings if report.analysis else ()))
        connection.execute(
            case_table.update()
            .where(case_table.c.id == report.case_id)
            .values(
                analysed_at=report.analysed_at,
                result_status=report.status.value,
                bundle_name=report.bundle.name,
                bundle_version=report.bundle.version,
                bundle_digest=report.bundle.digest,
                total_cells=count.total if count else None,
                me_ratio=count.me_ratio if count else None,
                alerts=[text for text in warnings if text not in texts],
                **({} if report.signed_at else {"review_alerts": texts, "urgent": urgent}),
                progress=cases.whole_progress("deliver", 0.0),
                updated_at=now,
            )
        )
