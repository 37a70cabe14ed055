"""Taking back a result that went out under the wrong order: its slide then waits for the right one."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from node import cases, dispatch
from node.errors import WrongState
from node.intake.linking import shown_of_slide
from node.intake.matching import Match
from node.queues import Work
from node.results import run_book
from node.results.withdrawal_book import Withdrawal
from node.review import review_book
from node.tables import slides
from node.views import CaseState

_WITHDRAWABLE = (CaseState.HELD, CaseState.REPORTED, CaseState.FAILED)


def withdraw(connection: Connection, work: Work, case_id: str, actor: str, reason: str) -> str:
    """Take back what a case has sent; returns the case in which its slide is held until a person says whose it is.

    The case itself is held without a slide. Everyone who has its result is sent a revision that says why there is none.

    Raises
    ------
    UnknownCase
        There is no such case.
    WrongState
        It has no result, or is at work.
    """
    case = cases.current(connection, case_id)
    record = run_book.newest_run(connection, case_id)
    series = case.series_instance_uid
    if case.state not in _WITHDRAWABLE or series is None or record is None:
        msg = f"case {case_id} is {case.state} and has no result to withdraw; wait until it is reported or held"
        raise WrongState(msg)
    signed = review_book.last_signature(connection, case_id)
    now = datetime.now(UTC)
    withdrawal = Withdrawal(
        case_id=case_id,
        revision=case.revision + 1,
        run=record.run,
        series_instance_uid=series,
        name=actor,
        reason=reason,
        at=now if signed is None else max(now, signed.at + timedelta(seconds=1)),  # receivers keep the latest
    )
    dispatch.queue_withdrawal(connection, work, withdrawal)
    slide = connection.execute(sa.select(slides).where(slides.c.series_instance_uid == series)).one()
    cause = f"its result in case {case_id} was withdrawn: attach it from the case of its order, or cancel"
    about = {"series_instance_uid": series, **shown_of_slide(connection, slide, Match())}
    return cases.create(connection, CaseState.HELD, cause, actor=actor, **about)
