"""Cases: the states a case goes through, and what the worklist reads of them.

::

    ordered ─► waiting ─► queued ─► running ─► delivering ─► reported
                  └─────────┴─────────┴─────┬──────┴── held · failed · cancelled

Every change of state is stored with its time, cause and actor. The functions that write take the caller's transaction,
so that a change and the work it asks for happen together; the functions that read take the `Database`.
"""

import secrets
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.engine import Connection, Row

from node.database import Database
from node.errors import UnknownCase, WrongState
from node.tables import case_events, cases, deliveries, objects, orders, runs, slides
from node.views import CaseEvent, CaseFile, CaseRow, CaseState, CaseView, DeliveryView, WorklistPage, WorklistQuery
from pipeline.domain import Order, Priority, ResultStatus, SlideInfo

NODE = "node"  # the actor of changes no person made
ORDER = TypeAdapter(Order)
SLIDE_INFO = TypeAdapter(SlideInfo)

_ASIDE = frozenset({CaseState.HELD, CaseState.FAILED, CaseState.CANCELLED})
_NEXT: dict[CaseState, frozenset[CaseState]] = {
    CaseState.ORDERED: frozenset({CaseState.WAITING, CaseState.QUEUED}) | _ASIDE,
    CaseState.WAITING: frozenset({CaseState.WAITING, CaseState.QUEUED}) | _ASIDE,
    CaseState.QUEUED: frozenset({CaseState.QUEUED, CaseState.RUNNING}) | _ASIDE,
    CaseState.RUNNING: frozenset({CaseState.QUEUED, CaseState.RUNNING, CaseState.DELIVERING}) | _ASIDE,
    CaseState.DELIVERING: frozenset(
        {CaseState.QUEUED, CaseState.DELIVERING, CaseState.REPORTED, CaseState.HELD, CaseState.FAILED}
    ),
    CaseState.REPORTED: frozenset({CaseState.QUEUED, CaseState.DELIVERING, CaseState.HELD}),
    CaseState.HELD: frozenset(
        {CaseState.ORDERED, CaseState.WAITING, CaseState.QUEUED, CaseState.DELIVERING, CaseState.REPORTED}
    )
    | _ASIDE,
    CaseState.FAILED: frozenset({CaseState.QUEUED, CaseState.DELIVERING, CaseState.HELD, CaseState.CANCELLED}),
    CaseState.CANCELLED: frozenset(),
}
_SEARCHED = ("id", "accession_number", "container_identifier", "patient_id", "patient_name")
_RANK = {Priority.STAT: 1, Priority.ASAP: 2, Priority.ROUTINE: 3}

# Share of the whole case's work when a stage begins, and how much the stage is.
_SPAN = {
    "read": (0.0, 0.01),
    "quality": (0.01, 0.02),
    "regions": (0.03, 0.05),
    "tiles": (0.08, 0.07),
    "cells": (0.15, 0.55),
    "classes": (0.70, 0.20),
    "count": (0.90, 0.01),
    "encode": (0.91, 0.07),
    "deliver": (0.98, 0.02),
}


def rank(priority: Priority) -> int:
    """Place in the queue: 1 is taken first."""
    return _RANK[priority]


def whole_progress(stage: str, fraction: float) -> float:
    """How far the whole case is, 0..1, when `stage` is done to `fraction`."""
    start, share = _SPAN[stage]
    return round(start + share * min(max(fraction, 0.0), 1.0), 4)


def create(connection: Connection, state: CaseState, cause: str, *, actor: str = NODE, **values: object) -> str:
    """Store a new case with the given columns of `cases`; returns its id."""
    case_id = f"C{secrets.token_hex(5).upper()}"
    now = datetime.now(UTC)
    values = {"priority": Priority.ROUTINE.value, **values}
    values["search_text"] = search_text({"id": case_id, **values})
    connection.execute(
        cases.insert().values(id=case_id, state=state, cause=cause, created_at=now, updated_at=now, **values)
    )
    _record(connection, CaseEvent(at=now, state=state, cause=cause, actor=actor), case_id)
    return case_id


def move(
    connection: Connection, case_id: str, to: CaseState, cause: str, *, actor: str = NODE, **values: object
) -> None:
    """Change the state of a case, with its cause and any other columns.

    Raises
    ------
    UnknownCase
        There is no such case.
    WrongState
        Its state cannot be followed by `to`.

    """
    case = current(connection, case_id)
    if to not in _NEXT[CaseState(case.state)]:
        msg = f"case {case_id} is {case.state} and cannot become {to}"
        raise WrongState(msg)
    now = datetime.now(UTC)
    _change(connection, case, state=to, cause=cause, updated_at=now, **values)
    _record(connection, CaseEvent(at=now, state=to, cause=cause, actor=actor), case_id)


def note(connection: Connection, case_id: str, cause: str, *, actor: str = NODE, **values: object) -> None:
    """Store an event that does not change the state."""
    now = datetime.now(UTC)
    case = current(connection, case_id)
    _change(connection, case, updated_at=now, **values)
    _record(connection, CaseEvent(at=now, state=CaseState(case.state), cause=cause, actor=actor), case_id)


def current(connection: Connection, case_id: str) -> Row[Any]:
    """The row of a case.

    Raises
    ------
    UnknownCase
        There is no such case.

    """
    row = connection.execute(sa.select(cases).where(cases.c.id == case_id)).one_or_none()
    if row is None:
        msg = f"there is no case {case_id}; `marrow-node cases` lists them"
        raise UnknownCase(msg)
    return row


def search_text(case: Mapping[str, object]) -> str:
    """What a search looks in, of a case's columns: without case, accents and the carets of names."""
    return _folded(" ".join(str(case.get(name) or "") for name in _SEARCHED).replace("^", " "))


def _folded(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in apart if not unicodedata.combining(letter)).casefold()


def _change(connection: Connection, case: Row[Any], **values: object) -> None:
    if not values.keys().isdisjoint(_SEARCHED):
        values["search_text"] = search_text(dict(case._mapping) | values)
    connection.execute(cases.update().where(cases.c.id == case.id).values(**values))


def _record(connection: Connection, happened: CaseEvent, case_id: str) -> None:
    connection.execute(
        case_events.insert().values(
            case_id=case_id, at=happened.at, state=happened.state, cause=happened.cause, actor=happened.actor
        )
    )


_PRIORITY = sa.case({priority.value: place for priority, place in _RANK.items()}, value=cases.c.priority, else_=3)
_SORT: dict[str, tuple[sa.ColumnElement[Any], ...]] = {
    "priority": (sa.case((cases.c.urgent, 0), else_=1), _PRIORITY, cases.c.created_at),
    "age": (cases.c.created_at,),
    "state": (cases.c.state, cases.c.created_at),
    "accession": (cases.c.accession_number, cases.c.created_at),
    "patient": (cases.c.patient_name, cases.c.patient_id, cases.c.created_at),
    "changed": (cases.c.updated_at,),
}


def list_cases(database: Database, query: WorklistQuery | None = None) -> WorklistPage:
    """The cases that match, one page of them, and how many cases are in each state."""
    query = query or WorklistQuery()
    with database.read() as connection:
        counted = connection.execute(sa.select(cases.c.state, sa.func.count()).group_by(cases.c.state)).all()
        counts = dict.fromkeys(CaseState, 0) | {CaseState(name): count for name, count in counted}
        if query.search.strip():
            total = connection.execute(_matching(query, sa.func.count())).scalar_one()
        else:
            total = sum(counts[state] for state in query.states or CaseState)
        order = [column.desc() if query.descending else column.asc() for column in (*_SORT[query.sort], cases.c.id)]
        page = _matching(query, cases.c.id).order_by(*order).limit(query.limit).offset(query.offset)
        # only the keys of all cases are sorted; the rows of the page are fetched by them
        rows = connection.execute(sa.select(cases).where(cases.c.id.in_(page)).order_by(*order)).all()
    return WorklistPage(total=total, rows=tuple(_case_row(row) for row in rows), counts=tuple(counts.items()))


def _matching(query: WorklistQuery, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    matching = sa.select(*columns).select_from(cases)
    if query.states:
        matching = matching.where(cases.c.state.in_([state.value for state in query.states]))
    for word in _folded(query.search).split():
        matching = matching.where(cases.c.search_text.contains(word, autoescape=True))
    return matching


def changed_since(database: Database, moment: datetime) -> tuple[CaseRow, ...]:
    """The cases whose state, stage or progress changed at or after `moment`, latest last."""
    recent = sa.select(cases).where(cases.c.updated_at >= moment).order_by(cases.c.updated_at)
    with database.read() as connection:
        return tuple(_case_row(row) for row in connection.execute(recent))


def read_case(database: Database, case_id: str) -> CaseView | None:
    """Everything of one case; its files are those its current run made last. None when there is no such case."""
    with database.read() as connection:
        try:
            return read_view(connection, case_id)
        except UnknownCase:
            return None


def read_view(connection: Connection, case_id: str) -> CaseView:
    """The same, in the caller's transaction.

    Raises
    ------
    UnknownCase
        There is no such case.

    """
    case = current(connection, case_id)
    order = connection.execute(sa.select(orders.c.body).where(orders.c.id == case.order_id)).scalar_one_or_none()
    slide = connection.execute(
        sa.select(slides.c.info).where(slides.c.series_instance_uid == case.series_instance_uid)
    ).scalar_one_or_none()
    events = connection.execute(
        sa.select(case_events).where(case_events.c.case_id == case_id).order_by(case_events.c.id)
    ).all()
    sent = connection.execute(
        sa.select(deliveries)
        .where(deliveries.c.case_id == case_id)
        .order_by(deliveries.c.revision, deliveries.c.destination)
    ).all()
    made = connection.execute(
        sa.select(objects)
        .where(objects.c.case_id == case_id, objects.c.revision == _made_last(connection, case))
        .order_by(objects.c.kind)
    ).all()
    return CaseView(
        row=_case_row(case),
        order=None if order is None else ORDER.validate_python(order),
        has_slide=case.series_instance_uid is not None,
        slides=() if slide is None else (SLIDE_INFO.validate_python(slide),),
        status=ResultStatus(case.result_status) if case.result_status else None,
        revision=case.revision,
        events=tuple(
            CaseEvent(at=row.at, state=CaseState(row.state), cause=row.cause, actor=row.actor) for row in events
        ),
        deliveries=_delivery_views(sent),
        files=_case_files(made),
    )


def _made_last(connection: Connection, case: Row[Any]) -> int:
    """The newest revision with files of the current run: a signed one has none until the worker made them."""
    first = connection.execute(
        sa.select(runs.c.revision).where(runs.c.case_id == case.id, runs.c.run == case.run)
    ).scalar_one_or_none()
    newest = sa.select(sa.func.max(objects.c.revision)).where(
        objects.c.case_id == case.id, objects.c.revision >= (case.revision if first is None else first)
    )
    made: int | None = connection.execute(newest).scalar_one()
    return case.revision if made is None else made


def _delivery_views(rows: Iterable[Row[Any]]) -> tuple[DeliveryView, ...]:
    return tuple(
        DeliveryView(
            destination=row.destination,
            kind=row.kind,
            state=row.state,
            attempts=row.attempts,
            last_error=row.problem,
            changed_at=row.updated_at,
            revision=row.revision,
        )
        for row in rows
    )


def _case_files(rows: Iterable[Row[Any]]) -> tuple[CaseFile, ...]:
    return tuple(
        CaseFile(
            name=row.name,
            kind=row.kind,
            path=Path(row.path),
            media_type=row.media_type,
            revision=row.revision,
            sop_instance_uid=row.sop_instance_uid,
            series_instance_uid=row.series_instance_uid,
        )
        for row in rows
    )


def _case_row(row: Row[Any]) -> CaseRow:
    return CaseRow(
        case_id=row.id,
        state=CaseState(row.state),
        priority=Priority(row.priority),
        accession_number=row.accession_number,
        patient_id=row.patient_id,
        patient_name=row.patient_name,
        container_id=row.container_identifier,
        created_at=row.created_at,
        changed_at=row.updated_at,
        cause=row.cause,
        stage=row.stage if row.state == CaseState.RUNNING else "",
        progress=1.0 if row.state == CaseState.REPORTED else row.progress,
        synthetic=row.synthetic,
        alerts=(*row.review_alerts, *row.alerts),
        urgent=row.urgent,
    )
