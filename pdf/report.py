"""Report → PDF, to be read and printed by people: what SR and ORU say, with pictures of the cells.

The same report gives the same bytes. It says nothing that SR and ORU do not say.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from importlib.metadata import PackageNotFoundError, version

from pdf import cells, differential
from pdf.config import ME_RATIO, PdfConfig
from pdf.sheet import APART, FAINT, INK, MISSING, SHADE, Foot, Sheet
from pipeline.domain import Analysis, CellCode, DifferentialCount, EntityId, Order, Report, ResultStatus, RgbImage

_TITLE = "Bone marrow aspirate: differential count"
_STANDING = {
    ResultStatus.PRELIMINARY: "PRELIMINARY",
    ResultStatus.FINAL: "FINAL",
    ResultStatus.CORRECTED: "CORRECTED",
    ResultStatus.NO_RESULT: "NO RESULT",
}
_UNREVIEWED = "AI result, not reviewed by a person. Not for diagnostic use."
_SYNTHETIC = "SYNTHETIC IMAGE: not a patient's result, not for diagnostic use."
_LEGEND = "Bar: percentage. Line: its 95 % limits.{} " + (
    "The limits are exact Clopper-Pearson limits of sampling; they do not include errors of the classifier. "
    "Percentages are of the counted nucleated cells of the 16 classes and add to 100.0."
)
_LABEL = 25.0


def encode_pdf(
    report: Report,
    codes: Mapping[str, CellCode],
    config: PdfConfig,
    *,
    pictures: Mapping[str, RgbImage] | None = None,
    alerts: Sequence[str] = (),
) -> bytes:
    """Draw a report.

    Parameters
    ----------
    report : Report
        Without an analysis the page says why there is no result.
    codes : mapping of str to CellCode
        By class name.
    config : PdfConfig
        The site's choices.
    pictures : mapping of str to RgbImage, optional
        Crops of cells of a class side by side, (side, n * side, 3).
    alerts : sequence of str
        What must be noted of the count, beside what the report itself warns of.

    Raises
    ------
    FontError
        The site's font cannot be used.
    """
    sheet = Sheet(
        config.paper,
        title=f"{_TITLE}, case {report.case_id}",
        font=config.font,
        foot=Foot(identity=_foot(report), caution=_caution(report)),
        made_at=report.signed_at or report.analysed_at,
    )
    _head(sheet, report, config)
    _identity(sheet, report)
    if report.analysis is None:
        _no_result(sheet, report)
    else:
        _result(sheet, report, report.analysis, codes, config, alerts)
    _method(sheet, report)
    if report.analysis is not None:
        cells.draw(sheet, report.analysis, pictures or {})
    return sheet.finish()


def _caution(report: Report) -> str:
    if report.slide.synthetic:
        return _SYNTHETIC
    return "" if _reviewed(report) else _UNREVIEWED


def _reviewed(report: Report) -> bool:
    return report.status in {ResultStatus.FINAL, ResultStatus.CORRECTED}


def _foot(report: Report) -> str:
    """Enough to put a lost page back: who, which slide, which version of which result."""
    patient = report.order.patient if report.order else report.slide.patient
    accession = (report.order.accession_number if report.order else "") or report.slide.accession_number
    parts = (
        _person(patient.name),
        patient.patient_id,
        _day(patient.birth_date),
        accession,
        f"slide {report.slide.container_identifier}" if report.slide.container_identifier else "",
        f"case {report.case_id} revision {report.revision}",
        _moment(report.signed_at or report.analysed_at),
    )
    return f"{APART} · ".join(part for part in parts if part)


def _head(sheet: Sheet, report: Report, config: PdfConfig) -> None:
    """Laboratory and title on the left, the standing of the result in a frame on the right."""
    frame = 46.0
    width = sheet.width - frame - 4
    top = sheet.y
    if config.laboratory:
        sheet.y += sheet.text_at(sheet.left, top, config.laboratory, width=width, size=10, grey=FAINT) + 0.5
    sheet.y += sheet.text_at(sheet.left, sheet.y, _TITLE, width=width, size=15, bold=True)
    x = sheet.left + sheet.width - frame
    sheet.set_draw_color(INK)
    sheet.set_line_width(0.6)
    sheet.rect(x, top, frame, 10.5)
    standing = _STANDING[report.status]
    sheet.text_at(x, top + 2.6, standing, width=frame, size=13, bold=True, align=cells.CENTRE)
    sheet.y = max(sheet.y, top + 10.5) + 2.5
    if report.slide.synthetic:
        _band(sheet, _SYNTHETIC)
    for line in _standing(report):
        sheet.paragraph(line, size=8.5, bold=True)
    sheet.y += 1


def _band(sheet: Sheet, text: str) -> None:
    """White on black: nobody may overlook it."""
    sheet.set_fill_color(INK)
    sheet.rect(sheet.left, sheet.y, sheet.width, 7, style="F")
    sheet.text_at(sheet.left, sheet.y + 1.6, text, width=sheet.width, size=9.5, bold=True, grey=255, align=cells.CENTRE)
    sheet.y += 9


def _standing(report: Report) -> Iterator[str]:
    if not _reviewed(report):
        yield _UNREVIEWED
        return
    if report.status is ResultStatus.CORRECTED:
        yield " ".join(("This result replaces the one sent before.", *_changes(report)))
    signed = f" on {_moment(report.signed_at)}" if report.signed_at else ""
    yield f"Counted by AI image analysis, reviewed and released by {_person(report.reviewer)}{signed}."
    yield from report.remarks


def _changes(report: Report) -> Iterator[str]:
    """What stands otherwise than in the result that this one replaces."""
    if report.replaces is None or report.analysis is None:
        return
    count, former = report.analysis.differential, report.replaces
    if (count.total, count.me_ratio) != (former.total, former.me_ratio):
        yield f"Formerly {_many(former.total, 'cell')}, M:E {_ratio(former.me_ratio)}."
    rows = zip(count.components, former.components, strict=True)
    changed = [f"{row.name} {was.percent:.1f} % ({was.count})" for row, was in rows if row.count != was.count]
    if changed:
        yield f"Formerly {', '.join(changed)}."


def _identity(sheet: Sheet, report: Report) -> None:
    """Whose specimen and which, in two columns."""
    left, right = list(_patient(report)), list(_specimen(report))
    gap, top = 6.0, sheet.y
    width = (sheet.width - gap) / 2
    ends = []
    for x, rows in ((sheet.left, left), (sheet.left + width + gap, right)):
        y = top + 1.5
        for label, value in rows:
            sheet.text_at(x, y + 0.35, label, width=_LABEL, size=7, grey=FAINT)
            bold = label in {"Patient", "Accession"}
            y += sheet.text_at(x + _LABEL, y, value or "\N{EM DASH}", width=width - _LABEL, size=8.5, bold=bold) + 0.5
        ends.append(y)
    sheet.rule(top, INK)
    sheet.y = max(ends) + 1
    sheet.rule(sheet.y, INK)
    sheet.y += 3
    if sheet.lacks_letters:
        sheet.paragraph(
            f"{MISSING} stands for a letter that the font of this report lacks; the setting report.font names one that "
            "has it. Identify the patient by number, date of birth and accession.",
            bold=True,
        )


def _patient(report: Report) -> Iterator[tuple[str, str]]:
    order = report.order
    patient = order.patient if order else report.slide.patient
    yield "Patient", _person(patient.name)
    yield "Identifier", f"{patient.patient_id}{f' ({patient.issuer})' if patient.issuer else ''}"
    yield "Born, sex", ", ".join(part for part in (_day(patient.birth_date), patient.sex) if part)
    yield "Order", _numbers(order) if order else "none"
    if order and (order.test_name or order.test_code):
        yield "Test", f"{order.test_name} ({order.test_code})" if order.test_name else order.test_code


def _specimen(report: Report) -> Iterator[tuple[str, str]]:
    order, slide = report.order, report.slide
    yield "Accession", (order.accession_number if order else "") or slide.accession_number
    yield "Specimen", next(iter(order.specimen_ids if order else ()), "") or slide.specimen_identifier
    yield "Slide", slide.container_identifier or next(iter(order.container_ids if order else ()), "")
    yield "Collected", _moment(order.collected_at if order else None)
    yield "Scanned", _moment(slide.acquired_at)
    yield "Scanner", " ".join(part for part in (slide.manufacturer, slide.model_name, slide.serial_number) if part)


def _numbers(order: Order) -> str:
    given = (("placer", order.placer_order_number), ("filler", order.filler_order_number))
    return ", ".join(f"{who} {_entity(number)}" for who, number in given if number is not None)


def _entity(number: EntityId) -> str:
    authority = number.namespace or number.universal_id
    return f"{number.value}{f' ({authority})' if authority else ''}"


def _no_result(sheet: Sheet, report: Report) -> None:
    sheet.heading("No differential count")
    sheet.y += 1
    sheet.paragraph(report.reason or "The slide could not be counted.", size=11, bold=True)
    sheet.y += 2
    for text in report.warnings:
        sheet.paragraph(text, mark="\N{BULLET}")
    sheet.y += 2


def _result(
    sheet: Sheet,
    report: Report,
    analysis: Analysis,
    codes: Mapping[str, CellCode],
    config: PdfConfig,
    alerts: Sequence[str],
) -> None:
    count = analysis.differential
    _key_figures(sheet, count, config)
    differential.draw(sheet, count, codes, config)
    excluded = [f"{number} {name}" for name, number in count.excluded if number]
    text = ", ".join(excluded) if excluded else "none"
    sheet.paragraph(f"Outside the 16 classes and the percentages: {text}.", size=8)
    sheet.paragraph(_LEGEND.format(" Grey field: reference range." if config.ranges else ""), size=7, grey=FAINT)
    sheet.y += 1.5
    if notes := list(dict.fromkeys((*alerts, *_notes(report, analysis)))):
        sheet.heading("To be noted")
        for note in notes:
            sheet.paragraph(note, mark="\N{BULLET}")
        sheet.y += 1.5


def _key_figures(sheet: Sheet, count: DifferentialCount, config: PdfConfig) -> None:
    """Total and M:E, large, the ratio with what it is made of."""
    bounds = config.ranges.get(ME_RATIO)
    flag = differential.judge(count.me_ratio, bounds)
    given = f", reference {differential.range_text(bounds)}" if bounds else ""
    why = "no erythroid cell was counted" if count.me_ratio is None else count.me_definition
    top, split = sheet.y, 45.0
    sheet.set_fill_color(SHADE)
    sheet.rect(sheet.left, top, sheet.width, 11.5, style="F")
    for x, width, label, value, note in (
        (sheet.left + 2, split, "Cells counted", str(count.total), ""),
        (
            sheet.left + 2 + split,
            sheet.width - split - 4,
            "M:E",
            f"{_ratio(count.me_ratio)}{f' {flag}' if flag else ''}",
            why + given,
        ),
    ):
        sheet.text_at(x, top + 1.2, label, width=width, size=7, grey=FAINT)
        sheet.text_at(x, top + 4.4, value, width=width, size=13, bold=True)
        indent = sheet.width_of(value, 13, bold=True) + 3
        sheet.text_at(x + indent, top + 6.2, note, width=width - indent, size=8)
    sheet.y = top + 15


def _notes(report: Report, analysis: Analysis) -> Iterator[str]:
    if flagged := [row.name for row in analysis.differential.components if row.flag]:
        names = ", ".join(flagged)
        yield f"* The model is unsure of these classes as a whole, look through all of their cells: {names}."
    if report.bundle.unrecognised:
        yield f"This model cannot recognise: {', '.join(report.bundle.unrecognised)}."
    yield from report.warnings
    yield from analysis.warnings


def _method(sheet: Sheet, report: Report) -> None:
    bundle, analysis = report.bundle, report.analysis
    sheet.heading("Method", room=24)
    seen = ""
    if analysis is not None:
        countable, regions = sum(tile.countable for tile in analysis.tiles), len(analysis.regions)
        seen = f" in {_many(countable, 'countable field')} of {_many(regions, 'region')}, {report.slide.mpp:.3f} µm/px"
    sheet.paragraph(
        f"Automatic image analysis by marrow-node {_own_version()} with model {bundle.name} {bundle.version}{seen}. "
        f"Analysed {_moment(report.analysed_at)}.",
        size=8,
    )
    sheet.paragraph(f"Model digest (SHA-256): {bundle.digest}", size=7, grey=FAINT)
    if not _reviewed(report):
        sheet.paragraph("The model has not been validated for diagnostic use at this site.", size=8)
    sheet.y += 1.5


def _many(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _ratio(value: float | None) -> str:
    """As in the ORU: one decimal, two below 1."""
    if value is None:
        return "not defined"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _person(name: str) -> str:
    """`family^given^middle^prefix^suffix` as it is written; an ideographic form stands behind the alphabetic one."""
    written = []
    for form in name.split("="):
        family, given, middle, prefix, suffix = [*form.split("^"), "", "", "", "", ""][:5]
        first = " ".join(part for part in (prefix, given, middle) if part)
        written.append(", ".join(part for part in (family, first, suffix) if part))
    return " / ".join(form for form in written if form)


def _day(day: date | None) -> str:
    return day.isoformat() if day else ""


def _moment(at: datetime | None) -> str:
    """To the minute, with its zone where it has one."""
    if at is None:
        return ""
    offset = at.strftime("%z")
    zone = "" if not offset else " UTC" if offset == "+0000" else f" UTC{offset[:3]}:{offset[3:]}"
    return f"{at:%Y-%m-%d %H:%M}{zone}"


def _own_version() -> str:
    try:
        return version("marrow-node")
    except PackageNotFoundError:
        return "from source"
