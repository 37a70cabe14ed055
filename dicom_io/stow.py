"""What a Store transaction takes, and its answer (PS3.18 section 10.5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_io.contexts import STORED_SOP_CLASSES, STORED_TRANSFER_SYNTAXES
from dicom_io.errors import InstanceRejected
from dicom_io.header import InstanceHeader
from dicom_io.scan import read_start

PROCESSING_FAILURE = 0x0110
OTHER_STUDY = 0xA900  # the object does not belong to the study the address names
_OTHER_SOP_CLASS = 0x0122
_OTHER_TRANSFER_SYNTAX = 0xC122


def require_storable(path: Path) -> None:
    """Check that an association would have taken the file at `path`; nothing behind its first bytes is read.

    Raises
    ------
    InstanceRejected
        0x0122 for another SOP class, 0xC122 for another transfer syntax, such as a deflated one, which a few bytes
        may inflate to anything.
    """
    start = read_start(path)
    if start.sop_class_uid not in STORED_SOP_CLASSES:
        raise InstanceRejected(_OTHER_SOP_CLASS, f"SOP class {start.sop_class_uid or 'absent'} is not stored here")
    if start.transfer_syntax_uid not in STORED_TRANSFER_SYNTAXES:
        raise InstanceRejected(_OTHER_TRANSFER_SYNTAX, f"transfer syntax {start.transfer_syntax_uid} is not taken")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An object that was not kept; its UIDs are empty when it could not be read."""

    reason: int
    explanation: str
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


def store_response(kept: Sequence[InstanceHeader], refused: Sequence[Refused], root: str) -> dict[str, Any]:
    """Which objects are kept, and which are not and why (PS3.18 table 10.5.3-2), as DICOM JSON."""
    studies = sorted({header.study_instance_uid for header in kept})
    response: dict[str, Any] = {}
    if len(studies) == 1:
        response["00081190"] = {"vr": "UR", "Value": [f"{root}/studies/{studies[0]}"]}
    if refused:
        response["00081198"] = {"vr": "SQ", "Value": [_failed(object_) for object_ in refused]}
    if kept:
        response["00081199"] = {"vr": "SQ", "Value": [_stored(header, root) for header in kept]}
    return response


def _stored(header: InstanceHeader, root: str) -> dict[str, Any]:
    series = f"{root}/studies/{header.study_instance_uid}/series/{header.series_instance_uid}"
    return {
        "00081150": {"vr": "UI", "Value": [header.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [header.sop_instance_uid]},
        "00081190": {"vr": "UR", "Value": [f"{series}/instances/{header.sop_instance_uid}"]},
    }


def _failed(object_: Refused) -> dict[str, Any]:
    item: dict[str, Any] = {
        "00081150": {"vr": "UI", "Value": [object_.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [object_.sop_instance_uid]},
        "00081197": {"vr": "US", "Value": [object_.reason]},
        "00000902": {"vr": "LO", "Value": [object_.explanation[:64]]},
    }
    return {tag: value for tag, value in item.items() if value["Value"] != [""]}
