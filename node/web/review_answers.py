"""What the pages are told of a review: values as JSON, without what blind review hides."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from node.results.alerts import Alert
from node.review import marking
from node.review.agreement import Agreement
from node.review.marking import NO_CLASS, Change
from node.review.review_book import Signature
from node.review.reviewing import Review
from pipeline.domain import CELL_CLASSES, BundleInfo, Component, DifferentialCount, ResultStatus
from pipeline.geometry import area


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeAnswer:
    """One change of a cell; `version` is then the cell's, `actor` an account and `full_name` who has it."""

    cell: int
    version: int
    class_name: str | None
    actor: str
    full_name: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CountAnswer:
    """A differential count."""

    total: int
    components: tuple[Component, ...]
    me_ratio: float | None
    me_definition: str
    excluded: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureAnswer:
    """Who signed last, and which revision that made."""

    by: str
    full_name: str
    at: datetime
    run: int
    version: int
    revision: int
    status: ResultStatus
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleAnswer:
    """Which locked model counted, and the classes it cannot return."""

    name: str
    version: str
    digest: str
    unrecognised: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewAnswer:
    """The review of the current run: how far it is, the model's and the experts' count side by side, the signature.

    The counts leave out the `hidden` cells, whose class of the model nobody is shown yet; alerts are of all cells.
    """

    run: int
    version: int
    revision: int
    status: ResultStatus | None
    cells: int
    needed: int
    open: int
    reviewed: int
    model: CountAnswer
    expert: CountAnswer
    alerts: tuple[Alert, ...]
    signed: SignatureAnswer | None
    changed_since_signed: bool
    may_sign: bool
    blind: bool
    hidden: int
    bundle: BundleAnswer | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Changes after a version, and the version they lead to."""

    version: int
    changes: tuple[ChangeAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesMade(Changes):
    """Changes as they were made, and the review after them."""

    review: ReviewAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class CellAnswer:
    """One cell. `class_name` is the model's; while it is hidden, so are probabilities, need and saliency."""

    id: int
    class_name: str | None
    expert: str | None
    probability: float | None
    probabilities: dict[str, float]
    box: tuple[int, int, int, int]
    area_um2: float
    diameter_um: float
    field_um: float
    saliency: list[list[int]] | None
    version: int
    need: int
    look_alikes: tuple[str, ...]
    history: tuple[ChangeAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementAnswer:
    """All months first, then each; of choices made while the model's class was hidden, and of every cell's newest."""

    blind: tuple[Agreement, ...]
    all: tuple[Agreement, ...]


def review_answer(opened: Review) -> ReviewAnswer:
    """The review as the pages get it."""
    return ReviewAnswer(
        run=opened.run,
        version=opened.marks.version,
        revision=opened.revision,
        status=opened.status,
        cells=len(opened.table.ids),
        needed=opened.progress.needed,
        open=opened.progress.open,
        reviewed=opened.progress.reviewed,
        model=_count(opened.shown[0]),
        expert=_count(opened.shown[1]),
        alerts=opened.alerts,
        signed=None if opened.signed is None else _signature(opened.signed),
        changed_since_signed=opened.changed_since_signed,
        may_sign=opened.may_sign,
        blind=bool(opened.table.sampled.any()),
        hidden=opened.hidden,
        bundle=None if opened.record is None else _bundle(opened.record.bundle),
        warnings=(*(opened.record.warnings if opened.record else ()), *opened.analysis.warnings),
    )


def _bundle(bundle: BundleInfo) -> BundleAnswer:
    return BundleAnswer(
        name=bundle.name, version=bundle.version, digest=bundle.digest, unrecognised=bundle.unrecognised
    )


def _count(count: DifferentialCount) -> CountAnswer:
    return CountAnswer(
        total=count.total,
        components=count.components,
        me_ratio=count.me_ratio,
        me_definition=count.me_definition,
        excluded=dict(count.excluded),
    )


def _signature(signature: Signature) -> SignatureAnswer:
    return SignatureAnswer(
        by=signature.name,
        full_name=signature.full_name,
        at=signature.at,
        run=signature.run,
        version=signature.version,
        revision=signature.revision,
        status=signature.status,
        reason=signature.reason,
    )


def change_answers(changes: Iterable[Change], names: Mapping[str, str]) -> tuple[ChangeAnswer, ...]:
    """Changes as the pages get them; `names` are full names by account."""
    return tuple(
        ChangeAnswer(
            cell=change.cell,
            version=change.version,
            class_name=change.class_name,
            actor=change.actor,
            full_name=names.get(change.actor, change.actor),
            at=change.at,
        )
        for change in changes
    )


def cell_answer(opened: Review, row: int, history: tuple[ChangeAnswer, ...]) -> CellAnswer:
    """The cell in a row of the review's table, as the pages get it."""
    cell, chosen = opened.analysis.cells[row], int(opened.marks.expert[row])
    unseen = bool(marking.hidden(opened.table, opened.marks)[row])
    maps = opened.analysis.saliency
    mpp = opened.record.slide.mpp if opened.record else 0.0
    square_um = area(cell.polygon) * mpp**2
    return CellAnswer(
        id=cell.id,
        class_name=None if unseen else cell.class_name,
        expert=None if chosen == NO_CLASS else CELL_CLASSES[chosen],
        probability=None if unseen else cell.probability,
        probabilities={} if unseen else dict(zip(CELL_CLASSES, cell.probabilities, strict=True)),
        box=(cell.box.x0, cell.box.y0, cell.box.x1, cell.box.y1),
        area_um2=round(square_um, 1),
        diameter_um=round(2 * (square_um / math.pi) ** 0.5, 1),
        field_um=opened.record.field_um if opened.record else 0.0,
        saliency=None if unseen or maps is None else maps[row].tolist(),
        version=int(opened.marks.versions[row]),
        need=int(marking.needs(opened.table, opened.marks)[row]),
        look_alikes=() if unseen else marking.look_alikes(cell.class_name),
        history=history,
    )
