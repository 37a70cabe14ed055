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
from node import cases, order_book
from node.database import Database, instances, order_keys, orders, slide_keys, slides
from node.database import cases as case_table
from node.dispatch import queue_case
from node.matching import Match, SlideIdentity, match
from node.matching import slide_keys as keys_of
from node.queues import SETTLE, WAIT_ORDER, Work
from node.settings import IntakeSettings
from node.views import CaseState
from pipeline.domain import Patient

_UNSTARTED = (CaseState.ORDERED, CaseState.WAITING, CaseState.HELD)


class Linking:
    """Carries out the work that `node/intake.py` asks for. Doing any of it twice changes nothing."""

    def __init__(self, settings: IntakeSettings, database: Database, work: Work) -> None:
        self._settings = settings
        self._database = database
        self._work = work

    def settle(self, series: str) -> None:
        """Decide whether a slide is complete (standards: quiet after release, or the longer wait without one)."""
        with self._database.read() as connection:
            slide = connection.execute(sa.select(slides).where(slides.c.series_instance_uid == series)).one()
            files = connection.execute(
                sa.select(instances.c.path, instances.c.sha256).where(instances.c.series_instance_uid == series)
            ).all()
        if slide.state != "receiving" or not self._is_quiet(slide):
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
        """Find the slides that wait for an order that came or changed."""
        with self._database.write() as connection:
            wanted = sa.select(order_keys.c.kind, order_keys.c.value).where(order_keys.c.order_id == order_id)
            waiting = connection.execute(
                sa.select(case_table.c.series_instance_uid)
                .distinct()
                .join(slide_keys, slide_keys.c.series_instance_uid == case_table.c.series_instance_uid)
                .where(
                    sa.tuple_(slide_keys.c.kind, slide_keys.c.value).in_(wanted),
                    case_table.c.state.in_([CaseState.WAITING, CaseState.HELD]),
                    sa.or_(case_table.c.order_id.is_(None), case_table.c.order_id == order_id),
                )
            ).scalars()
            for series in list(waiting):
                self._match_slide(connection, series)

    def give_up_order(self, case_id: str) -> None:
        """The order of a slide did not come in time."""
        with self._database.write() as connection:
            case = cases.current(connection, case_id)
            if case.state != CaseState.WAITING or case.order_id is not None:
                return
            if self._settings.require_order:
                cause = "no order came for this slide: send one, or accept the slide without an order"
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

    def _is_quiet(self, slide: Row[Any], *, given_up: bool = False) -> bool:
        now = datetime.now(UTC)
        released = slide.released_at is not None and slide.released_at >= slide.last_instance_at
        wait_s = self._settings.quiet_s if released and not given_up else self._settings.incomplete_s
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
        connection.execute(slide_keys.delete().where(slide_keys.c.series_instance_uid == series))
        rows = [{"series_instance_uid": series, "kind": k, "value": v} for k, v in sorted(keys_of(identity))]
        if rows:
            connection.execute(slide_keys.insert(), rows)
        its_case = connection.execute(
            sa.select(case_table).where(case_table.c.series_instance_uid == series)
        ).one_or_none()
        if its_case is not None and CaseState(its_case.state) not in _UNSTARTED:
            self._came_late(connection, its_case, slide_digest(volumes_of(headers)))
        else:
            self._match_slide(connection, series)

    def _came_late(self, connection: Connection, case: Row[Any], digest: str) -> None:
        """The slide changed after the count began: the run keeps the files it began with."""
        if digest == case.slide_digest or case.state == CaseState.CANCELLED:
            return
        if case.state == CaseState.QUEUED:
            cases.note(connection, case.id, "another instance of the slide came before the count began")
            return
        if self._settings.late_instance == "rerun":
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
        case_id = self._case_of(connection, slide, found)
        case = cases.current(connection, case_id)
        if slide.state != "complete":
            problem = f"the slide is not complete: {slide.problem or 'instances are missing'}; send what is missing"
            cases.move(connection, case_id, CaseState.HELD, problem)
        elif found.problem:
            cases.move(connection, case_id, CaseState.HELD, found.problem)
        elif case.order_id is not None:
            queue_case(connection, self._work, case_id, "order and slide are here")
        elif case.state != CaseState.HELD or "not complete" in case.cause:
            cases.move(connection, case_id, CaseState.WAITING, "waiting for the order")
            self._work.ask(connection, WAIT_ORDER, case_id, case_id, delay_s=self._settings.order_timeout_s)

    def _find_order(self, connection: Connection, slide: Row[Any]) -> Match:
        wanted = sa.select(slide_keys.c.kind, slide_keys.c.value).where(
            slide_keys.c.series_instance_uid == slide.series_instance_uid
        )
        rows = connection.execute(
            sa.select(orders.c.id, orders.c.body)
            .distinct()
            .join(order_keys, order_keys.c.order_id == orders.c.id)
            .where(orders.c.state == "open", sa.tuple_(order_keys.c.kind, order_keys.c.value).in_(wanted))
        ).all()
        candidates = [(row.id, cases.ORDER.validate_python(row.body)) for row in rows]
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
        return match(identity, candidates, self._settings.match_by, check_container=self._settings.check_container)

    def _case_of(self, connection: Connection, slide: Row[Any], found: Match) -> str:
        """The case that is this slide's: its own, the order's that has no slide yet, or a new one."""
        series = slide.series_instance_uid
        own = connection.execute(sa.select(case_table).where(case_table.c.series_instance_uid == series)).one_or_none()
        ordered = connection.execute(
            sa.select(case_table)
            .where(
                case_table.c.order_id == found.order_id,
                case_table.c.series_instance_uid.is_(None),
                case_table.c.state.in_(_UNSTARTED),
            )
            .limit(1)
        ).one_or_none()
        shown = _shown_of(slide)
        order = order_book.read_order(connection, found.order_id)
        if order is not None:
            shown |= order_book.shown_of(order) | {"container_identifier": slide.container_identifier}
        if own is None and ordered is None:
            cause = "the slide is here"
            return cases.create(
                connection, CaseState.WAITING, cause, series_instance_uid=series, order_id=found.order_id, **shown
            )
        if own is None:
            assert ordered is not None
            cases.note(connection, ordered.id, "the slide is here", series_instance_uid=series, **shown)
            return str(ordered.id)
        if ordered is not None and own.order_id is None:
            cases.move(connection, ordered.id, CaseState.CANCELLED, f"joined with case {own.id}, which has the slide")
        if found.order_id is not None and own.order_id is None:
            cases.note(connection, own.id, "the order is here", order_id=found.order_id, **shown)
        return str(own.id)


def _identity(header: InstanceHeader) -> SlideIdentity:
    return SlideIdentity(
        accession_number=header.accession_number,
        container_identifier=header.container_identifier,
        specimen_identifier=header.specimen_identifier,
        patient=header.patient,
    )


def _shown_of(slide: Row[Any]) -> dict[str, str]:
    return {
        "accession_number": slide.accession_number,
        "container_identifier": slide.container_identifier,
        "patient_id": slide.patient_id,
        "patient_name": slide.patient_name,
    }
