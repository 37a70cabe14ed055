"""What the listeners do with what arrives: keep it, ask for the work it makes necessary, and only then acknowledge.

An instance is already a file when it comes here; an order is kept as the bytes that were sent. Matching, completeness
and time-outs are work of the worker (`node/intake/linking.py`).
"""

import hashlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dicom_io.contexts import KEY_OBJECT_SELECTION, WHOLE_SLIDE
from dicom_io.errors import InstanceRejected
from dicom_io.rejection import read_rejection
from dicom_io.scan import CANNOT_UNDERSTAND
from dicom_io.store import InstanceHeader
from hl7 import mllp
from hl7.acks import Outcome, accept, is_refusal, refuse
from hl7.adt import parse_patient_message
from hl7.dpow import Kind
from hl7.errors import ParseError
from hl7.messages import LONGEST_VALUE, Header, read_header
from hl7.orders import OrderMessage, OrderRequest, parse_order_message
from node import audit
from node.database import Database
from node.intake import order_book, patients, registrations
from node.queues import SETTLE, Work
from node.settings import Settings
from node.tables import instances, messages, slides

_SLIDE_MODALITY = "SM"
_IN_ANOTHER_SERIES = "SOPInstanceUID is kept in another series; send what is changed under a new UID"


class Intake:
    """The handlers of the DICOM and MLLP listeners."""

    def __init__(self, settings: Settings, database: Database, work: Work) -> None:
        self._settings = settings
        self._database = database
        self._work = work

    def instance(self, header: InstanceHeader, calling_ae: str) -> None:
        """Index a kept instance; when this returns it may be acknowledged. Indexing it again changes nothing.

        Raises
        ------
        InstanceRejected
            0xC000 when its SOP instance UID is that of an instance of another series; its file is removed.
        """
        now = datetime.now(UTC)
        rejected = read_rejection(header.path) if header.sop_class_uid == KEY_OBJECT_SELECTION else {}
        with self._database.write() as connection:
            known = connection.execute(
                sa.select(instances.c.study_instance_uid, instances.c.series_instance_uid).where(
                    instances.c.sop_instance_uid == header.sop_instance_uid
                )
            ).one_or_none()
            if known is not None:
                if tuple(known) != (header.study_instance_uid, header.series_instance_uid):
                    header.path.unlink(missing_ok=True)
                    raise InstanceRejected(CANNOT_UNDERSTAND, _IN_ANOTHER_SERIES)
                return
            connection.execute(
                instances.insert().values(
                    sop_instance_uid=header.sop_instance_uid,
                    series_instance_uid=header.series_instance_uid,
                    study_instance_uid=header.study_instance_uid,
                    sop_class_uid=header.sop_class_uid,
                    transfer_syntax_uid=header.transfer_syntax_uid,
                    modality=header.modality,
                    path=str(header.path),
                    sha256=header.sha256,
                    number_of_frames=header.number_of_frames,
                    calling_ae=calling_ae,
                    received_at=now,
                )
            )
            if header.modality == _SLIDE_MODALITY or (not header.modality and header.sop_class_uid == WHOLE_SLIDE):
                _extend_slide(connection, header, now)
                self._ask_to_settle(connection, header.series_instance_uid, now, self._settings.intake.incomplete_s)
            for study, series in rejected.items():
                registrations.announce(connection, study, series, self._settings.intake, self._work, available=False)
            audit.record(connection, calling_ae, "instance received", subject=header.sop_instance_uid)

    def released(self, series: frozenset[str]) -> None:
        """An association ended normally: its slides are complete once nothing follows for `intake.quiet_s`.

        A slide whose archive has already said that its image is there is complete at once.
        """
        now = datetime.now(UTC)
        with self._database.write() as connection:
            for uid in sorted(series):
                released = slides.update().where(slides.c.series_instance_uid == uid).values(released_at=now)
                study = connection.execute(released.returning(slides.c.study_instance_uid)).scalar_one_or_none()
                if study is not None:
                    announced = registrations.is_announced(connection, uid, study)
                    delay_s = 0.0 if announced else self._settings.intake.quiet_s
                    self._ask_to_settle(connection, uid, now, delay_s)

    def available(self, study: str, series: frozenset[str]) -> None:
        """An archive says that it holds these series: nothing more of them is to be awaited."""
        with self._database.write() as connection:
            registrations.announce(connection, study, series, self._settings.intake, self._work)

    def message(self, body: bytes, peer: str) -> tuple[bytes, ...]:
        """Take one HL7 message; returns the acknowledgements, which say that it is on disk.

        A message sent again (same MSH-3, MSH-4 and MSH-10, same content) gets the answers of the first time, unless it
        was refused then: why may have passed, so it is taken anew. The same identity with other content is refused
        (AE 205), unless what had it before was refused: then it is the corrected message. What is said of patients of
        whom nothing is to be counted is not kept.
        """
        header = read_header(body)
        key = _duplicate_key(header)
        digest = hashlib.sha256(body).hexdigest()
        now = datetime.now(UTC)
        with self._database.write() as connection:
            earlier = connection.execute(
                sa.select(messages.c.id, messages.c.digest, messages.c.reply).where(messages.c.duplicate_key == key)
            ).one_or_none()
            if earlier is not None and not is_refusal(earlier.reply):
                if earlier.digest == digest:
                    return mllp.split(earlier.reply)
                used = ParseError("MSH-10 was used for another message", code=205, location="MSH^1^10")
                return (_refuse(body, used),)
            answers, concerns_us = self._take(connection, header, body)
            if not concerns_us:
                return answers
            values = {"reply": mllp.join(answers), "peer": peer, "at": now}
            if earlier is not None and earlier.digest == digest:
                connection.execute(messages.update().where(messages.c.id == earlier.id).values(**values))
            else:
                if earlier is not None:  # it is kept, the key is now that of the corrected message
                    replaced = messages.update().where(messages.c.id == earlier.id)
                    connection.execute(replaced.values(duplicate_key=None))
                row = {"direction": "in", "duplicate_key": key, "digest": digest, "body": body, **values}
                connection.execute(messages.insert().values(control_id=header.control_id, **row))
            audit.record(connection, header.sending_application or peer, "message received", subject=header.control_id)
        return answers

    def _take(self, connection: Connection, header: Header, body: bytes) -> tuple[tuple[bytes, ...], bool]:
        """The answers, and whether the message is to be kept."""
        if header.message_type == "ACK":
            return (), True  # an answer is not answered (HL7 v2.5.1 2.9.3)
        try:
            if header.message_type == "ADT":
                return self._take_patients(connection, body)
            return self._take_orders(connection, body), True
        except ParseError as exc:
            return (_refuse(body, exc),), True

    def _take_patients(self, connection: Connection, body: bytes) -> tuple[tuple[bytes, ...], bool]:
        hl7 = self._settings.hl7
        updates = parse_patient_message(
            body,
            hl7.fields.patient_authority,
            processing_ids=(hl7.processing_id,),
            default_character_set=hl7.default_character_set,
        )
        changed = [patients.apply(connection, update, self._work) for update in updates]
        return self._accept(body), any(changed)

    def _take_orders(self, connection: Connection, body: bytes) -> tuple[bytes, ...]:
        hl7 = self._settings.hl7
        message = parse_order_message(
            body,
            hl7.fields,
            processing_ids=(hl7.processing_id,),
            default_character_set=hl7.default_character_set,
        )
        outcomes = [self._carry_out(connection, message.kind, request) for request in message.requests]
        return self._accept(message, outcomes)

    def _accept(self, message: OrderMessage | bytes, outcomes: Sequence[Outcome] = ()) -> tuple[bytes, ...]:
        both = self._settings.hl7.application_answer_follows
        return accept(message, outcomes, at=datetime.now(UTC), control_id=_control_id(), both=both)

    def _carry_out(self, connection: Connection, kind: Kind, request: OrderRequest) -> Outcome:
        intake, namespace = self._settings.intake, self._settings.hl7.namespace
        if kind is Kind.ORDER:
            return order_book.take(connection, request, intake, self._work, namespace=namespace)
        return registrations.take(connection, request, intake, self._work)

    def _ask_to_settle(self, connection: Connection, series: str, now: datetime, delay_s: float) -> None:
        self._work.ask(connection, SETTLE, f"{series}:{now.timestamp():.6f}", series, delay_s=delay_s)


def _extend_slide(connection: Connection, header: InstanceHeader, now: datetime) -> None:
    """Count the instance to its slide, which is no longer, or not yet, complete."""
    changed = connection.execute(
        slides.update()
        .where(slides.c.series_instance_uid == header.series_instance_uid)
        .values(state="receiving", last_instance_at=now, instance_count=slides.c.instance_count + 1)
    )
    if changed.rowcount:
        return
    connection.execute(
        slides.insert().values(
            series_instance_uid=header.series_instance_uid,
            study_instance_uid=header.study_instance_uid,
            state="receiving",
            instance_count=1,
            first_instance_at=now,
            last_instance_at=now,
        )
    )


def _duplicate_key(header: Header) -> str | None:
    if not header.control_id:
        return None
    key = "|".join(("in", header.sending_application, header.sending_facility, header.control_id))
    return key if len(key) <= LONGEST_VALUE else f"in|{hashlib.sha256(key.encode()).hexdigest()}"


def _refuse(body: bytes, error: ParseError) -> bytes:
    return refuse(body, error, at=datetime.now(UTC), control_id=_control_id())


def _control_id() -> str:
    return uuid.uuid4().hex[:20].upper()
