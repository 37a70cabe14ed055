"""A printed page: paper, fonts, the lines at its foot, and text that fits (fpdf2).

Lengths are mm, text sizes points. The fonts are embedded, so that a page looks the same everywhere.
"""

import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal
from unicodedata import bidirectional

import matplotlib
from fontTools.ttLib import TTFont, TTLibError
from fpdf import FPDF
from fpdf.bidi import BidiParagraph
from fpdf.enums import Align, MethodReturnValue, TextDirection, XPos, YPos
from fpdf.fonts import TTFFont

from pdf.errors import FontError

Paper = Literal["A4", "Letter"]
Grey = int  # 0 black .. 255 white
INK, FAINT, RULE, SHADE = 0, 90, 190, 235
MISSING = "\ufffd"  # stands for a letter that no font has
APART = "\u200e"  # left-to-right mark: what stands behind is not drawn into a name that runs from right to left

_FAMILY, _SITE = "DejaVu", "site"
_FACES = {"": "DejaVuSans.ttf", "B": "DejaVuSans-Bold.ttf"}
_MARGIN, _UNPRINTABLE = 16.0, 8.0
_FOOT_SIZE, _CAUTION, _PAGE_NUMBER = 7.0, 5.0, 20.0  # the foot: points; height of its first line, width of the number
_POINT = 25.4 / 72
_LEADING = 1.28  # of a line of text, in its size


@dataclass(frozen=True, slots=True, kw_only=True)
class Foot:
    """What stands at the foot of every page, beside its number."""

    identity: str
    caution: str


def check_font(font: str) -> None:
    """Raise FontError unless the file holds a TrueType or OpenType font, or a collection of them."""
    try:
        TTFont(io.BytesIO(Path(font).read_bytes()), fontNumber=0).getBestCmap()
    except (OSError, TTLibError, KeyError) as exc:
        msg = f"report.font {font} cannot be used ({type(exc).__name__}): name a TrueType or OpenType file"
        raise FontError(msg) from exc


class Sheet(FPDF):
    """Pages of one document; `y` is where the next thing goes.

    Parameters
    ----------
    font : str
        A TrueType or OpenType file with letters that DejaVu Sans lacks, such as Noto Sans CJK; empty for none.
    made_at : datetime
        The document's date: the same content gives the same bytes.

    Raises
    ------
    FontError
        `font` cannot be read.
    """

    def __init__(self, paper: Paper, *, title: str, font: str, foot: Foot, made_at: datetime) -> None:
        super().__init__(unit="mm", format=paper)
        self._foot = foot
        self.lacks_letters = False
        self.set_margin(_MARGIN)
        self.c_margin = 0  # text begins where lines begin
        self.set_auto_page_break(auto=False)
        self.set_creation_date(made_at)
        self.set_title(title)
        self.set_creator("marrow-node")
        self.set_lang("en")
        if font:
            self._add_site_font(font)
        faces = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        for style, file in _FACES.items():
            self.add_font(_FAMILY, style, faces / file)
        self._fonts = [used for used in self.fonts.values() if isinstance(used, TTFFont)]
        self.add_page()
        identity_height = self.height_of(foot.identity, width=self.width - _PAGE_NUMBER, size=_FOOT_SIZE)
        self._foot_top = float(self.h) - _UNPRINTABLE - identity_height - _CAUTION

    @property
    def left(self) -> float:
        return float(self.l_margin)

    @property
    def width(self) -> float:
        """Between the margins."""
        return float(self.epw)

    @property
    def bottom(self) -> float:
        """Where the content of a page ends."""
        return self._foot_top - 3

    def footer(self) -> None:
        """Called by fpdf2 at the end of each page."""
        top, identity = self._foot_top, self._foot_top + _CAUTION
        self.rule(top)
        self.text_at(self.left, top + 1.5, self._foot.caution, width=self.width, size=_FOOT_SIZE, bold=True)
        width = self.width - _PAGE_NUMBER
        self.text_at(self.left, identity, self._foot.identity, width=width, size=_FOOT_SIZE, grey=FAINT)
        page, room = f"Page {self.page_no()} of ", 2.5
        width = self.width - room
        self.text_at(self.left, identity, page, width=width, size=_FOOT_SIZE, grey=FAINT, align=Align.R)
        self.set_xy(self.left + width, identity)
        self.cell(room, _FOOT_SIZE * _POINT * _LEADING, "{nb}")  # known when the last page is there

    def finish(self) -> bytes:
        """The document; no more can be added."""
        document = bytes(self.output())
        for font in self._fonts:
            font.ttfont.close()
        return document

    def break_before(self, height: float) -> None:
        """Go on with a new page when `height` does not fit on this one."""
        if self.y + height > self.bottom:
            self.add_page()

    def rule(self, y: float, grey: Grey = RULE) -> None:
        """A thin line over the whole width."""
        self.set_draw_color(grey)
        self.set_line_width(0.2)
        self.line(self.left, y, self.left + self.width, y)

    def heading(self, text: str, *, room: float = 20.0) -> None:
        """The head of a section, never at the foot of a page: `room` must be left below it."""
        self.break_before(room)
        self.text_at(self.left, self.y, text, width=self.width, size=10.5, bold=True)
        self.y += 5.2
        self.rule(self.y)
        self.y += 1.6

    def text_at(
        self,
        x: float,
        y: float,
        text: str,
        *,
        width: float,
        size: float,
        bold: bool = False,
        grey: Grey = INK,
        align: Align = Align.L,
    ) -> float:
        """Text in a column from `y` down, in as many lines as it needs; returns its height. Leaves `y` alone."""
        at = self.y
        self.set_text_color(grey)
        self.set_xy(x, y)
        height = self._lay(text, width, size, bold=bold, align=align)
        self.y = at
        return height

    def height_of(self, text: str, *, width: float, size: float, bold: bool = False) -> float:
        """How high `text_at` would be."""
        return self._lay(text, width, size, bold=bold, dry_run=True)

    def paragraph(self, text: str, *, size: float = 8, bold: bool = False, grey: Grey = INK, mark: str = "") -> None:
        """Text over the whole width, behind `mark` where there is one; a page may end before it, not in it."""
        indent = 4.0 if mark else 0.0
        width = self.width - indent
        self.break_before(self.height_of(text, width=width, size=size, bold=bold))
        if mark:
            self.text_at(self.left, self.y, mark, width=indent, size=size, bold=bold, grey=grey)
        self.y += self.text_at(self.left + indent, self.y, text, width=width, size=size, bold=bold, grey=grey) + 0.8

    def width_of(self, text: str, size: float, *, bold: bool = False) -> float:
        """How wide a line of text is."""
        self.set_font(_FAMILY, "B" if bold else "", size)
        return float(self.get_string_width(self._printable(text)))

    def _lay(
        self,
        text: str,
        width: float,
        size: float,
        *,
        bold: bool = False,
        align: Align = Align.L,
        dry_run: bool = False,
    ) -> float:
        self.set_font(_FAMILY, "B" if bold else "", size)
        height = self.multi_cell(
            width,
            size * _POINT * _LEADING,
            self._printable(text),
            align=align,
            new_x=XPos.LEFT,
            new_y=YPos.TOP,
            padding=0,
            dry_run=dry_run,
            output=MethodReturnValue.HEIGHT,
        )
        assert isinstance(height, float)
        return height

    def _add_site_font(self, font: str) -> None:
        check_font(font)  # fpdf2 would leave a file open that is no font
        self.add_font(_SITE, "", font)
        self.set_fallback_fonts([_SITE], exact_match=False)

    def _printable(self, text: str) -> str:
        """The text as it stands on paper: from right to left where it must, what no font has replaced and noted."""
        clean = "".join(letter if letter.isprintable() or letter == APART else " " for letter in text)
        if any(bidirectional(letter) in {"R", "AL"} for letter in clean):
            clean = BidiParagraph(clean, base_direction=TextDirection.LTR).get_reordered_string()
        clean = clean.replace(APART, "")
        known = "".join(letter if self._has(letter) else MISSING for letter in clean)
        self.lacks_letters = self.lacks_letters or known != clean
        return known

    def _has(self, letter: str) -> bool:
        return any(ord(letter) in font.cmap for font in self._fonts)
