"""PID ↔ Patient (HL7 v2.5.1 3.4.2).

A domain name is family, given, middle, prefix, suffix, as DICOM has it; XPN has suffix before prefix.
"""

import re
from collections.abc import Sequence
from datetime import date

from hl7.errors import ParseError
from hl7.messages import LONGEST_VALUE, Segment
from hl7.text import escape, join_components, read_time
from pipeline.domain import Patient

_OID = re.compile(r"[0-2](\.(0|[1-9]\d*))+")
_UNSPECIFIED_NAME = "^^^^^^U"  # table 0200


def read_patient(pid: Segment, authorities: Sequence[str]) -> Patient:
    """The patient of a PID.

    Parameters
    ----------
    authorities : sequence of str
        Assigning authorities (PID-3.4) whose identifier is wanted, best first; without a match the identifier of
        type MR is taken, then the first.

    Raises
    ------
    ParseError
        PID-3 is missing or PID-7 is no date.
    """
    patient_id, issuer = read_identifier(pid, 3, authorities)
    if not patient_id:
        raise ParseError("PID-3 (patient identifier) is required", code=101, location="PID^1^3")
    if len(patient_id) > LONGEST_VALUE:
        raise ParseError(f"PID-3 has more than {LONGEST_VALUE} characters", code=102, location="PID^1^3")
    # a domain name has no place for a caret inside a part
    family, given, middle, suffix, prefix = (pid.value(5, component).replace("^", " ") for component in range(1, 6))
    return Patient(
        patient_id=patient_id,
        issuer=issuer,
        name="^".join((family, given, middle, prefix, suffix)).rstrip("^"),
        birth_date=_birth_date(pid.value(7)),
        sex=pid.value(8),
    )


def write_patient(patient: Patient) -> dict[int, str]:
    """The fields of PID, escaped."""
    family, given, middle, prefix, suffix = [*patient.name.split("^"), "", "", "", "", ""][:5]
    issuer = f"&{patient.issuer}&ISO" if _OID.fullmatch(patient.issuer) else escape(patient.issuer)
    return {
        1: "1",
        3: f"{escape(patient.patient_id)}^^^{issuer}^MR",
        5: join_components(family, given, middle, suffix, prefix) or _UNSPECIFIED_NAME,
        7: f"{patient.birth_date:%Y%m%d}" if patient.birth_date else "",
        8: escape(patient.sex),
    }


def read_identifier(segment: Segment, field: int, authorities: Sequence[str]) -> tuple[str, str]:
    """The identifier and its issuer in a field of repeating CX; both empty when it holds none."""
    repetition = _repetition(segment, field, authorities)
    issuer = segment.value(field, 4, 1, repetition) or segment.value(field, 4, 2, repetition)
    return segment.value(field, 1, 1, repetition), issuer


def _repetition(segment: Segment, field: int, authorities: Sequence[str]) -> int:
    repetitions = [number for number in range(1, segment.repetitions(field) + 1) if segment.value(field, 1, 1, number)]
    for authority in authorities:
        for number in repetitions:
            if authority in {segment.value(field, 4, 1, number), segment.value(field, 4, 2, number)}:
                return number
    medical_record = [number for number in repetitions if segment.value(field, 5, 1, number) == "MR"]
    return next(iter(medical_record or repetitions), 1)


def _birth_date(text: str) -> date | None:
    """None when absent or less precise than a day."""
    if not text:
        return None
    try:
        at = read_time(text)
    except ValueError as error:
        raise ParseError("PID-7 (birth date) is no date: send YYYYMMDD", code=102, location="PID^1^7") from error
    return at.date() if len(re.split(r"[+-]", text)[0]) >= 8 else None
