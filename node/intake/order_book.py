"""Orders: what a request of the LIS does to the book of orders and to the cases (HL7 v2.5.1 table 0119).

An order is the same order when placer number, filler number and test agree: a repeated NW is not a second job.
"""

import secrets
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from hl7.acks import Outcome
from hl7.orders import OrderRequest
from hl7.results import filler_order_number
from node import cases
from node.intake.matching import names, normalise, patient_problem
from node.intake.matching import order_keys as keys_of
from node.queues import LINK, WAIT_SLIDE, Work
from node.review import review_book
from node.settings import IntakeSettings
from node.tables import cases as case_table
from node.tables import order_keys, orders, slide_keys
from node.views import CaseState
from pipeline.domain import EntityId, Order, Patient

LIS = "lis"  # the actor of what an order message causes
_CANCEL = frozenset({"CA", "OC", "DC", "OD", "RP"})
_NEW = frozenset({"NW", "RO"})
_NO_CHANGE = frozenset({"SC", "SN", "NA"})
_OPEN = (CaseState.ORDERED, CaseState.WAITING, CaseState.QUEUED, CaseState.RUNNING, CaseState.HELD, CaseState.FAILED)
_AT_WORK = frozenset({CaseState.QUEUED, CaseState.RUNNING})
_OTHER_PATIENT = "the order's patient was changed while its slide was to be counted"
NO_LONGER_NAMED = (
    "the order was changed and no longer names this slide: attach the slide from the case of its order, or accept it"
)
_COMPLETE = "CM"  # ORC-5, table 0038: a result was signed, whatever is done with the case since
_STATUS = {  # ... until then
    CaseState.ORDERED: "SC",
    CaseState.WAITING: "SC",
    CaseState.QUEUED: "SC",
    CaseState.RUNNING: "IP",
    CaseState.DELIVERING: "IP",
    CaseState.REPORTED: "A",
    CaseState.HELD: "HD",
    CaseState.FAILED: "ER",
    CaseState.CANCELLED: "CA",
}


def take(
    connection: Connection, request: OrderRequest, settings: IntakeSettings, work: Work, *, namespace: str
) -> Outcome:
    """Carry out one request; what it returns tells the sender whether it was granted.

    Parameters
    ----------
    namespace : str
        Who gives filler order numbers to orders that state none.

    """
    known = _find(connection, request.order)
    if known is None and request.control in _CANCEL:
        known = _find(connection, request.order, state="cancelled")
    outcome = _carry_out(connection, request, known, settings, work)
    standing = known or _find(connection, request.order)
    return outcome if standing is None else _with_standing(connection, outcome, standing, namespace)


def _carry_out(
    connection: Connection, request: OrderRequest, known: Row[Any] | None, settings: IntakeSettings, work: Work
) -> Outcome:
    if request.control in _NEW:
        return _place(connection, request, known, settings, work)
    if request.control in _NO_CHANGE:
        return Outcome(granted=True)
    if known is None:
        return Outcome(granted=False, reason="no open order has these numbers (ORC-2, ORC-3)", code=204)
    if request.control in _CANCEL:
        return _cancel(connection, known, work)
    if request.control == "XO":
        return _change(connection, request, known, settings, work)
    return Outcome(granted=False, reason="ORC-1 is none of NW, CA, DC, XO, RP, RO, SC", code=103)


def read_order(connection: Connection, order_id: str | None) -> Order | None:
    """The order as it stands now; None without one."""
    if order_id is None:
        return None
    body = connection.execute(sa.select(orders.c.body).where(orders.c.id == order_id)).scalar_one()
    return cases.ORDER.validate_python(body)


def _place(
    connection: Connection, request: OrderRequest, known: Row[Any] | None, settings: IntakeSettings, work: Work
) -> Outcome:
    order = request.order
    if known is not None:
        if cases.ORDER.validate_python(known.body) == order:
            return Outcome(granted=True)
        return Outcome(granted=False, reason="the order exists with other content: change it with XO", code=205)
    if settings.test_codes and order.test_code not in settings.test_codes:
        wanted = " or ".join(settings.test_codes)
        return Outcome(granted=False, reason=f"OBR-4 asks for a test that is not done here: order {wanted}", code=103)
    order_id = f"O{secrets.token_hex(5).upper()}"
    now = datetime.now(UTC)
    connection.execute(orders.insert().values(id=order_id, state="open", received_at=now, **_columns(order, now)))
    _index(connection, order_id, order)
    cause = "waiting for the slide"
    case_id = cases.create(connection, CaseState.ORDERED, cause, actor=LIS, order_id=order_id, **shown_of(order))
    _note_warnings(connection, case_id, request)
    work.ask(connection, LINK, f"{order_id}:0", order_id)
    work.ask(connection, WAIT_SLIDE, order_id, order_id, delay_s=settings.slide_timeout_s)
    return Outcome(granted=True)


def _cancel(connection: Connection, known: Row[Any], work: Work) -> Outcome:
    """Cancel every case of the order, unless one has already been resulted; once more changes nothing.

    A slide that was held because this order named it too may now have found its own.
    """
    if known.state == "cancelled":
        return Outcome(granted=True)
    its_cases = connection.execute(sa.select(case_table).where(case_table.c.order_id == known.id)).all()
    if any(_is_resulted(case) for case in its_cases):
        return Outcome(granted=False, reason="already resulted", code=206)
    for case in its_cases:
        if CaseState(case.state) in _OPEN:
            cases.move(connection, case.id, CaseState.CANCELLED, "cancelled by the order's placer", actor=LIS)
    connection.execute(
        orders.update()
        .where(orders.c.id == known.id)
        # the numbers may be used again: a later NW is a new order
        .values(state="cancelled", business_key=f"{known.business_key}|{known.id}", updated_at=datetime.now(UTC))
    )
    work.ask(connection, LINK, f"{known.id}:cancelled", known.id)
    return Outcome(granted=True)


def _change(
    connection: Connection, request: OrderRequest, known: Row[Any], settings: IntakeSettings, work: Work
) -> Outcome:
    """Replace what the message states or deletes; what it leaves empty stays."""
    its_cases = connection.execute(sa.select(case_table).where(case_table.c.order_id == known.id)).all()
    if any(_is_resulted(case) for case in its_cases):
        return Outcome(granted=False, reason="already resulted", code=206)
    before = cases.ORDER.validate_python(known.body)
    order = _merge(before, request)
    now = datetime.now(UTC)
    connection.execute(orders.update().where(orders.c.id == known.id).values(**_columns(order, now)))
    _index(connection, known.id, order)
    other_patient = bool(patient_problem(order.patient, before.patient))
    for case in its_cases:
        if CaseState(case.state) in _OPEN and _is_another_slide(connection, case, before, order, settings):
            cases.move(connection, case.id, CaseState.HELD, NO_LONGER_NAMED, actor=LIS, **shown_of(order))
        elif other_patient and CaseState(case.state) in _AT_WORK:  # until the slide is compared with it anew
            cases.move(connection, case.id, CaseState.HELD, _OTHER_PATIENT, actor=LIS, **shown_of(order))
        elif CaseState(case.state) is not CaseState.CANCELLED:
            cases.note(connection, case.id, "the order was changed", actor=LIS, **shown_of(order))
            _note_warnings(connection, case.id, request)
    work.ask(connection, LINK, f"{known.id}:{now.timestamp():.6f}", known.id)
    return Outcome(granted=True)


def _is_another_slide(
    connection: Connection, case: Row[Any], before: Order, now: Order, settings: IntakeSettings
) -> bool:
    """Whether the case's slide was named by its order and no longer is; one that a person attached never was."""
    rows = connection.execute(
        sa.select(slide_keys.c.kind, slide_keys.c.value).where(
            slide_keys.c.series_instance_uid == case.series_instance_uid
        )
    )
    keys = frozenset((row.kind, row.value) for row in rows)
    named, still = (
        names(order, keys, settings.match_by, check_container=settings.check_container) for order in (before, now)
    )
    return named and not still


def _note_warnings(connection: Connection, case_id: str, request: OrderRequest) -> None:
    """Keep with the case what of its order was not understood, or does not agree."""
    for warning in request.warnings:
        cases.note(connection, case_id, f"order: {warning}", actor=LIS)


def _is_resulted(case: Row[Any]) -> bool:
    state = CaseState(case.state)
    out = {CaseState.DELIVERING, CaseState.REPORTED}
    return state in out or (state in {CaseState.HELD, CaseState.FAILED} and bool(case.result_status))


def shown_of(order: Order) -> dict[str, str]:
    """The columns of a case that its order decides."""
    return {
        "priority": order.priority.value,
        "accession_number": order.accession_number,
        "container_identifier": next(iter(order.container_ids), ""),
        "patient_id": order.patient.patient_id,
        "patient_name": order.patient.name,
    }


def _merge(order: Order, request: OrderRequest) -> Order:
    stated: dict[str, Any] = {name: getattr(request.order, name) for name in request.stated}
    if normalise(request.order.patient.patient_id) == normalise(order.patient.patient_id):
        stated["patient"] = updated_patient(order.patient, request.order.patient)
    emptied: dict[str, Any] = {field.name: field.default for field in fields(Order) if field.name in request.deleted}
    return replace(order, **stated, **emptied)


def updated_patient(known: Patient, said: Patient) -> Patient:
    """The patient with what is now said of it; what is left empty stays."""
    stated = {field.name: value for field in fields(Patient) if (value := getattr(said, field.name))}
    return replace(known, **stated)


def _find(connection: Connection, order: Order, state: str = "open") -> Row[Any] | None:
    """The order with these numbers: by placer, else by filler, else by the whole business key; the latest first."""
    asked = sa.select(orders).where(orders.c.state == state).order_by(orders.c.received_at.desc())
    filler = order.filler_order_number
    given = sa.select(case_table.c.order_id).where(case_table.c.id == (filler.value if filler else ""))
    for named, number in (
        (orders.c.placer_order_number == _number(order.placer_order_number), order.placer_order_number),
        (sa.or_(orders.c.filler_order_number == _number(filler), orders.c.id.in_(given)), filler),
    ):
        if number is not None:
            found = connection.execute(asked.where(named)).all()
            same_test = [row for row in found if not order.test_code or row.body["test_code"] == order.test_code]
            return next(iter(same_test), None)
    return connection.execute(asked.where(orders.c.business_key == _business_key(order))).one_or_none()


def _index(connection: Connection, order_id: str, order: Order) -> None:
    connection.execute(order_keys.delete().where(order_keys.c.order_id == order_id))
    rows = [{"order_id": order_id, "kind": kind, "value": value} for kind, value in sorted(keys_of(order))]
    if rows:
        connection.execute(order_keys.insert(), rows)


def _columns(order: Order, now: datetime) -> dict[str, Any]:
    return {
        "business_key": _business_key(order),
        "placer_order_number": _number(order.placer_order_number),
        "filler_order_number": _number(order.filler_order_number),
        "body": cases.ORDER.dump_python(order, mode="json"),
        "updated_at": now,
    }


def _business_key(order: Order) -> str:
    numbers = (_number(order.placer_order_number), _number(order.filler_order_number))
    return "|".join((*(numbers if any(numbers) else (order.accession_number,)), order.test_code))


def _number(number: EntityId | None) -> str:
    return "" if number is None else f"{number.value}^{number.namespace or number.universal_id}"


def _with_standing(connection: Connection, outcome: Outcome, known: Row[Any], namespace: str) -> Outcome:
    """The outcome with ORC-5 and ORC-3: those of the order's first case that goes on, else of its first.

    What the LIS is told agrees with ORC-5 of the results: CM from the first signed one on.
    """
    case = connection.execute(
        sa.select(case_table.c.id, case_table.c.state)
        .where(case_table.c.order_id == known.id)
        .order_by(case_table.c.state == CaseState.CANCELLED, case_table.c.created_at, case_table.c.id)
    ).first()
    if case is None:
        return outcome
    order = read_order(connection, known.id)
    signed = review_book.last_signed_result(connection, case.id) is not None
    return replace(
        outcome,
        order_status=_COMPLETE if signed else _STATUS[CaseState(case.state)],
        filler_order_number=filler_order_number(order, case.id, namespace),
    )
