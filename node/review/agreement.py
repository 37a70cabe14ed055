"""How often experts and model agree, by class and month: Cohen's kappa (1960) of what experts chose."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.domain import CELL_CLASSES

Pairs = Mapping[tuple[str, str], int]  # (the model's class, the expert's) → cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """`cells` cells of one month that the model and the experts gave these classes."""

    month: str  # such as 2026-10
    model: str
    expert: str
    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAgreement:
    """`n` cells that model or expert called by this name, `agree` that both did; kappa of "this class or another"."""

    name: str
    n: int
    agree: int
    kappa: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Of `n` cells `agree` got the same class twice; `kappa` is None where chance alone agrees on all or none are."""

    month: str  # empty: of all months
    n: int
    agree: int
    kappa: float | None
    classes: tuple[ClassAgreement, ...]  # those that occur, in the order of CELL_CLASSES


def agreement(choices: Iterable[Choices]) -> tuple[Agreement, ...]:
    """All months together, then each month, oldest first."""
    by_month: dict[str, dict[tuple[str, str], int]] = defaultdict(lambda: defaultdict(int))
    for each in choices:
        for month in ("", each.month):
            by_month[month][each.model, each.expert] += each.cells
    return tuple(_agreement(month, by_month[month]) for month in sorted({"", *by_month}))


def kappa(pairs: Pairs, classes: Sequence[str] = CELL_CLASSES) -> float | None:
    """Agreement beyond chance, 1 at most; None when there are no cells, or chance alone would always agree."""
    n = sum(pairs.values())
    if not n:
        return None
    model = {name: sum(cells for (first, _), cells in pairs.items() if first == name) for name in classes}
    expert = {name: sum(cells for (_, second), cells in pairs.items() if second == name) for name in classes}
    observed = sum(cells for (first, second), cells in pairs.items() if first == second) / n
    expected = sum(model[name] * expert[name] for name in classes) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def _agreement(month: str, pairs: Pairs) -> Agreement:
    occurring = {name for pair in pairs for name in pair}
    return Agreement(
        month=month,
        n=sum(pairs.values()),
        agree=sum(cells for (model, expert), cells in pairs.items() if model == expert),
        kappa=kappa(pairs),
        classes=tuple(_of_class(name, pairs) for name in CELL_CLASSES if name in occurring),
    )


def _of_class(name: str, pairs: Pairs) -> ClassAgreement:
    yes_or_no: dict[tuple[str, str], int] = defaultdict(int)
    for (model, expert), cells in pairs.items():
        yes_or_no[name if model == name else "", name if expert == name else ""] += cells
    both = yes_or_no[name, name]
    return ClassAgreement(
        name=name,
        n=both + yes_or_no[name, ""] + yes_or_no["", name],
        agree=both,
        kappa=kappa(yes_or_no, (name, "")),
    )
