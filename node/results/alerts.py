"""What a person is told of a count before anyone signs it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from node.settings import Settings
from pipeline import counting
from pipeline.domain import DifferentialCount

BLAST_EQUIVALENTS = ("myeloblast", "promonocyte")
EXCLUDED_LYMPHOID = ("prolymphocyte", "atypical lymphocyte", "immature lymphocyte")


class AlertKind(StrEnum):
    """What an alert is about."""

    BLASTS = "blasts"
    EXCLUDED_LYMPHOID = "excluded_lymphoid"
    FEW_CELLS = "few_cells"
    REVIEW = "review"
    RESCREEN = "rescreen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One warning; `class_name` where it is about one class."""

    kind: AlertKind
    text: str
    class_name: str = ""


def alerts(count: DifferentialCount, settings: Settings, open_reviews: int = 0) -> tuple[Alert, ...]:
    """The alerts of a count, the most urgent first; `open_reviews` cells still need an expert."""
    found = []
    if text := _blasts(count, settings.review.blast_percent):
        found.append(Alert(kind=AlertKind.BLASTS, text=text))
    if text := _excluded_lymphoid(count, settings.review.excluded_lymphoid_percent):
        found.append(Alert(kind=AlertKind.EXCLUDED_LYMPHOID, text=text))
    if text := counting.few_cells(count.total, settings.analysis.minimum_cells):
        found.append(Alert(kind=AlertKind.FEW_CELLS, text=text))
    if open_reviews:
        found.append(Alert(kind=AlertKind.REVIEW, text=f"{open_reviews} cells must be reviewed by an expert."))
    for row in count.components:
        if row.flag:
            text = f"The model is unsure of the class {row.name} as a whole: look through all of its cells."
            found.append(Alert(kind=AlertKind.RESCREEN, text=text, class_name=row.name))
    return tuple(found)


def for_worklist(found: Iterable[Alert]) -> tuple[list[str], bool]:
    """What the worklist shows of a case: texts, and whether it goes to the top."""
    shown = (AlertKind.BLASTS, AlertKind.EXCLUDED_LYMPHOID, AlertKind.FEW_CELLS)
    kept = [alert for alert in found if alert.kind in shown]
    return [alert.text for alert in kept], any(alert.kind is AlertKind.BLASTS for alert in kept)


def _blasts(count: DifferentialCount, threshold: float) -> str:
    """Blast equivalents as WHO and ICC count them, of the nucleated cells of the 16 counted classes."""
    blasts = sum(row.count for row in count.components if row.name in BLAST_EQUIVALENTS)
    if not count.total or 100 * blasts < threshold * count.total:
        return ""
    share = f"{100 * blasts / count.total:.1f} % of the {count.total} counted nucleated cells"
    return f"Blasts and equivalents ({' + '.join(BLAST_EQUIVALENTS)}) are {share}; the threshold is {threshold:g} %."


def _excluded_lymphoid(count: DifferentialCount, threshold: float) -> str:
    """What is left out of the 16 components raises the percentages of the rest."""
    lymphoid = sum(number for name, number in count.excluded if name in EXCLUDED_LYMPHOID)
    nucleated = count.total + lymphoid
    if 100 * lymphoid <= threshold * nucleated:
        return ""
    share = f"{lymphoid} abnormal lymphoid cells ({100 * lymphoid / nucleated:.1f} %)"
    return f"{share} are outside the 16 components: every percentage is higher than of all nucleated cells."
