"""The 16 components as a table with their histogram: count, percent, confidence limits, reference range."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby

from fpdf.enums import Align

from pdf.config import PdfConfig
from pdf.sheet import FAINT, INK, SHADE, Sheet
from pipeline.domain import CellCode, Component, DifferentialCount

_ROW, _GROUP, _HEAD, _SIZE = 5.0, 4.7, 9.0, 8.0
_BAR, _WHISKER = 2.9, 1.5
_LINEAGES = {  # beginning of CellCode.lineage → head of its rows
    "granulocytic": "Granulocytes and precursors",
    "monocytic": "Monocytes and precursors",
    "lymphoid": "Lymphocytes and plasma cells",
    "erythroid": "Erythroblasts",
}
_COLUMNS = (("Cells", 11.0), ("%", 11.0), ("95 % limits", 20.0), ("Reference", 18.0))
_NAME = 63.0


def draw(sheet: Sheet, count: DifferentialCount, codes: Mapping[str, CellCode], config: PdfConfig) -> None:
    """The table at the sheet's `y`; it stays on one page.

    A bar is the percentage, the line over it the confidence limits, the grey field behind it the reference range.
    """
    groups = [
        (head, list(rows)) for head, rows in groupby(count.components, lambda row: _lineage(codes[row.name].lineage))
    ]
    sheet.break_before(_HEAD + len(groups) * _GROUP + len(count.components) * _ROW)
    scale = _Scale(sheet, count.components, config.ranges)
    bottom = sheet.y + _HEAD + len(groups) * _GROUP + len(count.components) * _ROW
    _head(sheet, scale, bottom, ranges=bool(config.ranges))
    for head, rows in groups:
        _group(sheet, head, rows)
        for row in rows:
            _row(sheet, scale, row, config)
    sheet.rule(sheet.y, INK)
    sheet.y += 2


class _Scale:
    """Percent → mm, in the column of the bars."""

    def __init__(self, sheet: Sheet, rows: Sequence[Component], ranges: Mapping[str, tuple[float, float]]) -> None:
        self.left = sheet.left + _NAME + sum(width for _, width in _COLUMNS) + 4
        self.width = sheet.left + sheet.width - self.left - 3
        highest = max([10.0, *(row.ci95[1] for row in rows), *(ranges[r.name][1] for r in rows if r.name in ranges)])
        self.step = 5 if highest <= 25 else 10 if highest <= 50 else 20
        self.top = self.step * math.ceil(min(highest, 100.0) / self.step)

    def x(self, percent: float) -> float:
        return self.left + self.width * min(max(percent, 0.0), self.top) / self.top


def judge(value: float | None, bounds: tuple[float, float] | None) -> str:
    """L or H outside the range, else nothing."""
    if value is None or bounds is None:
        return ""
    return "L" if value < bounds[0] else "H" if value > bounds[1] else ""


def range_text(bounds: tuple[float, float] | None) -> str:
    """A reference range as it is printed."""
    return "" if bounds is None else f"{bounds[0]:g}\N{EN DASH}{bounds[1]:g}"


def _lineage(name: str) -> str:
    return next((head for start, head in _LINEAGES.items() if name.startswith(start)), name.capitalize())


def _head(sheet: Sheet, scale: _Scale, bottom: float, *, ranges: bool) -> None:
    top = sheet.y
    text = top + _HEAD - 4.2
    sheet.text_at(sheet.left, text, "Class", width=_NAME, size=7, bold=True)
    x = sheet.left + _NAME
    for name, width in _COLUMNS:
        if name != "Reference" or ranges:
            sheet.text_at(x, text, name, width=width, size=7, bold=True, align=Align.R)
        x += width
    sheet.text_at(scale.left, top, "% of counted cells", width=scale.width, size=7, bold=True)
    sheet.set_draw_color(SHADE - 15)
    for tick in range(0, scale.top + 1, scale.step):
        at = scale.x(tick)
        sheet.set_line_width(0.1)
        sheet.line(at, top + _HEAD - 0.6, at, bottom)
        sheet.text_at(at - 5, text, f"{tick}", width=10, size=6.5, grey=FAINT, align=Align.C)
    sheet.y = top + _HEAD
    sheet.rule(sheet.y - 0.6, INK)


def _group(sheet: Sheet, head: str, rows: Sequence[Component]) -> None:
    sheet.set_fill_color(SHADE)
    sheet.rect(sheet.left, sheet.y, _NAME + sum(width for _, width in _COLUMNS) + 1, _GROUP, style="F")
    sheet.text_at(sheet.left + 1, sheet.y + 0.6, head, width=_NAME, size=7.5, bold=True)
    numbers = (f"{sum(row.count for row in rows)}", f"{sum(row.percent for row in rows):.1f}")
    x = sheet.left + _NAME
    for text, (_, width) in zip(numbers, _COLUMNS, strict=False):
        sheet.text_at(x, sheet.y + 0.6, text, width=width, size=7.5, bold=True, align=Align.R)
        x += width
    sheet.y += _GROUP


def _row(sheet: Sheet, scale: _Scale, row: Component, config: PdfConfig) -> None:
    y, bounds = sheet.y, config.ranges.get(row.name)
    flag = judge(row.percent, bounds)
    sheet.set_fill_color(*config.colors.get(row.name, (120, 120, 120)))
    sheet.rect(sheet.left + 0.6, y + 1.1, 2.6, 2.6, style="F")
    mark = " *" if row.flag else ""  # the class as a whole is doubtful; a note says so
    sheet.text_at(sheet.left + 4.6, y + 0.7, row.name + mark, width=_NAME - 4, size=_SIZE)
    low, high = row.ci95
    texts = (
        f"{row.count}",
        f"{row.percent:.1f}",
        f"{low:.1f}\N{EN DASH}{high:.1f}",
        f"{range_text(bounds)}{f'  {flag}' if flag else '   ' if bounds else ''}",
    )
    x = sheet.left + _NAME
    for text, (_, width) in zip(texts, _COLUMNS, strict=True):
        sheet.text_at(x, y + 0.7, text, width=width, size=_SIZE, bold=bool(flag), align=Align.R)
        x += width
    _bar(sheet, scale, row, config)
    sheet.y += _ROW


def _bar(sheet: Sheet, scale: _Scale, row: Component, config: PdfConfig) -> None:
    middle = sheet.y + _ROW / 2
    if bounds := config.ranges.get(row.name):
        sheet.set_fill_color(SHADE - 15)
        sheet.rect(scale.x(bounds[0]), sheet.y + 0.3, scale.x(bounds[1]) - scale.x(bounds[0]), _ROW - 0.6, style="F")
    sheet.set_fill_color(*config.colors.get(row.name, (120, 120, 120)))
    sheet.set_draw_color(FAINT)
    sheet.set_line_width(0.15)
    if row.count:
        sheet.rect(scale.x(0), middle - _BAR / 2, scale.x(row.percent) - scale.x(0), _BAR, style="DF")
    low, high = (scale.x(limit) for limit in row.ci95)
    sheet.set_draw_color(INK)
    sheet.set_line_width(0.25)
    sheet.line(low, middle, high, middle)
    for end in (low, high):
        sheet.line(end, middle - _WHISKER / 2, end, middle + _WHISKER / 2)
