"""Sending a case on its way: to the queue, again after a failure, past a hold, or out."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from node import cases
from node.errors import WrongState
from node.queues import CASES, COUNT, SIGN, SIGNATURES, WITHDRAW, Work
from node.results import withdrawal_book
from node.results.delivery_book import restart_deliveries, supersede
from node.results.withdrawal_book import Withdrawal
from node.review import review_book
from node.review.review_book import Signature
from node.tables import deliveries, slides
from node.views import CaseState
from pipeline.domain import Priority

SIGNING = "sign"  # the stage of a delivering case whose signed result is being made
WITHDRAWING = "withdraw"  # ... and of one whose result is being taken back


def queue_case(connection: Connection, work: Work, case_id: str, cause: str, *, actor: str = cases.NODE) -> None:
    """Have the case's slide counted; STAT before ASAP before routine, then in order of arrival.

    Each call is one run with its own number. A result that was sent before is followed by a new revision.
    """
    case = cases.current(connection, case_id)
    slide = connection.execute(
        sa.select(slides).where(slides.c.series_instance_uid == case.series_instance_uid)
    ).one_or_none()
    if slide is None:
        msg = f"case {case_id} has no slide yet; send it, or wait for it"
        raise WrongState(msg)
    signed = review_book.read_signature(connection, case_id, case.revision)
    withdrawn = withdrawal_book.read(connection, case_id, case.revision)
    sent = _deliveries_of(connection, case_id, case.revision)
    run = case.run + 1
    cases.move(
        connection,
        case_id,
        CaseState.QUEUED,
        cause,
        actor=actor,
        run=run,
        attempts=0,
        stage="",
        progress=0.0,
        hold_cause="",
        slide_digest=slide.digest,
        revision=case.revision + (1 if sent or signed or withdrawn else 0),
    )
    work.ask(
        connection,
        COUNT,
        f"{case_id}:{slide.digest[:16]}:{run}",
        case_id,
        run,
        queue=CASES,
        priority=cases.rank(Priority(case.priority)),
    )


def queue_signature(connection: Connection, work: Work, signature: Signature) -> None:
    """Keep a signature and have its result made and sent; a person has looked: nothing holds the case or puts it first.

    Raises
    ------
    UnknownCase
        There is no such case.
    WrongState
        It has no result that could be signed.
    """
    review_book.keep_signature(connection, signature)
    _begin_signing(connection, work, signature, f"signed by {signature.full_name}", signature.name)


def queue_withdrawal(connection: Connection, work: Work, withdrawal: Withdrawal) -> None:
    """Keep that a result is taken back, take its slide from the case, and have everyone told who has the result.

    Raises
    ------
    UnknownCase
        There is no such case.
    WrongState
        It has no result that could be taken back.
    """
    withdrawal_book.keep(connection, withdrawal)
    supersede(connection, withdrawal.case_id, withdrawal.revision, ("hl7", "dicom", "stow"))
    _begin_withdrawal(connection, work, withdrawal, withdrawal.name)


def requeue(connection: Connection, work: Work, case_id: str, actor: str) -> str:
    """Take a failed or held case up again where it stopped; returns what is done.

    Raises
    ------
    UnknownCase
        There is no such case.
    WrongState
        The case is neither failed nor held, or has no slide yet.
    """
    case = cases.current(connection, case_id)
    if case.state not in {CaseState.FAILED, CaseState.HELD}:
        msg = f"case {case_id} is {case.state}; only failed and held cases are requeued"
        raise WrongState(msg)
    if case.state == CaseState.FAILED and restart_deliveries(connection, work, case_id, case.revision):
        cases.move(connection, case_id, CaseState.DELIVERING, "delivery requeued", actor=actor)
        return "its results are delivered again"
    withdrawal = withdrawal_book.read(connection, case_id, case.revision)
    if case.state == CaseState.FAILED and withdrawal and case.series_instance_uid is None:
        _begin_withdrawal(connection, work, withdrawal, actor)
        return "its result is withdrawn"
    signature = review_book.read_signature(connection, case_id, case.revision)
    if case.state == CaseState.FAILED and signature and not _deliveries_of(connection, case_id, case.revision):
        _begin_signing(connection, work, signature, "signature requeued", actor)
        return "its signed result is made again"
    queue_case(connection, work, case_id, "requeued", actor=actor)
    return "its slide is counted again"


def accept(connection: Connection, work: Work, case_id: str, actor: str, reason: str) -> str:
    """A person has looked and takes a case as it is; returns what is done.

    A held case whose result is out is closed. One that was not counted, for a doubt about its slide or for want of an
    order, is counted all the same.

    Raises
    ------
    UnknownCase
        There is no such case.
    WrongState
        The case neither is held nor waits, or has no slide yet.
    """
    case = cases.current(connection, case_id)
    if case.state == CaseState.HELD and case.result_status:
        cases.move(connection, case_id, CaseState.REPORTED, reason, actor=actor, hold_cause="")
        return "its result stands"
    if case.state not in {CaseState.HELD, CaseState.WAITING}:
        msg = f"case {case_id} is {case.state}; only held and waiting cases are accepted"
        raise WrongState(msg)
    queue_case(connection, work, case_id, reason, actor=actor)
    return "its slide is counted"


def cancel(connection: Connection, case_id: str, actor: str, reason: str) -> None:
    """Drop a case; a running count stops at its next step.

    Raises
    ------
    UnknownCase
        There is no such case.
    WrongState
        Its result is out already.
    """
    if cases.current(connection, case_id).result_status:
        msg = f"case {case_id} has sent a result; accept it, or count again"
        raise WrongState(msg)
    cases.move(connection, case_id, CaseState.CANCELLED, reason, actor=actor)


def _begin_signing(connection: Connection, work: Work, signature: Signature, cause: str, actor: str) -> None:
    supersede(connection, signature.case_id, signature.revision)  # now, so that what the LIS has stays known
    cases.move(
        connection,
        signature.case_id,
        CaseState.DELIVERING,
        cause,
        actor=actor,
        revision=signature.revision,
        stage=SIGNING,
        hold_cause="",
        urgent=False,
    )
    key = f"{signature.case_id}:{signature.revision}:{datetime.now(UTC).timestamp():.6f}"
    work.ask(connection, SIGN, key, signature.case_id, signature.revision, queue=SIGNATURES)


def _begin_withdrawal(connection: Connection, work: Work, withdrawal: Withdrawal, actor: str) -> None:
    cause = f"the result was withdrawn: {withdrawal.reason}"
    case = cases.current(connection, withdrawal.case_id)
    cases.move(
        connection,
        withdrawal.case_id,
        CaseState.DELIVERING,
        cause,
        actor=actor,
        run=case.run + 1,  # of which nothing is counted
        revision=withdrawal.revision,
        stage=WITHDRAWING,
        hold_cause=cause,
        urgent=False,
        series_instance_uid=None,
    )
    key = f"{withdrawal.case_id}:{withdrawal.revision}:{datetime.now(UTC).timestamp():.6f}"
    work.ask(connection, WITHDRAW, key, withdrawal.case_id, withdrawal.revision, queue=SIGNATURES)


def _deliveries_of(connection: Connection, case_id: str, revision: int) -> int:
    counted = connection.execute(
        sa.select(sa.func.count())
        .select_from(deliveries)
        .where(deliveries.c.case_id == case_id, deliveries.c.revision == revision)
    )
    return int(counted.scalar_one())
