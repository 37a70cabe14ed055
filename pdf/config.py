"""What a site decides about its printed report."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pdf.sheet import Paper

ME_RATIO = "me_ratio"  # the key of the M:E ratio in `PdfConfig.ranges`


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfConfig:
    """How a site wants its report printed.

    `laboratory` stands above the title. `font` is a file with letters that DejaVu Sans lacks (Chinese, Japanese,
    Korean and others); without it such letters are shown as missing, and a note says so. `ranges` (low, high per class
    name or `me_ratio`) are printed and judged; `colors` are those of the overlays.
    """

    paper: Paper = "A4"
    laboratory: str = ""
    font: str = ""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    colors: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
