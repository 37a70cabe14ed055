"""Segments → order groups, so that a prior result is never taken for the order.

OML^O21, OML^O33 and OML^O35 (HL7 v2.5.1 4.4.6 to 4.4.12) may repeat PID, PV1, ORC, OBR and OBX inside PRIOR_RESULT.
Their grammar alone is ambiguous: an ORC behind an OBR opens a new order or a prior result. What decides, in turn:
a PID, PV1 or AL1 behind an OBR opens PRIOR_RESULT; ORC-1 `PR` says so (table 0119); OBR-25 holds a result status;
behind a prior result, an ORC that brings no results opens the next order.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hl7.errors import ParseError
from hl7.messages import Message, Segment

REQUEST_CONTROLS = frozenset(
    {"NW", "CA", "DC", "OC", "OD", "XO", "XX", "RP", "RO", "RU", "SC", "SS", "SN", "NA", "HD", "RL", "CH", "PA", "RF"}
)
ANSWER_CONTROLS = frozenset(
    {"AF", "CN", "CR", "DE", "DF", "DR", "FU", "HR", "LI", "OE", "OF", "OH", "OK", "OP", "OR", "PR", "PY", "RE", "RQ"}
    | {"RR", "SR", "UA", "UC", "UD", "UF", "UH", "UM", "UN", "UR", "UX", "XR"}
)
ORDER_CONTROLS = REQUEST_CONTROLS | ANSWER_CONTROLS
_REQUEST_RESULTED = frozenset({"F", "C", "P", "A", "R"})  # OBR-25, table 0123
_OBSERVATION_RESULTED = frozenset({"F", "C", "P", "R", "S"})  # OBX-11, table 0085
_NOTED = frozenset({"ORC", "TQ1", "TQ2", "OBR", "TCD", "CTD", "DG1", "SPM", "SAC"})


@dataclass(slots=True, kw_only=True)
class Specimen:
    """An SPM and the containers it is in; `spm` is None for a SAC that follows no SPM."""

    spm: Segment | None = None
    containers: list[Segment] = field(default_factory=list)
    notes: list[Segment] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class OrderGroup:
    """What one ORC governs.

    `opened_prior` tells that PID, PV1 or AL1 stood between this group and the last OBR; the sequences count the ORC
    and OBR of the message from 1, as ERR-2 does.
    """

    orc: Segment | None = None
    obr: Segment | None = None
    timing: list[Segment] = field(default_factory=list)
    notes: list[Segment] = field(default_factory=list)
    observations: list[Segment] = field(default_factory=list)
    specimens: list[Specimen] = field(default_factory=list)
    others: list[Segment] = field(default_factory=list)
    opened_prior: bool = False
    orc_sequence: int = 0
    obr_sequence: int = 0

    @property
    def control(self) -> str:
        return self.orc.value(1) if self.orc is not None else ""

    @property
    def resulted(self) -> bool:
        """Whether OBR-25 holds the status of a result (table 0123)."""
        return self.obr is not None and self.obr.value(25) in _REQUEST_RESULTED

    @property
    def holds_results(self) -> bool:
        return self.resulted or any(obx.value(11) in _OBSERVATION_RESULTED for obx in self.observations)

    def segments(self) -> Iterator[Segment]:
        """Every segment of the group but notes."""
        if self.orc is not None:
            yield self.orc
        if self.obr is not None:
            yield self.obr
        yield from (*self.timing, *self.observations, *self.others)
        for specimen in self.specimens:
            if specimen.spm is not None:
                yield specimen.spm
            yield from specimen.containers


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """An order message by group; `others` are segments before the first order (Z-segments among them)."""

    patient: Segment | None
    orders: tuple[OrderGroup, ...]
    prior_results: int
    others: tuple[Segment, ...]


def group_orders(message: Message) -> Groups:
    """Group an OML^O21, OML^O33, OML^O35 or ORM^O01.

    Raises
    ------
    ParseError
        An OBR that no ORC governs, prior results only, orders of several patients, or an order where only a prior
        result may stand.
    """
    _require_one_patient(message)
    walker = _Walker(message)
    for segment in message.segments[1:]:
        walker.take(segment)
    orders, prior_results = _without_prior_results(walker.groups, has_prior=message.header.message_type == "OML")
    return Groups(patient=walker.patient, orders=orders, prior_results=prior_results, others=tuple(walker.others))


class _Walker:
    """Hands each segment to the group it belongs to."""

    def __init__(self, message: Message) -> None:
        names = [segment.name for segment in message.segments]
        first_order = names.index("ORC") if "ORC" in names else len(names)
        self.specimen_first = "SPM" in names[:first_order] or "SAC" in names[:first_order]
        self.groups: list[OrderGroup] = []
        self.patient: Segment | None = None
        self.others: list[Segment] = []
        self._specimen: Specimen | None = None  # of the orders to come, in a specimen-centred message
        self._specimen_used = False
        self._prior_opens = False
        self._noted = ""
        self._seen: Counter[str] = Counter()

    def take(self, segment: Segment) -> None:
        name = segment.name
        self._seen[name] += 1
        if name == "ORC" or (name == "OBR" and (not self.groups or self._prior_opens or self._current.obr)):
            self._open(segment)
        elif name == "OBR":
            self._current.obr, self._current.obr_sequence = segment, self._seen[name]
        elif name in {"PID", "PV1", "AL1"}:
            self._take_patient(segment)
        elif name == "SPM":
            self._take_specimen(segment)
        elif name == "SAC":
            self._take_container(segment)
        elif name == "NTE":
            self._take_note(segment)
        elif not self.groups:
            self.others.append(segment)
        elif name in {"TQ1", "OBX"}:
            (self._current.timing if name == "TQ1" else self._current.observations).append(segment)
        else:
            self._current.others.append(segment)
        if name != "NTE" and not name.startswith("Z"):
            self._noted = name

    @property
    def _current(self) -> OrderGroup:
        return self.groups[-1]

    def _open(self, segment: Segment) -> None:
        group = OrderGroup(opened_prior=self._prior_opens)
        if segment.name == "ORC":
            group.orc, group.orc_sequence = segment, self._seen["ORC"]
        else:
            group.obr, group.obr_sequence = segment, self._seen["OBR"]
        if self.specimen_first and self._specimen is not None:
            group.specimens.append(self._specimen)
            self._specimen_used = True
        self._prior_opens = False
        self.groups.append(group)

    def _take_patient(self, segment: Segment) -> None:
        if self.groups and self._current.obr is not None:
            self._prior_opens = True
        elif segment.name == "PID" and self.patient is None:
            self.patient = segment

    def _take_specimen(self, segment: Segment) -> None:
        specimen = Specimen(spm=segment)
        if self.specimen_first or not self.groups:
            self._specimen, self._specimen_used = specimen, False
        else:
            self._current.specimens.append(specimen)

    def _take_container(self, segment: Segment) -> None:
        if self.specimen_first or not self.groups:
            before = self._specimen or Specimen()
            if self._specimen_used or self._specimen is None:  # OML^O35: each container has its own orders
                self._specimen, self._specimen_used = Specimen(spm=before.spm), False
            (self._specimen or before).containers.append(segment)
            return
        if not self._current.specimens:
            self._current.specimens.append(Specimen())
        self._current.specimens[-1].containers.append(segment)

    def _take_note(self, segment: Segment) -> None:
        if self._noted not in _NOTED:
            return
        if self._noted in {"SPM", "SAC"} and self.specimen_first and self._specimen is not None:
            self._specimen.notes.append(segment)
        elif self.groups:
            self._current.notes.append(segment)


def _require_one_patient(message: Message) -> None:
    """An ORM has one patient; in an OML a further PID opens prior results, which may have been another number's."""
    patients = {segment.raw(3) for segment in message.segments if segment.name == "PID"}
    if message.header.message_type == "ORM" and len(patients) > 1:
        raise ParseError("a second patient stands in the message: send one for each", code=100, location="PID^2")


def _without_prior_results(groups: list[OrderGroup], *, has_prior: bool) -> tuple[tuple[OrderGroup, ...], int]:
    orders: list[OrderGroup] = []
    in_prior = False
    for group in groups:
        in_prior = _is_prior_result(group, in_prior=in_prior, first=not orders, has_prior=has_prior)
        if in_prior:
            continue
        if group.orc is None and not orders:
            raise ParseError("OBR without the ORC that governs it: send ORC before OBR", code=101, location="ORC^1")
        orders.append(group if group.orc is not None else _under_the_same_orc(orders[-1], group))
    if not orders:
        raise ParseError("the message holds no order (ORC)", code=101, location="ORC^1")
    return tuple(orders), len(groups) - len(orders)


def _is_prior_result(group: OrderGroup, *, in_prior: bool, first: bool, has_prior: bool) -> bool:
    if group.control == "PR":
        return True
    if has_prior and group.opened_prior:
        if group.control in REQUEST_CONTROLS and not (group.observations or group.holds_results):
            raise ParseError(
                "an order stands behind a further PID, PV1 or AL1, where only prior results may (ORC-1 PR): "
                "send it in a message of its own",
                code=100,
                location=f"ORC^{group.orc_sequence}",
            )
        return True
    if not has_prior or (first and not in_prior):
        return False
    if in_prior:
        unasked = group.control in ANSWER_CONTROLS or (not group.control and bool(group.observations))
        return unasked or group.holds_results
    if group.orc is None:
        return group.holds_results
    return group.resulted or group.control == "RE"


def _under_the_same_orc(order: OrderGroup, group: OrderGroup) -> OrderGroup:
    """A further OBR of the same ORC: it shares what it does not state itself."""
    return replace(
        group,
        orc=order.orc,
        orc_sequence=order.orc_sequence,
        timing=group.timing or order.timing,
        specimens=group.specimens or order.specimens,
    )
