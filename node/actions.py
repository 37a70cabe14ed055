"""What a person can do with a case that waits for one, and doing it: in one transaction, under the person's name."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from sqlalchemy.engine import Connection

from node import audit, cases, dispatch
from node.database import Database
from node.errors import WrongState
from node.intake.linking import Linking
from node.intake.withdrawing import withdraw
from node.people.accounts import Person, Role
from node.queues import Work
from node.views import CaseState, CaseView
from pipeline.domain import ResultStatus

Need = Literal["slide", "reason"]


class ActionName(StrEnum):
    """What can be done with a case."""

    ATTACH = "attach"  # give it the slide it lacks
    ACCEPT = "accept"  # take it as it is
    RERUN = "rerun"  # count its slide again
    REQUEUE = "requeue"  # take up a failure where it stopped
    WITHDRAW = "withdraw"  # take back a result that is out
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that can be done now, what it comes to, and what the person must give with it."""

    name: ActionName
    label: str
    effect: str
    needs: tuple[Need, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What a person asks for.

    Attributes
    ----------
    name : ActionName
    reason : str
        Kept with the case and in the audit.
    slide : str
        Series Instance UID of the slide to attach.
    seen : int, optional
        How many events the person saw of the case; when there are more, somebody was quicker.

    """

    name: ActionName
    reason: str = ""
    slide: str = ""
    seen: int | None = None


NEEDS: dict[ActionName, tuple[Need, ...]] = {
    ActionName.ATTACH: ("slide",),
    ActionName.ACCEPT: ("reason",),
    ActionName.RERUN: ("reason",),
    ActionName.REQUEUE: (),
    ActionName.WITHDRAW: ("reason",),
    ActionName.CANCEL: ("reason",),
}


def _action(name: ActionName, label: str, effect: str) -> Action:
    return Action(name=name, label=label, effect=effect, needs=NEEDS[name])


_ATTACH = _action(
    ActionName.ATTACH,
    "Attach a slide",
    "The slide is counted for this order. If its patient is not the order's, the case is held for that first.",
)
_ACCEPT_RESULT = _action(
    ActionName.ACCEPT, "Accept the result", "The result stands as it was sent, and the case is closed."
)
_ACCEPT_WITHDRAWN = _action(
    ActionName.ACCEPT, "Leave it withdrawn", "No result follows the withdrawn one, and the case is closed."
)
_ACCEPT_DOUBT = _action(
    ActionName.ACCEPT, "Count all the same", "The slide is counted and reported for this order, whatever is in doubt."
)
_ACCEPT_NO_ORDER = _action(
    ActionName.ACCEPT, "Count without an order", "The slide is counted and reported now; no order is waited for."
)
_RERUN = _action(
    ActionName.RERUN, "Count again", "The slide is counted anew; the result follows the earlier one as a new revision."
)
_REQUEUE = _action(
    ActionName.REQUEUE, "Try again", "The case goes on where it stopped: at the count, or at a delivery."
)
_RERUN_SIGNED = _action(
    ActionName.RERUN,
    "Count again",
    "The slide is counted anew. What was reviewed and signed stays in the history; the new count must be signed again.",
)
_WITHDRAW = _action(
    ActionName.WITHDRAW,
    "Withdraw the result",
    "LIS and archives are told that there is no result, with your reason. The slide can be attached to another order.",
)
_CANCEL = _action(ActionName.CANCEL, "Cancel the case", "Nothing is counted or sent. This cannot be undone.")
_BEFORE_A_RESULT = {
    CaseState.ORDERED: (_ATTACH, _CANCEL),
    CaseState.WAITING: (_ACCEPT_NO_ORDER, _CANCEL),
    CaseState.QUEUED: (_CANCEL,),
    CaseState.RUNNING: (_CANCEL,),
}


def offered(view: CaseView, person: Person) -> tuple[Action, ...]:
    """What this person can do with this case now, the likeliest first."""
    if not person.role.includes(Role.REVIEWER):
        return ()
    state, reported = view.row.state, view.status is not None
    if state is CaseState.HELD:
        return _for_held(view)
    if state is CaseState.FAILED:
        return (_REQUEUE, *_with_slide(view)) if reported else (_REQUEUE, _CANCEL)
    if reported:
        return (_with_slide(view) or (_ATTACH,)) if state is CaseState.REPORTED else ()
    return _BEFORE_A_RESULT.get(state, ())


def _for_held(view: CaseView) -> tuple[Action, ...]:
    if view.status is not None:
        return (_ACCEPT_RESULT, *_with_slide(view)) if view.has_slide else (_ATTACH, _ACCEPT_WITHDRAWN)
    if not view.has_slide:
        return (_ATTACH, _CANCEL)
    return (_ACCEPT_DOUBT if view.order is not None else _ACCEPT_NO_ORDER, _CANCEL)


def _with_slide(view: CaseView) -> tuple[Action, ...]:
    """What can be done with a result whose slide is still the case's: a withdrawal takes that away."""
    if not view.has_slide:
        return ()
    signed = view.status in {ResultStatus.FINAL, ResultStatus.CORRECTED}
    return (_RERUN_SIGNED if signed else _RERUN, _WITHDRAW)


class CaseActions:
    """Does what people ask for."""

    def __init__(self, database: Database, work: Work, linking: Linking) -> None:
        self._database = database
        self._work = work
        self._linking = linking

    def do(self, case_id: str, deed: Deed, person: Person) -> None:
        """Carry out one action.

        Raises
        ------
        UnknownCase
            There is no such case.
        WrongState
            The case has gone on, and does not permit this any more; or the slide cannot be attached.

        """
        with self._database.write() as connection:
            view = cases.read_view(connection, case_id)
            is_offered = deed.name in {action.name for action in offered(view, person)}
            if not is_offered or deed.seen not in {None, len(view.events)}:
                msg = f"case {case_id} has changed, it is {view.row.state} now: look again, then decide"
                raise WrongState(msg)
            self._carry_out(connection, case_id, deed, person.name)
            detail = "; ".join(part for part in (deed.reason, deed.slide) if part)
            audit.record(connection, person.name, f"case: {deed.name}", subject=case_id, detail=detail)

    def _carry_out(self, connection: Connection, case_id: str, deed: Deed, actor: str) -> None:
        match deed.name:
            case ActionName.ATTACH:
                self._linking.attach(connection, case_id, deed.slide, actor=actor)
            case ActionName.ACCEPT:
                dispatch.accept(connection, self._work, case_id, actor, deed.reason)
            case ActionName.RERUN:
                dispatch.queue_case(connection, self._work, case_id, deed.reason, actor=actor)
            case ActionName.REQUEUE:
                dispatch.requeue(connection, self._work, case_id, actor)
            case ActionName.WITHDRAW:
                withdraw(connection, self._work, case_id, actor, deed.reason)
            case ActionName.CANCEL:
                dispatch.cancel(connection, case_id, actor, deed.reason)
