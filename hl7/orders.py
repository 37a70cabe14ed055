"""OML^O21, OML^O33, OML^O35 and ORM^O01 → OrderMessage.

Where a value is looked for, and in which order, is a site's choice: `FieldOrder`. The first field that holds
something wins (HL7 v2.5.1 chapters 3, 4, 7 and 13; IHE PaLM and Radiology habits).
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from hl7.dpow import ImageNotice, Kind, kind_of, read_notice
from hl7.errors import ParseError
from hl7.groups import ORDER_CONTROLS, OrderGroup, Specimen, group_orders
from hl7.messages import (
    LONGEST_VALUE,
    NULL,
    Header,
    Message,
    Segment,
    check_processing,
    read_header,
    read_message,
    refuse_batch,
    refuse_second,
)
from hl7.pid import read_patient
from hl7.text import read_time
from pipeline.domain import EntityId, Order, Patient, Priority

ORDER_TRIGGERS = {"OML": ("O21", "O33", "O35"), "ORM": ("O01",)}
LONGEST_ACCESSION = 16  # DICOM PS3.5 6.2: SH
_PRIORITIES = {  # table 0485 and the words systems send for it; timing critical and pre-operative cannot wait
    "S": Priority.STAT,
    "STAT": Priority.STAT,
    "A": Priority.ASAP,
    "ASAP": Priority.ASAP,
    "T": Priority.ASAP,
    "P": Priority.ASAP,
    "U": Priority.ASAP,
    "URGENT": Priority.ASAP,
    "R": Priority.ROUTINE,
    "ROUTINE": Priority.ROUTINE,
    "C": Priority.ROUTINE,
    "PRN": Priority.ROUTINE,
}
_PATH = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[([^\]]+)\])?-(\d{1,3})(?:\.(\d{1,2}))?(?:\.(\d{1,2}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOrder:
    """Where to look, first to last: `SEG-field[.component[.subcomponent]]`; `OBX[code]-5` is the OBX whose
    OBX-3.1 is `code`.

    `patient_authority` names the assigning authorities (PID-3.4) whose identifier is wanted, best first; without a
    match the identifier of type MR is taken, then the first.
    """

    accession_number: tuple[str, ...] = (
        "ORC-38", "SPM-30", "SAC-2", "IPC-1", "OBR-18", "OBR-20", "OBR-21", "OBR-19", "OBR-3", "ORC-3", "OBR-2",
    )  # fmt: skip
    placer_order_number: tuple[str, ...] = ("ORC-2", "OBR-2")
    filler_order_number: tuple[str, ...] = ("ORC-3", "OBR-3")
    container_ids: tuple[str, ...] = ("SAC-3", "SPM-2.2", "SPM-2.1", "SAC-4")
    specimen_ids: tuple[str, ...] = ("SPM-2.1", "SPM-2.2")  # all of them, not the first
    specimen_type: tuple[str, ...] = ("SPM-4.1", "SPM-4.2", "OBR-15.1.1", "OBR-15.1.2", "OBR-15.2")
    test_code: tuple[str, ...] = ("OBR-4.1", "OBR-4.4")
    test_name: tuple[str, ...] = ("OBR-4.2", "OBR-4.5")
    priority: tuple[str, ...] = ("TQ1-9", "OBR-27.6", "ORC-7.6", "OBR-5")
    collected_at: tuple[str, ...] = ("SPM-17.1", "OBR-7")
    patient_authority: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in FieldOrder.__slots__:
            if name == "patient_authority":
                continue
            for path in getattr(self, name):
                if _PATH.fullmatch(path) is None:
                    raise ValueError(f"{name}: {path!r} is no field such as SAC-3, SPM-2.2.1 or OBX[SLIDEID]-5")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """One ORC of a message: what is asked (`control`, table 0119) and of what.

    `stated` names the fields of `order` the message holds a value for, `deleted` those the sender emptied on purpose
    with `""`; a change (XO) leaves the others as they were. `image` is what a LAB-104 says. `source` is what an
    acknowledgement repeats.
    """

    control: str
    order: Order
    stated: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    image: ImageNotice | None = None
    source: OrderGroup = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderMessage:
    """An order message; `requests` holds no prior result, `prior_results` counts those left out.

    With a `kind` other than ORDER each request's `order` holds what the message says of a slide, and asks for nothing.
    """

    header: Header
    kind: Kind = Kind.ORDER
    requests: tuple[OrderRequest, ...]
    prior_results: int = 0
    patient: Segment = field(repr=False, compare=False)


def parse_order_message(
    message: bytes,
    fields: FieldOrder | None = None,
    *,
    processing_ids: Collection[str] = (),
    default_character_set: str = "",
) -> OrderMessage:
    """Read an order message of HL7 2.3 to 2.9 by group.

    Parameters
    ----------
    message : bytes
        Without its MLLP frame.
    fields : FieldOrder, optional
        Where each value is looked for.
    processing_ids : collection of str
        MSH-11 values that are accepted (table 0103); empty accepts all.
    default_character_set : str
        Table 0211 value for an empty MSH-18; empty means ASCII.

    Raises
    ------
    ParseError
        With the table 0357 code and the place; `reject` for a message of the wrong kind.
    """
    refuse_batch(message)
    _check_kind(read_header(message), processing_ids)
    read = read_message(message, default_character_set=default_character_set)
    refuse_second(read)
    return _order_message(read, fields or FieldOrder())


def _check_kind(header: Header, processing_ids: Collection[str]) -> None:
    """Refuse early what is not for this node, so that a long message of another kind is never parsed."""
    if not (header.message_type and header.control_id):
        return  # `read_message` says what is missing
    triggers = ORDER_TRIGGERS.get(header.message_type)
    if triggers is None:
        raise ParseError(
            "MSH-9 names a message type this node does not take: send OML^O21, OML^O33, OML^O35, ORM^O01, "
            "ADT^A08, ADT^A31 or ADT^A40",
            code=200,
            location="MSH^1^9",
            reject=True,
        )
    if header.trigger not in triggers:
        raise ParseError(
            f"MSH-9.2 names an event this node does not take: send {' or '.join(triggers)}",
            code=201,
            location="MSH^1^9^1^2",
            reject=True,
        )
    check_processing(header, processing_ids)


def _order_message(message: Message, fields: FieldOrder) -> OrderMessage:
    groups = group_orders(message)
    if groups.patient is None:
        raise ParseError("PID is required: an order names its patient", code=101, location="PID^1")
    patient = read_patient(groups.patient, fields.patient_authority)
    kind = kind_of(message.header)
    fields = fields if kind is Kind.ORDER else _without_numbers(fields)
    requests = [_request(group, groups.others, patient, fields, kind) for group in groups.orders]
    return OrderMessage(
        header=message.header,
        kind=kind,
        requests=tuple(_with_all_specimens(requests)),
        prior_results=groups.prior_results,
        patient=groups.patient,
    )


def _with_all_specimens(requests: Sequence[OrderRequest]) -> Iterator[OrderRequest]:
    """A message that is grouped by specimen repeats an order below each of its specimens: it is one order of all."""
    repeated: dict[tuple[object, ...], list[Order]] = {}
    for request in requests:
        repeated.setdefault(_identity(request), []).append(request.order)
    for request in requests:
        same = repeated[_identity(request)]
        order = replace(
            request.order,
            container_ids=tuple(dict.fromkeys(value for order in same for value in order.container_ids)),
            specimen_ids=tuple(dict.fromkeys(value for order in same for value in order.specimen_ids)),
            specimen_type=same[0].specimen_type,
            collected_at=same[0].collected_at,
            comments=tuple(dict.fromkeys(value for order in same for value in order.comments)),
        )
        yield replace(request, order=order)


def _identity(request: OrderRequest) -> tuple[object, ...]:
    order = request.order
    return request.control, order.placer_order_number, order.filler_order_number, order.test_code


def _without_numbers(fields: FieldOrder) -> FieldOrder:
    """Where an accession number stands, the order numbers left out that may stand in for one in an order."""
    numbers = {*fields.placer_order_number, *fields.filler_order_number}
    return replace(fields, accession_number=tuple(path for path in fields.accession_number if path not in numbers))


def _request(
    group: OrderGroup, others: Sequence[Segment], patient: Patient, fields: FieldOrder, kind: Kind
) -> OrderRequest:
    control = group.control.upper()
    if not control:
        raise ParseError("ORC-1 (order control) is required", code=101, location=f"ORC^{group.orc_sequence}^1")
    if control not in ORDER_CONTROLS:
        raise ParseError(
            "ORC-1 is not in table 0119: send NW, CA, DC, XO ...", code=103, location=f"ORC^{group.orc_sequence}^1"
        )
    reading = _Reading([*group.segments(), *others])
    order = _order(reading, group, patient, fields)
    if kind is Kind.ORDER:
        _require_order(group, order, control)
    elif not (order.container_ids or order.specimen_ids):
        raise ParseError("SPM-2 (the slide's identifier) or SAC-3 is required", code=101, location="SPM^1^2")
    return OrderRequest(
        control=control,
        order=order,
        stated=frozenset(reading.stated),
        deleted=frozenset(reading.deleted),
        warnings=tuple(_warnings(reading, group, order)),
        image=read_notice(group) if kind is Kind.IMAGE else None,
        source=group,
    )


def _require_order(group: OrderGroup, order: Order, control: str) -> None:
    """Raise ParseError for what every order must state."""
    if group.obr is None and control in {"NW", "RO", "XO"}:
        raise ParseError(
            "OBR is required: an order names the test it asks for", code=101, location=f"OBR^{group.orc_sequence}"
        )
    if not (order.placer_order_number or order.filler_order_number or order.accession_number):
        raise ParseError(
            "ORC-2 (placer order number) or ORC-3 is required: an order has a number",
            code=101,
            location=f"ORC^{group.orc_sequence}^2",
        )
    if control == "NW" and not order.test_code:
        raise ParseError("OBR-4 (test asked for) is required", code=101, location=f"OBR^{group.obr_sequence}^4")


def _order(reading: "_Reading", group: OrderGroup, patient: Patient, fields: FieldOrder) -> Order:
    specimen_ids = [value for path in fields.specimen_ids for value in reading.all(path)]
    order = Order(
        patient=patient,
        placer_order_number=reading.entity("placer_order_number", fields.placer_order_number),
        filler_order_number=reading.entity("filler_order_number", fields.filler_order_number),
        accession_number=reading.first("accession_number", fields.accession_number),
        container_ids=reading.note_all("container_ids", _container_ids(reading, group.specimens, fields.container_ids)),
        specimen_ids=reading.note_all("specimen_ids", specimen_ids),
        specimen_type=reading.first("specimen_type", fields.specimen_type),
        test_code=reading.first("test_code", fields.test_code),
        test_name=reading.first("test_name", fields.test_name),
        priority=_priority(reading, fields.priority),
        collected_at=_collected_at(reading, fields.collected_at),
        comments=reading.note_all("comments", _comments(group)),
    )
    numbers = [number.value for number in (order.placer_order_number, order.filler_order_number) if number]
    if order.accession_number in numbers:  # stands in for one: a change must not put it over the one known
        reading.stated.discard("accession_number")
    if set(order.container_ids) <= set(order.specimen_ids):
        reading.stated.discard("container_ids")
    return order


class _Reading:
    """Looks values up in the segments of one order, and notes what was deleted or not understood."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self.stated: set[str] = {"patient"}
        self.deleted: set[str] = set()
        self.warnings: list[str] = []

    def all(self, path: str) -> Iterator[str]:
        """Every value at a path, `""` included."""
        for segment, number, component, subcomponent in self._places(path):
            for repetition in range(1, segment.repetitions(number) + 1):
                if value := segment.text(number, component, subcomponent, repetition):
                    yield _not_too_long(segment, number, value)

    def first(self, attribute: str, paths: Sequence[str]) -> str:
        value = next((value for path in paths for value in self.all(path)), "")
        return self.note(attribute, value)

    def entity(self, attribute: str, paths: Sequence[str]) -> EntityId | None:
        """The first EI at a path, components 1 to 4."""
        for path in paths:
            for segment, number, *_ in self._places(path):
                if value := segment.text(number):
                    if not self.note(attribute, value):
                        return None
                    parts = (_not_too_long(segment, number, segment.value(number, part)) for part in range(1, 5))
                    return EntityId(**dict(zip(EntityId.__slots__, parts, strict=True)))
        return None

    def note(self, attribute: str, value: str) -> str:
        """Remember that the message states or deletes the attribute; the value, empty when deleted."""
        if value:
            (self.deleted if value == NULL else self.stated).add(attribute)
        return "" if value == NULL else value

    def note_all(self, attribute: str, values: Sequence[str]) -> tuple[str, ...]:
        """As `note`, for several values without repetition."""
        kept = tuple(dict.fromkeys(value for value in values if value != NULL))
        if values:
            (self.stated if kept else self.deleted).add(attribute)
        return kept

    def _places(self, path: str) -> Iterator[tuple[Segment, int, int, int]]:
        found = _PATH.fullmatch(path)
        if found is None:
            return
        name, code, number, component, subcomponent = found.groups()
        for segment in self._segments:
            if segment.name == name and (code is None or code in {segment.value(3), segment.value(3, 4)}):
                yield segment, int(number), int(component or 1), int(subcomponent or 1)


def _not_too_long(segment: Segment, number: int, value: str) -> str:
    if len(value) > LONGEST_VALUE:
        raise ParseError(
            f"{segment.name}-{number} has more than {LONGEST_VALUE} characters: send a shorter value",
            code=102,
            location=f"{segment.name}^1^{number}",
        )
    return value


def _container_ids(reading: _Reading, specimens: Sequence[Specimen], paths: Sequence[str]) -> list[str]:
    """Per specimen the first path that holds something, and all it holds; without a specimen, of the order."""
    own = [_Reading([*([specimen.spm] if specimen.spm else []), *specimen.containers]) for specimen in specimens]
    found: list[str] = []
    for specimen in own:
        found += next((values for path in paths if (values := list(specimen.all(path)))), [])
    if not found:
        found = next((values for path in paths if (values := list(reading.all(path)))), [])
    return found


def _priority(reading: _Reading, paths: Sequence[str]) -> Priority:
    """The most urgent one of the first field that holds any."""
    stated = next((values for path in paths if (values := list(reading.all(path)))), [])
    known = [_PRIORITIES[value.upper()] for value in stated if value.upper() in _PRIORITIES]
    reading.note_all("priority", stated)
    if stated and not known and stated != [NULL]:
        reading.warnings.append("the priority stated is not in table 0485: taken as routine")
    return next((level for level in (Priority.STAT, Priority.ASAP) if level in known), Priority.ROUTINE)


def _collected_at(reading: _Reading, paths: Sequence[str]) -> datetime | None:
    text = reading.first("collected_at", paths)
    if not text:
        return None
    try:
        return read_time(text)
    except ValueError:
        reading.warnings.append("the collection time is no HL7 time: left out")
        return None


def _comments(group: OrderGroup) -> tuple[str, ...]:
    notes = [*group.notes, *(note for specimen in group.specimens for note in specimen.notes)]
    return tuple(
        "\n".join(lines)
        for note in notes
        if (lines := [note.value(3, 1, 1, number) for number in range(1, note.repetitions(3) + 1)]) and any(lines)
    )


def _warnings(reading: _Reading, group: OrderGroup, order: Order) -> Iterator[str]:
    yield from reading.warnings
    if group.orc is not None and group.obr is not None:
        for number, name in ((2, "placer"), (3, "filler")):
            orc, obr = group.orc.value(number), group.obr.value(number)
            if orc and obr and orc != obr:
                yield f"ORC-{number} and OBR-{number} ({name} order number) differ: ORC-{number} is used"
    if len(order.accession_number) > LONGEST_ACCESSION:
        yield "the accession number is longer than DICOM's 16 characters: no image can carry it"
