"""What the LIS and the archive say of slides beside orders (IHE DPOW LAB-100 and LAB-104, PS3.4 Annex R).

A registration joins a barcode with its accession number and patient, for slides whose scanner wrote the barcode alone,
and names the series that the archive holds of it. It is kept as an order is, in the state `registered`, and starts no
case.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from hl7.acks import Outcome
from hl7.dpow import ImageNotice
from hl7.orders import OrderRequest
from node import cases
from node.intake.matching import SlideIdentity, completed, normalise
from node.intake.matching import slide_keys as keys_of
from node.queues import LINK, SETTLE, Work
from node.settings import IntakeSettings
from node.tables import cases as case_table
from node.tables import order_keys, orders, slide_keys, slides
from node.views import CaseState
from pipeline.domain import Order, Patient

REGISTERED = "registered"
_WITHDRAWN = (
    "the archive has withdrawn this image (LAB-104 or a rejection note): requeue to count it all the same, or cancel"
)
_TO_HELD = frozenset({CaseState.WAITING, CaseState.QUEUED, CaseState.REPORTED})


def take(connection: Connection, request: OrderRequest, settings: IntakeSettings, work: Work) -> Outcome:
    """Keep what a message says of a slide, and ask for the work that this makes necessary."""
    barcodes = _barcodes(request.order)
    known = _find(connection, barcodes)
    if request.control == "CA" and request.image is None:
        if known is None:
            return Outcome(granted=False, reason="no registration has this identifier (SPM-2, SAC-3)", code=204)
        connection.execute(orders.delete().where(orders.c.id == known.id))
        return Outcome(granted=True)
    registration = _keep(connection, request, known)
    if request.image is not None:
        _note_image(connection, request.image, registration, barcodes, settings, work)
    work.ask(connection, LINK, f"{registration}:{datetime.now(UTC).timestamp():.6f}", registration)
    return Outcome(granted=True)


def announce(
    connection: Connection,
    study: str,
    series: frozenset[str],
    settings: IntakeSettings,
    work: Work,
    *,
    available: bool = True,
) -> None:
    """Keep that an archive holds these series, or that they are not to be used; once more changes nothing.

    It says so by an Instance Availability Notification, or by a rejection note.
    """
    uids = tuple(sorted(series))
    registration = f"R{hashlib.sha256('|'.join((study, *uids)).encode()).hexdigest()[:10].upper()}"
    if connection.execute(sa.select(orders.c.id).where(orders.c.id == registration)).first() is None:
        _insert(connection, registration, Order(patient=Patient(patient_id="")))
    image = ImageNotice(available=available, study_instance_uids=(study,), series_instance_uids=uids)
    _note_image(connection, image, registration, (), settings, work)


def known(connection: Connection, slide: Row[Any]) -> tuple[SlideIdentity, Order | None]:
    """What is known of a slide, by itself or by what was registered under its barcode; and the registration."""
    identity = SlideIdentity(
        accession_number=slide.accession_number,
        container_identifier=slide.container_identifier,
        specimen_identifier=slide.specimen_identifier,
        patient=Patient(
            patient_id=slide.patient_id,
            issuer=slide.patient_issuer,
            name=slide.patient_name,
            birth_date=slide.patient_birth_date,
            sex=slide.patient_sex,
        ),
    )
    barcodes = [normalise(slide.container_identifier), normalise(slide.specimen_identifier)]
    found = (_find(connection, [barcode]) for barcode in barcodes if barcode)
    row = next((row for row in found if row is not None), None)
    registered = None if row is None else cases.ORDER.validate_python(row.body)
    return completed(identity, registered), registered


def index_slide(connection: Connection, slide: Row[Any]) -> None:
    """Store what the slide can be found by."""
    series = slide.series_instance_uid
    identity, _ = known(connection, slide)
    connection.execute(slide_keys.delete().where(slide_keys.c.series_instance_uid == series))
    rows = [{"series_instance_uid": series, "kind": k, "value": v} for k, v in sorted(keys_of(identity))]
    if rows:
        connection.execute(slide_keys.insert(), rows)


def is_announced(connection: Connection, series: str, study: str) -> bool:
    """Whether an archive has said that it holds this series, so that nothing more of it is to be awaited."""
    named = sa.tuple_(order_keys.c.kind, order_keys.c.value).in_([("series", series), ("study", study)])
    return connection.execute(sa.select(order_keys.c.order_id).where(named)).first() is not None


def withdrawn(connection: Connection, series: str) -> str:
    """Why a person must look at the image of a series; empty unless its archive has withdrawn it."""
    named = (order_keys.c.kind == "withdrawn", order_keys.c.value == series)
    found = connection.execute(sa.select(order_keys.c.order_id).where(*named)).first()
    return "" if found is None else _WITHDRAWN


def _find(connection: Connection, barcodes: Sequence[str]) -> Row[Any] | None:
    """The latest registration of one of the barcodes."""
    return connection.execute(
        sa.select(orders)
        .join(order_keys, order_keys.c.order_id == orders.c.id)
        .where(orders.c.state == REGISTERED, order_keys.c.kind == "container", order_keys.c.value.in_(barcodes))
        .order_by(orders.c.updated_at.desc())
    ).first()


def _keep(connection: Connection, request: OrderRequest, known: Row[Any] | None) -> str:
    """Store the registration, or what the message adds to the one known; returns its id."""
    if known is None:
        order, registration = request.order, f"R{secrets.token_hex(5).upper()}"
        _insert(connection, registration, order)
    else:
        order, registration = _merge(cases.ORDER.validate_python(known.body), request), known.id
        body = cases.ORDER.dump_python(order, mode="json")
        changed = orders.update().where(orders.c.id == registration)
        connection.execute(changed.values(body=body, updated_at=datetime.now(UTC)))
    _mark(connection, registration, "container", _barcodes(order))
    return str(registration)


def _insert(connection: Connection, registration: str, order: Order) -> None:
    now, body = datetime.now(UTC), cases.ORDER.dump_python(order, mode="json")
    row = {"id": registration, "business_key": f"registration|{registration}", "state": REGISTERED, "body": body}
    connection.execute(orders.insert().values(**row, received_at=now, updated_at=now))


def _merge(known: Order, request: OrderRequest) -> Order:
    """What the LIS says replaces what was known, what the archive says fills it up; identifiers are added."""
    new = request.order
    base, above = (new, known) if request.image else (known, new)
    stated: dict[str, Any] = {field.name: value for field in fields(Order) if (value := getattr(above, field.name))}
    stated["container_ids"] = tuple(dict.fromkeys((*known.container_ids, *new.container_ids)))
    stated["specimen_ids"] = tuple(dict.fromkeys((*known.specimen_ids, *new.specimen_ids)))
    return replace(base, **stated)


def _mark(connection: Connection, registration: str, kind: str, values: Sequence[str]) -> None:
    _unmark(connection, registration, kind, values)
    if values:
        rows = [{"order_id": registration, "kind": kind, "value": value} for value in dict.fromkeys(values)]
        connection.execute(order_keys.insert(), rows)


def _unmark(connection: Connection, registration: str, kind: str, values: Sequence[str]) -> None:
    these = (order_keys.c.order_id == registration, order_keys.c.kind == kind, order_keys.c.value.in_(values))
    connection.execute(order_keys.delete().where(*these))


def _note_image(
    connection: Connection,
    image: ImageNotice,
    registration: str,
    barcodes: Sequence[str],
    settings: IntakeSettings,
    work: Work,
) -> None:
    """Settle at once what is whole; hold what was withdrawn."""
    named = _named(connection, image, barcodes)
    series = (*image.series_instance_uids, *(slide.series_instance_uid for slide in named))
    if image.available:
        _mark(connection, registration, "series", series)
        _mark(connection, registration, "study", () if image.series_instance_uids else image.study_instance_uids)
        _unmark(connection, registration, "withdrawn", series)
    else:
        _unmark(connection, registration, "series", series)
        _unmark(connection, registration, "study", image.study_instance_uids)
        _mark(connection, registration, "withdrawn", series)
    for slide in named:
        if not image.available:
            _withdraw(connection, slide.series_instance_uid)
        elif slide.state == "receiving":
            released = slide.released_at is not None and slide.released_at >= slide.last_instance_at
            key = f"{slide.series_instance_uid}:{registration}:{datetime.now(UTC).timestamp():.6f}"
            delay_s = 0.0 if released else settings.quiet_s
            work.ask(connection, SETTLE, key, slide.series_instance_uid, delay_s=delay_s)


def _named(connection: Connection, image: ImageNotice, barcodes: Sequence[str]) -> Sequence[Row[Any]]:
    """The slides a notice is about: by series, else by study, else by barcode."""
    asked = sa.select(slides)
    if image.series_instance_uids:
        asked = asked.where(slides.c.series_instance_uid.in_(image.series_instance_uids))
    elif image.study_instance_uids:
        asked = asked.where(slides.c.study_instance_uid.in_(image.study_instance_uids))
    else:
        theirs = sa.select(slide_keys.c.series_instance_uid).where(
            slide_keys.c.kind == "container", slide_keys.c.value.in_(barcodes)
        )
        asked = asked.where(slides.c.series_instance_uid.in_(theirs))
    return connection.execute(asked).all()


def _withdraw(connection: Connection, series: str) -> None:
    """Have a person look at the cases of an image that is no longer that of its slide."""
    named = sa.select(case_table.c.id, case_table.c.state).where(
        case_table.c.series_instance_uid == series, case_table.c.state != CaseState.CANCELLED
    )
    for case in connection.execute(named).all():
        if CaseState(case.state) in _TO_HELD:
            cases.move(connection, case.id, CaseState.HELD, _WITHDRAWN)
        else:
            cases.note(connection, case.id, _WITHDRAWN, hold_cause=_WITHDRAWN)


def _barcodes(order: Order) -> tuple[str, ...]:
    """SPM-2 and SAC-3, as they are compared."""
    return tuple(dict.fromkeys(normalise(value) for value in (*order.specimen_ids, *order.container_ids)))
