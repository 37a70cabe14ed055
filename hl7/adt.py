"""ADT^A08, A31 and A40 → PatientUpdate: whose data changed, and under which identifier that patient was known.

HL7 v2.5.1 3.3.8, 3.3.31 and 3.3.40: an empty field means no change; A40 repeats PID with the MRG behind it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from hl7.errors import ParseError
from hl7.messages import Header, Segment, check_processing, read_header, read_message, refuse_second
from hl7.pid import read_identifier, read_patient
from pipeline.domain import Patient

_CHANGED = frozenset({"A08", "A31"})
_MERGED = "A40"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientUpdate:
    """What is now known of a patient; fields of `patient` the message leaves empty stay as they were.

    `patient_id` and `issuer` are those the patient was known by until now.
    """

    patient: Patient
    patient_id: str
    issuer: str


def parse_patient_message(
    message: bytes,
    authorities: Sequence[str] = (),
    *,
    processing_ids: Collection[str] = (),
    default_character_set: str = "",
) -> tuple[PatientUpdate, ...]:
    """Read an ADT message of HL7 2.3 to 2.9.

    Parameters
    ----------
    authorities : sequence of str
        Assigning authorities whose identifier is wanted, best first, as for orders.

    Raises
    ------
    ParseError
        With the table 0357 code and the place; `reject` for an event the node does not take.
    """
    _check_kind(read_header(message), processing_ids)
    read = read_message(message, default_character_set=default_character_set)
    refuse_second(read)
    pids = [segment for segment in read.segments if segment.name == "PID"]
    if not pids:
        raise ParseError("PID is required: it names the patient", code=101, location="PID^1")
    if read.header.trigger in _CHANGED:
        patient = read_patient(pids[0], authorities)
        return (PatientUpdate(patient=patient, patient_id=patient.patient_id, issuer=patient.issuer),)
    return tuple(_merges(read.segments, authorities))


def _check_kind(header: Header, processing_ids: Collection[str]) -> None:
    if header.trigger not in {*_CHANGED, _MERGED}:
        raise ParseError(
            "MSH-9.2 names an event this node does not take: send A08, A31 or A40",
            code=201,
            location="MSH^1^9^1^2",
            reject=True,
        )
    check_processing(header, processing_ids)


def _merges(segments: Sequence[Segment], authorities: Sequence[str]) -> Iterator[PatientUpdate]:
    patient: Patient | None = None
    merged = 0
    for segment in segments:
        if segment.name == "PID":
            patient = read_patient(segment, authorities)
        elif segment.name == "MRG" and patient is not None:
            merged += 1
            patient_id, issuer = read_identifier(segment, 1, authorities)
            if not patient_id:
                raise ParseError("MRG-1 (prior patient identifier) is required", code=101, location=f"MRG^{merged}^1")
            yield PatientUpdate(patient=patient, patient_id=patient_id, issuer=issuer)
    if not merged:
        raise ParseError("MRG is required: it names the identifier that is no more", code=101, location="MRG^1")
