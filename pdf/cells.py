"""Pictures of the cells of each class, so that a reader sees what was counted."""

import io
from collections.abc import Mapping

from fpdf.enums import Align
from PIL import Image

from pdf.sheet import FAINT, Sheet
from pipeline.domain import COUNTED_CLASSES, EXCLUDED_CLASSES, Analysis, RgbImage

CENTRE = Align.C
_SIDE, _GAP, _LABEL = 11.4, 0.9, 50.0
_QUALITY = 90


def draw(sheet: Sheet, analysis: Analysis, pictures: Mapping[str, RgbImage]) -> None:
    """A strip of crops for each class that has one, the counted classes first."""
    count = analysis.differential
    numbers = {row.name: row.count for row in count.components} | dict(count.excluded)
    shown = [name for name in (*COUNTED_CLASSES, *EXCLUDED_CLASSES) if name in pictures]
    if not shown:
        return
    if sheet.y > sheet.bottom / 2:  # a page of their own, so that they can be compared
        sheet.add_page()
    sheet.heading("Cells of each class, those the model is surest of")
    for name in shown:
        _strip(sheet, name, numbers.get(name, 0), pictures[name])
    sheet.y += 2


def _strip(sheet: Sheet, name: str, number: int, strip: RgbImage) -> None:
    sheet.break_before(_SIDE)
    room = sheet.width - _LABEL
    side = strip.shape[0]
    fitting = strip[:, : int(room // _SIDE) * side]
    height = sheet.text_at(sheet.left, sheet.y + 2.5, name, width=_LABEL - 2, size=8, bold=True)
    outside = ", not in the percentages" if name in EXCLUDED_CLASSES else ""
    cells = "1 cell" if number == 1 else f"{number} cells"
    sheet.text_at(sheet.left, sheet.y + 2.7 + height, cells + outside, width=_LABEL - 2, size=7, grey=FAINT)
    sheet.image(_jpeg(fitting), x=sheet.left + _LABEL, y=sheet.y, h=_SIDE, alt_text=f"Crops of {name}")
    sheet.set_draw_color(255)
    sheet.set_line_width(0.5)
    for place in range(1, fitting.shape[1] // side):
        x = sheet.left + _LABEL + place * _SIDE
        sheet.line(x, sheet.y, x, sheet.y + _SIDE)
    sheet.y += _SIDE + _GAP


def _jpeg(image: RgbImage) -> io.BytesIO:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer
