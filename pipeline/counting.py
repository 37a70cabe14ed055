"""Classes of cells → the 16-component differential count (Zhou et al. 2025; ICSH 2008 for the denominator)."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from pipeline.domain import CELL_CLASSES, COUNTED_CLASSES, EXCLUDED_CLASSES, Component, DifferentialCount

GRANULOCYTIC = COUNTED_CLASSES[:8]
MONOCYTIC = ("promonocyte", "immature monocyte", "monocyte")
ERYTHROID = ("early erythroblast", "intermediate erythroblast", "late erythroblast")


def count(
    class_names: Sequence[str], *, me_include_monocytic: bool = True, flags: Sequence[tuple[str, str]] = ()
) -> DifferentialCount:
    """Count cells.

    Parameters
    ----------
    class_names
        One of CELL_CLASSES per cell.
    me_include_monocytic
        Whether the myeloid part of M:E holds the monocytic cells.
    flags
        (class, flag) pairs to note on components, such as `rescreen`.

    Raises
    ------
    ValueError
        A name is none of the 22.

    """
    return differential(Counter(class_names), me_include_monocytic=me_include_monocytic, flags=flags)


def differential(
    cells: Mapping[str, int], *, me_include_monocytic: bool = True, flags: Sequence[tuple[str, str]] = ()
) -> DifferentialCount:
    """The count from the number of cells of each class; the rest as in `count`."""
    if unknown := set(cells) - set(CELL_CLASSES):
        raise ValueError(f"unknown classes: {', '.join(sorted(unknown))}")
    counts = Counter(cells)
    total = sum(counts[name] for name in COUNTED_CLASSES)
    flag_of = dict(flags)
    percents = percentages([counts[name] for name in COUNTED_CLASSES])
    myeloid = GRANULOCYTIC + (MONOCYTIC if me_include_monocytic else ())
    erythroid = sum(counts[name] for name in ERYTHROID)
    return DifferentialCount(
        total=total,
        components=tuple(
            Component(
                name=name,
                count=counts[name],
                percent=percent,
                ci95=limits(counts[name], total),
                flag=flag_of.get(name, ""),
            )
            for name, percent in zip(COUNTED_CLASSES, percents, strict=True)
        ),
        me_ratio=sum(counts[name] for name in myeloid) / erythroid if erythroid else None,
        me_definition="granulocytic and monocytic cells / erythroblasts"
        if me_include_monocytic
        else "granulocytic cells / erythroblasts",
        excluded=tuple((name, counts[name]) for name in EXCLUDED_CLASSES),
    )


def percentages(counts: Sequence[int]) -> tuple[float, ...]:
    """Percent with one decimal that add to 100.0: largest remainder, the earlier class first among equals."""
    total = sum(counts)
    if total == 0:
        return (0.0,) * len(counts)
    tenths = [1000 * n // total for n in counts]
    order = sorted(range(len(counts)), key=lambda i: (-(1000 * counts[i] % total), i))
    for i in order[: 1000 - sum(tenths)]:
        tenths[i] += 1
    return tuple(value / 10 for value in tenths)


def limits(successes: int, total: int) -> tuple[float, float]:
    """Clopper-Pearson 95 % limits in percent, one decimal."""
    if total == 0:
        return 0.0, 100.0
    low = 0.0 if successes == 0 else float(betaincinv(successes, total - successes + 1, 0.025))
    high = 1.0 if successes == total else float(betaincinv(successes + 1, total - successes, 0.975))
    return round(100 * low, 1), round(100 * high, 1)


def rescreen(classes: NDArray[np.int16], doubt: NDArray[np.float64], above: float) -> tuple[tuple[str, str], ...]:
    """Counted classes whose expected error reaches `above` (Zhou et al. 2025), each with the flag `rescreen`.

    Parameters
    ----------
    classes : (N,) place of each cell's class in CELL_CLASSES
    doubt : (N,) chance that it is another, 0..1; a class's expected error is the mean of its cells

    """
    cells = np.bincount(classes, minlength=len(CELL_CLASSES))
    error = np.bincount(classes, weights=doubt, minlength=len(CELL_CLASSES)) / np.maximum(cells, 1)
    doubtful = (cells > 0) & (error >= above)
    return tuple((name, "rescreen") for name in COUNTED_CLASSES if doubtful[CELL_CLASSES.index(name)])


def few_cells(total: int, wanted: int) -> str:
    """The warning of a count below the number wanted; empty when there are enough."""
    return "" if total >= wanted else f"Only {total} cells were counted; at least {wanted} are wanted."
