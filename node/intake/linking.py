"""Orders and slides find each other: what the worker does when something arrived, or did not arrive in time."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dicom_io.completeness import Completeness, assess, volumes_of
from dicom_io.header import InstanceHeader, parse_header
from dicom_io.slide import slide_digest
from node import cases
from node.database import Database
from node.dispatch import queue_case
from node.errors import WrongState
from node.intake import order_book, registrations
from node.intake.matching import Match, SlideIdentity, match, patient_problem
from node.queues import LINK, SETTLE, WAIT_ORDER, WAIT_SLIDE, Work
from node.results import withdrawal_book
from node.review import review_book
from node.settings import IntakeSettings
from node.tables import cases as case_table
from node.tables import instances, order_keys, orders, slide_keys, slides
from node.views import CaseState

_UNCOUNTED = (CaseState.WAITING, CaseState.HELD, CaseState.QUEUED)
_AT_WORK = (CaseState.QUEUED, CaseState.RUNNING, CaseState.DELIVERING)
_LATER_S = 5.0
_WAITING = "waiting for the order"


class Linking:
    """Carries out the work that `node/intake/intake.py` asks for. Doing any of it twice changes nothing."""

    def __init__(self, settings: IntakeSettings, database: Database, work: Work) -> None:
        self._settings = settings
        self._database = database
        self._work = work

    def settle(self, series: str) -> None:
        """Decide whether a slide is complete.

        It is once its association was released and it was then quiet, or was quiet for longer without; an archive's
        word that the image is there (IHE LAB-104) takes the place of one of the two.
        """
        with self._database.read() as connection:
            slide = connection.execute(sa.select(slides).where(slides.c.series_instance_uid == series)).one()
            files = connection.execute(
                sa.select(instances.c.path, instances.c.sha256).where(instances.c.series_instance_uid == series)
            ).all()
            announced = registrations.is_announced(connection, series, slide.study_instance_uid)
        if slide.state != "receiving" or not self._is_quiet(slide, announced=announced):
            return
        headers = [replace(parse_header(Path(file.path)), sha256=file.sha256) for file in files]
        assessed = assess(headers)
        if not assessed.complete and not self._is_quiet(slide, given_up=True):
            self._look_again(series, slide)
            return
        with self._database.write() as connection:
            unchanged = connection.execute(
                sa.select(slides.c.instance_count).where(slides.c.series_instance_uid == series)
            ).scalar_one()
            if unchanged != slide.instance_count:
                return  # another instance came meanwhile, and asked for its own look
            self._settled(connection, series, headers, assessed)

    def link(self, order_id: str) -> None:
        """Find the slides of an order that came or changed, or of a registration.

        Of a cancelled order those that still have a case, which may be another order's.
        """
        with self._database.write() as connection:
            wanted = sa.select(order_keys.c.kind, order_keys.c.value).where(order_keys.c.order_id == order_id)
            keyed = sa.select(slide_keys.c.series_instance_uid).where(
                sa.tuple_(slide_keys.c.kind, slide_keys.c.value).in_(wanted)
            )
            attached = sa.select(case_table.c.series_instance_uid).where(
                case_table.c.order_id == order_id, case_table.c.series_instance_uid.is_not(None)
            )
            series = keyed.union(attached)
            named = connection.execute(sa.select(slides).where(slides.c.series_instance_uid.in_(series))).all()
            state = connection.execute(sa.select(orders.c.state).where(orders.c.id == order_id)).scalar_one_or_none()
            for slide in named:
                if state == registrations.REGISTERED:
                    self._registered(connection, slide)
                elif state == "open" or _case_of_slide(connection, slide.series_instance_uid) is not None:
                    self._ordered(connection, slide, order_id)

    def _registered(self, connection: Connection, slide: Row[Any]) -> None:
        """A slide may find its order by what was now registered; one that is counted already does not change."""
        registrations.index_slide(connection, slide)
        own = _case_of_slide(connection, slide.series_instance_uid)
        if own is not None and (own.run > 0 or CaseState(own.state) not in {CaseState.WAITING, CaseState.HELD}):
            return
        if own is not None and own.order_id is None:
            cases.note(connection, own.id, "its slide was registered", **shown_of_slide(connection, slide, Match()))
        if own is None or self._find_order(connection, slide).order_id is not None:
            self._match_slide(connection, slide.series_instance_uid)

    def _ordered(self, connection: Connection, slide: Row[Any], order_id: str) -> None:
        series = slide.series_instance_uid
        own = _case_of_slide(connection, series)
        if own is None or own.order_id == order_id:
            is_open = own is None or CaseState(own.state) in _UNCOUNTED
        elif own.order_id is None and CaseState(own.state) in _AT_WORK:
            self._work.ask(connection, LINK, f"{order_id}:{own.run}:{own.state}", order_id, delay_s=_LATER_S)
            return
        else:
            is_open = own.order_id is None
        if is_open:
            self._match_slide(connection, series)

    def attach(self, connection: Connection, case_id: str, series: str, *, actor: str) -> None:
        """Give a case the slide that a person chose; the case the slide had waits for another, or ends.

        What names order and slide need not agree, but the patient must, else the case is held for it.

        Raises
        ------
        WrongState
            The case has a slide, or the slide cannot be taken from where it is.

        """
        case = cases.current(connection, case_id)
        slide = connection.execute(
            sa.select(slides).where(slides.c.series_instance_uid == series, slides.c.state != "receiving")
        ).one_or_none()
        own = _case_of_slide(connection, series)
        if case.series_instance_uid is not None or slide is None or (own is not None and not _may_give(own)):
            msg = f"this slide cannot be attached to case {case_id}: choose one that is complete and not counted yet"
            raise WrongState(msg)
        if own is not None and own.order_id is None:
            cases.move(connection, own.id, CaseState.CANCELLED, f"its slide went to case {case_id}", actor=actor)
        elif own is not None:
            cause = f"its slide went to case {case_id}; waiting for the slide"
            cases.move(connection, own.id, CaseState.ORDERED, cause, actor=actor, series_instance_uid=None)
            wait_s = self._settings.slide_timeout_s
            self._work.ask(connection, WAIT_SLIDE, f"{own.order_id}:{series}", own.order_id, delay_s=wait_s)
        values = {"series_instance_uid": series, "container_identifier": slide.container_identifier}
        cases.note(connection, case_id, "a person attached the slide", actor=actor, **values)
        self._match_slide(connection, series)

    def give_up_order(self, case_id: str) -> None:
        """The order of a slide did not come in time."""
        with self._database.write() as connection:
            case = cases.current(connection, case_id)
            if case.state != CaseState.WAITING or case.order_id is not None:
                return
            if self._settings.require_order:
                cause = "no order came for this slide: send one, or requeue the case to count without an order"
                cases.move(connection, case_id, CaseState.HELD, cause)
            else:
                queue_case(connection, self._work, case_id, "no order came, and the site requires none")

    def give_up_slide(self, order_id: str) -> None:
        """The slide of an order did not come in time."""
        with self._database.write() as connection:
            late = connection.execute(
                sa.select(case_table.c.id).where(
                    case_table.c.order_id == order_id, case_table.c.state == CaseState.ORDERED
                )
            ).scalars()
            for case_id in list(late):
                cause = "no slide came for this order: scan and send it, or cancel the order"
                cases.move(connection, case_id, CaseState.HELD, cause)

    def _is_quiet(self, slide: Row[Any], *, announced: bool = False, given_up: bool = False) -> bool:
        now = datetime.now(UTC)
        released = slide.released_at is not None and slide.released_at >= slide.last_instance_at
        if given_up or not (released or announced):
            wait_s = self._settings.incomplete_s
        else:
            wait_s = 0.0 if released and announced else self._settings.quiet_s
        return bool(now - slide.last_instance_at >= timedelta(seconds=wait_s))

    def _look_again(self, series: str, slide: Row[Any]) -> None:
        due = slide.last_instance_at + timedelta(seconds=self._settings.incomplete_s)
        delay_s = max(0.0, (due - datetime.now(UTC)).total_seconds()) + 0.1
        with self._database.write() as connection:
            key = f"{series}:{slide.instance_count}:incomplete"
            self._work.ask(connection, SETTLE, key, series, delay_s=delay_s)

    def _settled(
        self, connection: Connection, series: str, headers: Sequence[InstanceHeader], assessed: Completeness
    ) -> None:
        base = assessed.base or headers[0]
        identity = _identity(base)
        connection.execute(
            slides.update()
            .where(slides.c.series_instance_uid == series)
            .values(
                state="complete" if assessed.complete else "incomplete",
                problem="; ".join(assessed.problems),
                digest=slide_digest(volumes_of(headers)),
                accession_number=identity.accession_number,
                container_identifier=identity.container_identifier,
                specimen_identifier=identity.specimen_identifier,
                patient_id=identity.patient.patient_id,
                patient_issuer=identity.patient.issuer,
                patient_name=identity.patient.name,
                patient_birth_date=identity.patient.birth_date,
                patient_sex=identity.patient.sex,
            )
        )
        registrations.index_slide(
            connection, connection.execute(sa.select(slides).where(slides.c.series_instance_uid == series)).one()
        )
        own = _case_of_slide(connection, series)
        if own is not None and own.run > 0:
            self._came_late(connection, own, slide_digest(volumes_of(headers)))
        else:
            self._match_slide(connection, series)

    def _came_late(self, connection: Connection, case: Row[Any], digest: str) -> None:
        """The slide changed after the count began: the run keeps the files it began with.

        What an expert has begun to review is counted again only when a person asks for it.
        """
        if digest == case.slide_digest:
            return
        if case.state == CaseState.QUEUED:
            cases.note(connection, case.id, "another instance of the slide came before the count began")
            return
        may_rerun = case.state != CaseState.FAILED and not review_book.has_begun(connection, case.id, case.run)
        if self._settings.late_instance == "rerun" and may_rerun:
            queue_case(connection, self._work, case.id, "another instance of the slide came: it is counted again")
            return
        cause = "another instance of the slide came after the count began: requeue to count the whole slide"
        cases.note(connection, case.id, cause, hold_cause=cause)
        if case.state == CaseState.REPORTED:
            cases.move(connection, case.id, CaseState.HELD, cause)

    def _match_slide(self, connection: Connection, series: str) -> None:
        """Give the slide to its order's case, or to a case of its own that waits."""
        slide = connection.execute(sa.select(slides).where(slides.c.series_instance_uid == series)).one()
        found = self._find_order(connection, slide)
        own = _case_of_slide(connection, series)
        if own is not None and own.order_id not in {None, found.order_id}:  # attached by a person, or named no longer
            found = _judge(connection, own, slide)
        case = cases.current(connection, self._give_case(connection, slide, found))
        problem = (
            _incomplete(slide)
            or found.problem
            or registrations.withdrawn(connection, series)
            or _scanned_before(connection, case)
        )
        if problem:
            cases.move(connection, case.id, CaseState.HELD, problem)
        elif case.order_id is not None:
            queue_case(connection, self._work, case.id, "order and slide are here")
        elif case.state != CaseState.WAITING or case.cause != _WAITING:
            cases.move(connection, case.id, CaseState.WAITING, _WAITING)
            self._work.ask(connection, WAIT_ORDER, case.id, case.id, delay_s=self._settings.order_timeout_s)

    def _find_order(self, connection: Connection, slide: Row[Any]) -> Match:
        wanted = sa.select(slide_keys.c.kind, slide_keys.c.value).where(
            slide_keys.c.series_instance_uid == slide.series_instance_uid
        )
        named = sa.select(order_keys.c.order_id).where(sa.tuple_(order_keys.c.kind, order_keys.c.value).in_(wanted))
        rows = connection.execute(
            sa.select(orders.c.id, orders.c.body).where(orders.c.state == "open", orders.c.id.in_(named))
        ).all()
        refused = withdrawal_book.orders_without(connection, slide.series_instance_uid, [row.id for row in rows])
        candidates = [(row.id, cases.ORDER.validate_python(row.body)) for row in rows if row.id not in refused]
        identity, registered = registrations.known(connection, slide)
        doubt = patient_problem(registered.patient, identity.patient, "registration") if registered else ""
        check = self._settings.check_container
        found = match(identity, candidates, self._settings.match_by, check_container=check)
        return replace(found, problem=doubt or found.problem)

    def _give_case(self, connection: Connection, slide: Row[Any], found: Match) -> str:
        """The case that is this slide's: its own, the order's that has no slide yet, or a new one."""
        series = slide.series_instance_uid
        own = _case_of_slide(connection, series)
        empty = connection.execute(
            sa.select(case_table)
            .where(
                case_table.c.order_id == found.order_id,
                case_table.c.series_instance_uid.is_(None),
                case_table.c.state.in_((CaseState.ORDERED, CaseState.HELD)),
            )
            .limit(1)
        ).one_or_none()
        shown = shown_of_slide(connection, slide, found)
        if own is None and empty is None:
            columns = {"series_instance_uid": series, "order_id": found.order_id, **shown}
            return cases.create(connection, CaseState.WAITING, "the slide is here", **columns)
        if empty is not None and (own is None or (own.order_id is None and own.run == 0)):
            if own is not None:  # the order's case goes on: the LIS knows its number
                cases.move(connection, own.id, CaseState.CANCELLED, f"joined with case {empty.id}, which has the order")
            cases.note(connection, empty.id, "the slide is here", series_instance_uid=series, **shown)
            return str(empty.id)
        assert own is not None
        if empty is not None and own.order_id is None:
            cases.move(connection, empty.id, CaseState.CANCELLED, f"joined with case {own.id}, which has the slide")
        if found.order_id is not None and own.order_id is None:
            cases.note(connection, own.id, "the order is here", order_id=found.order_id, **shown)
        return str(own.id)


def _may_give(case: Row[Any]) -> bool:
    """Whether a case can do without its slide: nothing was counted, and a person or an order is waited for."""
    return case.run == 0 and CaseState(case.state) in {CaseState.WAITING, CaseState.HELD}


def _judge(connection: Connection, case: Row[Any], slide: Row[Any]) -> Match:
    """An order and a slide that a person brought together, or that a change of the order parted."""
    if case.cause == order_book.NO_LONGER_NAMED:
        return Match(order_id=case.order_id, problem=case.cause)
    order = order_book.read_order(connection, case.order_id)
    assert order is not None
    identity, _ = registrations.known(connection, slide)
    return Match(order_id=case.order_id, problem=patient_problem(order.patient, identity.patient))


def _case_of_slide(connection: Connection, series: str) -> Row[Any] | None:
    """The case of a slide, a cancelled one left out."""
    return connection.execute(
        sa.select(case_table).where(
            case_table.c.series_instance_uid == series, case_table.c.state != CaseState.CANCELLED
        )
    ).one_or_none()


def _incomplete(slide: Row[Any]) -> str:
    if slide.state == "complete":
        return ""
    return f"the slide is not complete: {slide.problem or 'instances are missing'}; send what is missing"


def _scanned_before(connection: Connection, case: Row[Any]) -> str:
    """Why a second scan of one glass slide is not counted without a person asking for it."""
    earlier = connection.execute(
        sa.select(case_table.c.id).where(
            case_table.c.order_id == case.order_id,
            case_table.c.id != case.id,
            case_table.c.series_instance_uid.is_not(None),
            case_table.c.container_identifier == case.container_identifier,
            case_table.c.state != CaseState.CANCELLED,
        )
    ).scalar()
    return f"case {earlier} has another scan of this slide: requeue to count this one too, or cancel" if earlier else ""


def _identity(header: InstanceHeader) -> SlideIdentity:
    return SlideIdentity(
        accession_number=header.accession_number,
        container_identifier=header.container_identifier,
        specimen_identifier=header.specimen_identifier,
        patient=header.patient,
    )


def shown_of_slide(connection: Connection, slide: Row[Any], found: Match) -> dict[str, str]:
    """The columns of a case that its order decides, or without one its slide and its slide's registration."""
    order = order_book.read_order(connection, found.order_id)
    if order is not None:
        return order_book.shown_of(order) | {"container_identifier": slide.container_identifier}
    identity, _ = registrations.known(connection, slide)
    return {
        "accession_number": identity.accession_number,
        "container_identifier": identity.container_identifier,
        "patient_id": identity.patient.patient_id,
        "patient_name": identity.patient.name,
    }
