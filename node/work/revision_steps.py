"""The steps of a revision that a person asked for, a signature or a withdrawal: encode ▸ deliver."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dicom_io.results import ResultObject
from node import cases
from node.database import Database
from node.errors import CaseCancelled
from node.queues import Work
from node.results import delivery_book, withdrawal_book
from node.results.delivery import destinations
from node.results.result_writer import ResultWriter
from node.settings import Settings
from node.tables import objects
from node.views import CaseState
from pipeline.domain import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a revision says, of the slide in `files`; the objects that its own follow, and those that no longer hold."""

    report: Report
    files: tuple[Path, ...]
    predecessors: tuple[ResultObject, ...]
    rejected: tuple[ResultObject, ...] = ()
    first_for_lis: bool = False


class RevisionSteps(ABC):
    """The steps of one revision of a result; each may be done twice."""

    stage: ClassVar[str]  # of a delivering case whose revision is being made
    made: ClassVar[str]  # what the case's history says once it is
    remedy: ClassVar[str]  # for a person, when it could not be

    def __init__(self, settings: Settings, database: Database, work: Work, writer: ResultWriter) -> None:
        self._settings = settings
        self._database = database
        self._work = work
        self._writer = writer

    @abstractmethod
    def draft(self, case_id: str, revision: int) -> Draft:
        """What the revision says.

        Raises
        ------
        CaseCancelled
            The case has gone on.
        """

    def encode(self, case_id: str, revision: int) -> None:
        """Make the objects, the ORU and the files beside them."""
        draft = self.draft(case_id, revision)
        made = self._writer.write(
            draft.report,
            draft.files,
            draft.predecessors,
            rejected=draft.rejected,
            first_for_lis=draft.first_for_lis,
        )
        with self._database.write() as connection:
            still(connection, case_id, revision)
            self._writer.keep(connection, draft.report, made)

    def deliver(self, case_id: str, revision: int) -> None:
        """Start the delivery to each destination; results still on their way are overtaken."""
        with self._database.write() as connection:
            case = still(connection, case_id, revision)
            if case.stage == self.stage:
                cases.move(connection, case_id, CaseState.DELIVERING, self.made, stage="deliver")
            where = destinations(self._settings)
            delivery_book.open_deliveries(connection, self._work, case_id, revision, where)
            delivery_book.close_case(connection, case_id, revision)

    def fail(self, case_id: str, revision: int, cause: str) -> None:
        """Make the case a dead letter; what the person said stands, and is carried out when the case is requeued."""
        with self._database.write() as connection:
            try:
                still(connection, case_id, revision)
            except CaseCancelled:
                return
            cases.move(connection, case_id, CaseState.FAILED, f"{cause} {self.remedy}")


def still(connection: Connection, case_id: str, revision: int) -> Row[Any]:
    """The case, if this revision is what it is working on."""
    case = cases.current(connection, case_id)
    if case.revision != revision or case.state != CaseState.DELIVERING:
        msg = f"revision {revision} of case {case_id} is over"
        raise CaseCancelled(msg)
    return case


def made_before(connection: Connection, case_id: str, revision: int, study: str) -> tuple[ResultObject, ...]:
    """The objects of the newest revision below this one that has any."""
    newest = sa.select(sa.func.max(objects.c.revision)).where(
        objects.c.case_id == case_id, objects.c.revision < revision
    )
    return _made(connection, case_id, objects.c.revision == newest.scalar_subquery(), study)


def made_until(connection: Connection, case_id: str, revision: int, study: str) -> tuple[ResultObject, ...]:
    """Every object of a revision below this one that was not taken back before."""
    void = withdrawal_book.taken_back(case_id, before=revision)
    return _made(connection, case_id, objects.c.revision.between(void + 1, revision - 1), study)


def _made(connection: Connection, case_id: str, wanted: sa.ColumnElement[bool], study: str) -> tuple[ResultObject, ...]:
    rows = connection.execute(
        sa.select(objects)
        .where(objects.c.case_id == case_id, wanted, objects.c.sop_instance_uid != "")
        .order_by(objects.c.revision, objects.c.kind)
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
