"""Changed and merged patients (ADT): what is still to be counted learns of it, what was sent stays as it was sent."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from hl7.adt import PatientUpdate
from node import cases
from node.intake import order_book
from node.intake.matching import normalise
from node.queues import LINK, Work
from node.tables import cases as case_table
from node.tables import orders
from node.views import CaseState
from pipeline.domain import Order, Patient

_OPEN = (CaseState.ORDERED, CaseState.WAITING, CaseState.QUEUED, CaseState.RUNNING, CaseState.HELD, CaseState.FAILED)
_UNMATCHED = frozenset({CaseState.ORDERED, CaseState.HELD})  # a new name or identifier may decide
_CAUSE = "the patient's data were changed (ADT)"


def apply(connection: Connection, update: PatientUpdate, work: Work) -> bool:
    """Change the patient of every order that has a case to be counted; False when the update concerns none."""
    waiting = sa.select(case_table).where(
        case_table.c.order_id.is_not(None),
        case_table.c.patient_id == update.patient_id,
        case_table.c.state.in_(_OPEN),
        case_table.c.result_status == "",
    )
    changed = False
    for case in connection.execute(waiting).all():
        row = connection.execute(sa.select(orders).where(orders.c.id == case.order_id)).one()
        order = cases.ORDER.validate_python(row.body)
        if _is_meant(order.patient, update):
            _change(
                connection,
                case,
                replace(order, patient=order_book.updated_patient(order.patient, update.patient)),
                work,
            )
            changed = True
    return changed


def _is_meant(patient: Patient, update: PatientUpdate) -> bool:
    """Whether it is the patient, as the issuer of an identifier is not always stated."""
    same = normalise(patient.patient_id) == normalise(update.patient_id)
    issuers = {normalise(patient.issuer), normalise(update.issuer)} - {""}
    return same and len(issuers) <= 1


def _change(connection: Connection, case: Row[Any], order: Order, work: Work) -> None:
    now = datetime.now(UTC)
    body = cases.ORDER.dump_python(order, mode="json")
    connection.execute(orders.update().where(orders.c.id == case.order_id).values(body=body, updated_at=now))
    shown = {"patient_id": order.patient.patient_id, "patient_name": order.patient.name}
    cases.note(connection, case.id, _CAUSE, actor=order_book.LIS, **shown)
    if CaseState(case.state) in _UNMATCHED:
        work.ask(connection, LINK, f"{case.order_id}:{now.timestamp():.6f}", case.order_id)
