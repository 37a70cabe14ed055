"""The rows of a result: one OBX each with the notes below it (HL7 v2.5.1 7.4.2; LOINC and local codes)."""

import base64
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from hl7.errors import Hl7Error
from hl7.text import escape, join_components
from pipeline.domain import CellCode, Component, DifferentialCount, Report, ResultStatus

ME_RATIO = "me_ratio"  # the key of the M:E ratio in `ResultsConfig.ranges`
LOCAL_SYSTEM = "99BMA"
_UNCHANGED = ResultStatus.FINAL.value  # of a row that a correction leaves as it was
_TEXT_LINE = 120  # characters: escaped, still below the 199 that strict receivers allow a repetition


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsConfig:
    """How a site wants its results.

    `loinc_tiers` are the tiers of evidence (config/cell_types.csv) whose LOINC codes are sent; the local code is
    always there. `local_first` puts it in OBX-3.1, where receivers map; LOINC terms "by Manual count" stand behind
    the local code in any case, as no LOINC term says that software counted, and OBX-3.1 must not change between
    P and F. `ranges` (low, high per class name or `me_ratio`) fill OBX-7 and OBX-8; empty, as delivered, leaves
    them to the receiver.
    """

    sending_application: str = "MARROWNODE"
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    processing_id: str = "P"
    accept_ack: str = ""
    application_ack: str = ""
    loinc_tiers: tuple[str, ...] = ("A",)
    local_first: bool = False
    namespace: str = "MARROWNODE"
    minimum_cells: int = 200
    excluded_lymphoid_percent: float = 2.0  # of all nucleated cells: above it the 16 are noticeably inflated
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    maximum_pdf_bytes: int = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One OBX and its notes. `code` is an escaped CE."""

    code: str
    value: str
    value_type: str = "NM"
    units: str = ""
    reference_range: str = ""
    flag: str = ""
    status: str
    notes: tuple[str, ...] = ()


def result_rows(report: Report, codes: Mapping[str, CellCode], config: ResultsConfig) -> Iterator[Row]:
    """Total, 16 components and M:E ratio, or why there are none; then the study UID."""
    if report.analysis is None:
        yield _no_result(report)
    elif report.replaces is None:
        yield from _differential(report, report.analysis.differential, codes, config)
    else:
        former = _differential(report, report.replaces, codes, config)
        for row, before in zip(_differential(report, report.analysis.differential, codes, config), former, strict=True):
            yield _corrected(row, before)
    if report.slide.study_instance_uid:
        status = ResultStatus.PRELIMINARY if report.status is ResultStatus.NO_RESULT else report.status
        yield Row(
            code="110180^Study Instance UID^DCM",
            value=f"{escape(report.slide.study_instance_uid)}^DICOM",
            value_type="RP",
            status=_UNCHANGED if report.replaces else status.value,
        )


def _corrected(row: Row, before: Row) -> Row:
    """The row of a correction: marked, with what stood there, only where it says something else than before."""
    if (row.value, row.notes) == (before.value, before.notes):
        return row if row.status == ResultStatus.NO_RESULT.value else replace(row, status=_UNCHANGED)
    same = "The value is as before; what is said of it has changed."
    note = same if row.value == before.value else f"Formerly {before.value or 'not given'}."
    return replace(row, notes=(note, *row.notes))


def _no_result(report: Report) -> Row:
    return Row(
        code=join_components(*local_code("NORESULT", "Reason for no result")),
        value="~".join(escape(line) for line in textwrap.wrap(report.reason, _TEXT_LINE)),
        value_type="TX",
        status=ResultStatus.NO_RESULT.value,
        notes=(f"No differential count: {report.reason}",),
    )


def _differential(
    report: Report, count: DifferentialCount, codes: Mapping[str, CellCode], config: ResultsConfig
) -> Iterator[Row]:
    if sum(round(component.percent * 10) for component in count.components) != 1000:
        raise Hl7Error("the percentages of the components do not add to 100.0")
    status = report.status.value
    yield Row(
        code=_identifier(
            local_code("TNC", "Cells counted"), ("38257-2", "Cells Counted Total [#] in Bone marrow", "A"), config
        ),
        value=str(count.total),
        units="{cells}^cells^UCUM",
        status=status,
        notes=tuple(_count_notes(count, config)),
    )
    for component in count.components:
        yield _component(component, report, codes, config)
    yield Row(
        code=_identifier(
            local_code("ME", "Myeloid/erythroid ratio"),
            ("11138-5", "Myeloid cells/Erythroid cells [# Ratio] in Bone marrow", "A"),
            config,
        ),
        value=_ratio(count.me_ratio),
        units="{ratio}^ratio^UCUM",
        status=status if count.me_ratio is not None else ResultStatus.NO_RESULT.value,
        notes=(
            f"M:E is {count.me_definition}."
            if count.me_ratio is not None
            else "No erythroid cell was counted: the M:E ratio cannot be given.",
        ),
        **_judged(ME_RATIO, count.me_ratio, config),
    )


def _ratio(value: float | None) -> str:
    """One decimal; two below 1, where one would hide most of it."""
    if value is None:
        return ""
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _component(component: Component, report: Report, codes: Mapping[str, CellCode], config: ResultsConfig) -> Row:
    code = codes.get(component.name)
    if code is None:
        raise Hl7Error(f"class {component.name!r} has no code: add it to config/cell_types.csv")
    low, high = component.ci95
    notes = [f"Cells: {component.count}. 95 % confidence limits: {low:.1f} to {high:.1f} %."]
    if component.name in report.bundle.unrecognised:
        notes.append("This model cannot recognise the class: 0.0 is no finding.")
    if component.flag:
        notes.append(component.flag)
    return Row(
        code=_identifier(
            local_code(code.local_code, f"{code.name} %"),
            (code.loinc_code, code.loinc_name, code.loinc_tier),
            config,
        ),
        value=f"{component.percent:.1f}",
        units="%^percent^UCUM",
        status=report.status.value,
        notes=tuple(notes),
        **_judged(component.name, component.percent, config),
    )


def local_code(code: str, text: str) -> tuple[str, str, str]:
    """The three components of a code of this node."""
    return code, text, LOCAL_SYSTEM


def _identifier(local: tuple[str, str, str], loinc: tuple[str, str, str], config: ResultsConfig) -> str:
    """OBX-3: both codes where the site sends the tier, in the site's order."""
    code, name, tier = loinc
    if not code or tier[:1] not in config.loinc_tiers:
        return join_components(*local)
    if config.local_first or "manual count" in name.lower():
        return join_components(*local, code, name, "LN")
    return join_components(code, name, "LN", *local)


def _judged(name: str, value: float | None, config: ResultsConfig) -> dict[str, str]:
    """OBX-7 and OBX-8, where the site gave a range."""
    if name not in config.ranges:
        return {}
    low, high = config.ranges[name]
    flag = "" if value is None else "L" if value < low else "H" if value > high else "N"
    return {"reference_range": f"{low:g}-{high:g}", "flag": flag}


def document_row(report: Report, pdf: bytes | None, config: ResultsConfig) -> Row | None:
    """The PDF as encapsulated data; None without one or above the site's limit."""
    if not pdf or len(pdf) > config.maximum_pdf_bytes:
        return None
    parts = (escape(config.sending_application), "AP", "PDF", "Base64", base64.b64encode(pdf).decode())
    return Row(
        code=join_components("48807-2", "Bone marrow aspiration report", "LN", *local_code("PDF", "Report")),
        value="^".join(parts),
        value_type="ED",
        status=report.status.value,
    )


def _count_notes(count: DifferentialCount, config: ResultsConfig) -> Iterator[str]:
    if count.total < config.minimum_cells:
        yield f"Low count: {count.total} cells, at least {config.minimum_cells} are wanted."
    excluded = [(name, number) for name, number in count.excluded if number]
    if excluded:
        yield "Not counted: " + ", ".join(f"{number} {name}" for name, number in excluded) + "."
    lymphoid = sum(number for name, number in excluded if "lymphocyte" in name)
    if lymphoid and 100 * lymphoid > config.excluded_lymphoid_percent * (count.total + lymphoid):
        yield (
            f"{lymphoid} abnormal lymphoid cells are outside the 16 components: "
            "every percentage is higher than of all nucleated cells."
        )
