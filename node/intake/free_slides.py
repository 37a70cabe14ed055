"""The slides that a person can attach to a case: complete, not counted, and with no case that needs them."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from node.database import Database
from node.tables import cases, slides
from node.views import CaseState

_MOST = 50
_SEARCHED = (
    slides.c.series_instance_uid,
    slides.c.accession_number,
    slides.c.container_identifier,
    slides.c.patient_id,
    slides.c.patient_name,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSlide:
    """A slide to choose; `case_id` is the case that would give it, if any, and `problem` what it lacks."""

    series_instance_uid: str
    accession_number: str
    container_id: str
    patient_id: str
    patient_name: str
    received_at: datetime
    problem: str
    case_id: str | None


def free_slides(database: Database, search: str = "") -> tuple[FreeSlide, ...]:
    """Those that match, the newest first, 50 at most."""
    holder = sa.select(cases).where(cases.c.state != CaseState.CANCELLED).subquery()
    wanted = (
        sa.select(slides, holder.c.id.label("case_id"))
        .outerjoin(holder, holder.c.series_instance_uid == slides.c.series_instance_uid)
        .where(
            slides.c.state != "receiving",
            sa.or_(
                holder.c.id.is_(None),
                sa.and_(holder.c.run == 0, holder.c.state.in_((CaseState.WAITING, CaseState.HELD))),
            ),
        )
        .order_by(slides.c.first_instance_at.desc())
        .limit(_MOST)
    )
    if search:
        wanted = wanted.where(sa.or_(*(column.icontains(search, autoescape=True) for column in _SEARCHED)))
    with database.read() as connection:
        rows = connection.execute(wanted).all()
    return tuple(
        FreeSlide(
            series_instance_uid=row.series_instance_uid,
            accession_number=row.accession_number,
            container_id=row.container_identifier,
            patient_id=row.patient_id,
            patient_name=row.patient_name,
            received_at=row.first_instance_at,
            problem=row.problem,
            case_id=row.case_id,
        )
        for row in rows
    )
