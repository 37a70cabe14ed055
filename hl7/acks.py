"""Acknowledgements, both ways (HL7 v2.5.1 2.9, 2.14.8 MSA, 2.14.5 ERR; 4.4 ORL and ORR).

Original mode has one answer, of the application. Enhanced mode has the accept acknowledgement that MSH-15 asks for, as
soon as the message is stored, and then the application's that MSH-16 asks for, as a message of its own. What is not
granted is always answered, whatever MSH-15 and MSH-16 say: a lost order is worse than a frame too many.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hl7.errors import Hl7Error, NotAcknowledged, ParseError
from hl7.groups import OrderGroup
from hl7.messages import Header, Segment, read_header, read_message
from hl7.orders import OrderMessage, OrderRequest
from hl7.text import codec_name, escape, write_segment, write_time
from pipeline.domain import EntityId

_OWN_CODES = re.compile(rb"\rMSA.([AC][AER])")  # MSA-1 of answers that this module wrote
_REFUSALS = frozenset({"AE", "AR", "CE", "CR"})
_FRAME_BYTES = {0x0B: None, 0x1C: None}  # MLLP's own: what is repeated of a request must not end the frame
LONGEST_CONTROL_ID = 20  # MSH-10, ST of 20 up to 2.5.1
_ANSWERS = {  # request → message type, trigger and structure of its application answer
    ("OML", "O21"): ("ORL", "O22", "ORL_O22"),
    ("OML", "O33"): ("ORL", "O34", "ORL_O34"),
    ("OML", "O35"): ("ORL", "O36", "ORL_O36"),
    ("ORM", "O01"): ("ORR", "O02", "ORR_O02"),
}
_CONTROLS = {  # table 0119: request → (granted, refused)
    "NW": ("OK", "UA"),
    "CA": ("CR", "UC"),
    "OC": ("CR", "UC"),
    "DC": ("DR", "UD"),
    "OD": ("DR", "UD"),
    "XO": ("XR", "UX"),
    "RP": ("RQ", "UM"),
    "RO": ("OK", "UM"),
    "HD": ("HR", "UH"),
    "RL": ("OR", "UR"),
    "RF": ("AF", "DF"),
}
_CONDITIONS = {  # table 0357
    100: "Segment sequence error",
    101: "Required field missing",
    102: "Data type error",
    103: "Table value not found",
    200: "Unsupported message type",
    201: "Unsupported event code",
    202: "Unsupported processing id",
    203: "Unsupported version id",
    204: "Unknown key identifier",
    205: "Duplicate key identifier",
    206: "Application record locked",
    207: "Application internal error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one request.

    `order_status` is ORC-5 (table 0038: SC scheduled, IP in progress, A some results, CM complete, CA cancelled,
    HD held, ER error); `reason` says why it was not granted, without patient data; `code` is its table 0357 value.
    """

    granted: bool
    order_status: str = ""
    filler_order_number: EntityId | None = None
    reason: str = ""
    code: int = 204


def accept(
    message: OrderMessage | bytes,
    outcomes: Sequence[Outcome] = (),
    *,
    at: datetime,
    control_id: str,
    plain: bool = False,
    both: bool = True,
) -> tuple[bytes, ...]:
    r"""The answers to a message that was stored, in the order of sending.

    Parameters
    ----------
    message : OrderMessage or bytes
        Bytes for a message that is no order: its application answer is an ACK.
    outcomes : sequence of Outcome
        One per request of an order message, in order.
    at : datetime
        MSH-7.
    control_id : str
        MSH-10 of the first answer, from which that of a second is derived; longer than 20 characters it is replaced
        by a digest of itself.
    plain : bool
        Answer orders with ACK, for senders that do not read ORL or ORR.
    both : bool
        Whether the application's answer follows where MSH-15 already had its accept acknowledgement.

    Returns
    -------
    tuple of bytes
        ``\r`` ends every segment; empty when everything was granted and the sender asked for no answer to that.
    """
    header = message.header if isinstance(message, OrderMessage) else read_header(message)
    if not header.enhanced:
        return (_application_answer(message, outcomes, at=at, control_id=control_id, plain=plain),)
    granted = all(outcome.granted for outcome in outcomes)
    accepted = _due(header.accept_ack, ok=True)  # it is stored, which is all that this level is about
    answered = _due(header.application_ack, ok=granted) and (both or not accepted)
    if not (granted or answered):  # nobody would hear of the refusal
        if _due(header.accept_ack, ok=False):
            errors = _order_errors(message, outcomes)
            return (_write(header, _ack_type(header), [_msa(header, "CE"), *errors], at=at, control_id=control_id),)
        accepted, answered = False, True
    answers = []
    if accepted:
        answers.append(_write(header, _ack_type(header), [_msa(header, "CA")], at=at, control_id=control_id))
        control_id = short_control_id(f"{control_id}-2")
    if answered:
        answers.append(_application_answer(message, outcomes, at=at, control_id=control_id, plain=plain))
    return tuple(answers)


def _application_answer(
    message: OrderMessage | bytes,
    outcomes: Sequence[Outcome] = (),
    *,
    at: datetime,
    control_id: str,
    plain: bool = False,
) -> bytes:
    """AA or AE with what became of each order: ORL^O22, ORL^O34, ORL^O36, ORR^O02, or ACK.

    AE as soon as one request was refused, with one ERR for each: a sender that reads only MSA-1 must notice. In
    enhanced mode it asks for no acknowledgement in turn.
    """
    if not isinstance(message, OrderMessage):
        header = read_header(message)
        asks = "NE" if header.enhanced else ""
        return _write(header, _ack_type(header), [_msa(header, "AA")], at=at, control_id=control_id, asks=asks)
    if len(outcomes) != len(message.requests):
        raise ValueError(f"{len(message.requests)} requests need as many outcomes, not {len(outcomes)}")
    header = message.header
    answer = None if plain else _ANSWERS.get((header.message_type, header.trigger))
    reasons = [outcome.reason for outcome in outcomes if not outcome.granted]
    segments = [_msa(header, "AE" if reasons else "AA", next(iter(reasons), "")), *_order_errors(message, outcomes)]
    if answer:
        segments += _order_echo(message, outcomes)
    asks = "NE" if header.enhanced else ""
    return _write(header, answer or _ack_type(header), segments, at=at, control_id=control_id, asks=asks)


def refuse(message: bytes, error: Exception, *, at: datetime, control_id: str) -> bytes:
    """The answer to a message that was not taken, whatever its bytes are.

    A ParseError gives AE, or AR when it says `reject`; any other exception gives AR with 207, so that the sender
    tries again. In enhanced mode with MSH-15 AL or ER it is CE or CR. The text of an exception that is not of this
    package is not sent.
    """
    header = read_header(message)
    parse_error = error if isinstance(error, ParseError) else None
    code = parse_error.code if parse_error else 207
    reason = str(error) if isinstance(error, Hl7Error) else "internal error: send the message again later"
    letter = "E" if parse_error and not parse_error.reject else "R"
    level = "C" if header.enhanced and _due(header.accept_ack, ok=False) else "A"
    segments = [
        _msa(header, level + letter, reason),
        *_errors(header, [(code, parse_error.location if parse_error else "", reason)]),
    ]
    return _write(header, _ack_type(header), segments, at=at, control_id=control_id)


def read_ack(message: bytes, control_id: str) -> None:
    """Check the answer to a message of ours.

    Raises
    ------
    NotAcknowledged
        AR and CR may be tried again, AE and CE need a person (`retryable`). An answer that is no acknowledgement,
        or of another message, may be tried again. Texts of the receiver are not repeated: they may name a patient.
    """
    try:
        segments = read_message(message, default_character_set="8859/1").segments
    except ParseError as error:
        raise NotAcknowledged(f"the answer is no HL7 message: {error}", retryable=True) from error
    msa = next((segment for segment in segments if segment.name == "MSA"), None)
    if msa is None:
        raise NotAcknowledged("the answer has no MSA segment", retryable=True)
    code = msa.value(1)
    if msa.value(2) not in {"", control_id}:  # empty: of the only message on the connection
        raise NotAcknowledged("the answer acknowledges another message (MSA-2)", code=code, retryable=True)
    if code in {"AA", "CA"}:
        return
    where = "; ".join(_error_place(segment) for segment in segments if segment.name == "ERR")
    raise NotAcknowledged(
        f"the receiver answered {code or 'no code'}{f' ({where})' if where else ''}",
        code=code,
        retryable=code not in {"AE", "CE"},
        may_have_it=code not in _REFUSALS,
    )


def is_refusal(answers: bytes) -> bool:
    """Whether any of the answers, as this module wrote them, says other than AA or CA."""
    return any(code not in {b"AA", b"CA"} for code in _OWN_CODES.findall(answers))


def short_control_id(text: str) -> str:
    """The text itself when MSH-10 can hold it, else 20 characters of its digest."""
    if 0 < len(text) <= LONGEST_CONTROL_ID and text.isascii() and text.isprintable():
        return text
    return hashlib.sha256(text.encode()).hexdigest()[:LONGEST_CONTROL_ID].upper()


def _due(condition: str, *, ok: bool) -> bool:
    """Table 0155: AL always, NE never, ER only on error, SU only on success."""
    return condition in {"AL", "SU" if ok else "ER"}


def _is_old(header: Header) -> bool:
    """Whether ERR has its form of before 2.5."""
    return header.version.startswith(("2.1", "2.2", "2.3", "2.4"))


def _ack_type(header: Header) -> tuple[str, ...]:
    if not header.trigger:
        return ("ACK",)
    return ("ACK", header.trigger, "ACK")


def _write(
    header: Header, kind: Sequence[str], segments: Sequence[str], *, at: datetime, control_id: str, asks: str = ""
) -> bytes:
    """The answer in the sender's character set; in UTF-8, declared, when the sender named none and ASCII is short.

    `asks` is what MSH-15 and MSH-16 ask for in turn.
    """
    body = "".join(f"{segment}\r" for segment in segments)
    character_set = header.character_set
    if codec_name(character_set) is None or not (character_set or body.isascii()):
        character_set = "UNICODE UTF-8"
    head = _msh(header, kind, at, control_id, character_set, asks)
    text = f"{head}\r{body}".translate(_FRAME_BYTES)
    return text.encode(codec_name(character_set) or "utf-8", errors="replace")


def _msh(header: Header, kind: Sequence[str], at: datetime, control_id: str, character_set: str, asks: str) -> str:
    marks = header.separators
    parts = kind[:2] if header.version == "2.3" else kind
    return write_segment(
        "MSH",
        {
            3: header.receiving_application,
            4: header.receiving_facility,
            5: header.sending_application,
            6: header.sending_facility,
            7: write_time(at),
            9: marks.component.join(parts),
            10: short_control_id(control_id),
            11: header.processing_id or "P",
            12: header.version or "2.5.1",
            15: asks,
            16: asks,
            18: character_set,
        },
        marks,
    )


def _msa(header: Header, code: str, reason: str = "") -> str:
    """MSA-3 carries the text up to 2.4; later versions leave it to ERR-8."""
    text = escape(reason, header.separators)[:80] if _is_old(header) else ""
    return write_segment("MSA", {1: code, 2: header.control_id, 3: text}, header.separators)


def _errors(header: Header, errors: Sequence[tuple[int, str, str]]) -> Iterator[str]:
    marks = header.separators
    if _is_old(header):
        if errors:
            yield write_segment("ERR", {1: marks.repetition.join(_old_location(header, *e) for e in errors)}, marks)
        return
    for code, location, reason in errors:
        text = escape(reason, marks)
        yield write_segment(
            "ERR",
            {
                2: location.replace("^", marks.component),
                3: marks.component.join((str(code), _CONDITIONS.get(code, ""), "HL70357")),
                4: "E",
                7: text,
                8: text,
            },
            marks,
        )


def _order_errors(message: OrderMessage | bytes, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """ERR for each request that was not granted."""
    if isinstance(message, OrderMessage):
        errors = [
            (outcome.code, f"ORC^{request.source.orc_sequence}", outcome.reason)
            for request, outcome in zip(message.requests, outcomes, strict=True)
            if not outcome.granted
        ]
        yield from _errors(message.header, errors)


def _old_location(header: Header, code: int, location: str, _reason: str) -> str:
    """ELD: segment id, sequence, field position, and the condition as subcomponents."""
    marks = header.separators
    place = [*location.split("^")[:3], "", "", ""][:3]
    return marks.component.join((*place, marks.subcomponent.join((str(code), _CONDITIONS.get(code, ""), "HL70357"))))


def _order_echo(message: OrderMessage, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """PID and the orders of the request, specimen first where the request was."""
    marks = message.header.separators
    yield _echo(message.patient, (1, 3, 5))
    specimen_first = message.header.trigger in {"O33", "O35"}
    shown: list[Segment] = []
    for number, (request, outcome) in enumerate(zip(message.requests, outcomes, strict=True), 1):
        group = request.source
        if specimen_first:
            yield from _specimen_echo(group, shown)
        orc = _orc(request, outcome, message.header)
        yield write_segment("ORC", orc, marks)
        if group.obr is not None:
            yield _echo(group.obr, (2, 4), {1: str(number), 3: orc[3]})
        if message.header.trigger == "O21":
            yield from _specimen_echo(group, [])


def _specimen_echo(group: OrderGroup, shown: list[Segment]) -> Iterator[str]:
    for specimen in group.specimens:
        if specimen.spm is None:
            continue  # SAC stands below SPM only
        for segment, numbers in ((specimen.spm, (1, 2, 3, 4)), *((sac, (2, 3, 4)) for sac in specimen.containers)):
            if not any(segment is other for other in shown):
                shown.append(segment)
                yield _echo(segment, numbers)


def _orc(request: OrderRequest, outcome: Outcome, header: Header) -> dict[int, str]:
    orc, obr = request.source.orc, request.source.obr
    filler = outcome.filler_order_number
    marks = header.separators
    stated = [segment.raw(3) for segment in (orc, obr) if segment is not None]
    own = ""
    if filler is not None:
        parts = (filler.value, filler.namespace, filler.universal_id, filler.universal_id_type)
        own = marks.component.join(escape(part, marks) for part in parts).rstrip(marks.component)
    placer = [segment.raw(2) for segment in (orc, obr) if segment is not None]
    granted, refused = _CONTROLS.get(request.control, ("OK", "UA"))
    return {
        1: granted if outcome.granted else refused,
        2: next((value for value in placer if value), ""),
        3: own or next((value for value in stated if value), ""),
        4: orc.raw(4) if orc is not None else "",
        5: outcome.order_status,
    }


def _echo(segment: Segment, numbers: Sequence[int], own: Mapping[int, str] | None = None) -> str:
    fields = {number: segment.raw(number) for number in numbers}
    return write_segment(segment.name, {**fields, **(own or {})}, segment.separators)


def _error_place(segment: Segment) -> str:
    code = segment.value(3) or segment.value(1, 4)
    place = segment.raw(2) or "^".join(segment.value(1, component) for component in (1, 2, 3))
    return " ".join(part for part in (code, place.strip("^")) if part)
