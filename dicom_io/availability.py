"""Instance Availability Notification SCP (PS3.4 Annex R): an archive says which series it holds."""

from collections.abc import Callable

from pydicom.dataset import Dataset
from pynetdicom.events import Event

from dicom_io.uids import is_uid

SUCCESS, INVALID_ATTRIBUTE = 0x0000, 0x0106  # PS3.7 Annex C
_HERE = frozenset({"ONLINE", "NEARLINE"})  # Instance Availability (0008,0056), PS3.3 C.4.23.1.1

Announced = Callable[[str, frozenset[str]], None]


def take_notification(event: Event, on_available: Announced) -> tuple[int, Dataset | None]:
    """N-CREATE: hand on the study and its series of which every instance is at hand.

    What `on_available` raises is not caught.
    """
    notice = event.attribute_list
    study = str(notice.get("StudyInstanceUID", ""))
    items = notice.get("ReferencedSeriesSequence") or []
    series = {str(item.get("SeriesInstanceUID", "")): _is_at_hand(item) for item in items}
    if not (items and is_uid(study) and all(map(is_uid, series))):
        return INVALID_ATTRIBUTE, None
    available = frozenset(uid for uid, at_hand in series.items() if at_hand)
    if available:
        on_available(study, available)
    return SUCCESS, notice


def _is_at_hand(series: Dataset) -> bool:
    states = {str(item.get("InstanceAvailability", "")) for item in series.get("ReferencedSOPSequence") or []}
    return bool(states) and states <= _HERE
