"""Who reads what over DICOMweb: audited as the opening of a case, and kept back while a review of it is blind."""

from fastapi import Request

from node.catalogue import Held
from node.people.accounts import Person
from node.review.reviewing import Reviewing
from node.web.identity import address_of, is_unattended
from node.web.opened import OpenedCases, session_of

_SLIDE = "SM"  # (0008,0060) of what no result is


class Reading:
    """Stands between the kept instances and whoever asks for them."""

    def __init__(self, opened: OpenedCases, reviewing: Reviewing) -> None:
        self._opened = opened
        self._reviewing = reviewing

    def shown(self, request: Request, held: tuple[Held, ...]) -> tuple[Held, ...]:
        """What of these instances may be shown to who asks; that it was read is audited.

        A person is not shown the model's classes of a case that hides some, on whatever way they ask. An archive or a
        viewer that nobody signed in from gets everything, as an archive does that the node sends to.
        """
        person: Person | None = request.state.reader
        shown = held if person is None else tuple(each for each in held if not self._withholds(each))
        if not is_unattended(request):
            actor = address_of(request) if person is None else person.name
            detail = session_of(request, person) if person is not None else ""
            self._opened.note_instances(shown, actor, detail or "DICOMweb")
        return shown

    def _withholds(self, held: Held) -> bool:
        return held.modality != _SLIDE and self._reviewing.withholds(held.sop_instance_uid)
