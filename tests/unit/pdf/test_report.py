"""The printed report as bytes: the same each time, in every standing, with whatever names come. What it says is read
back by poppler in tests/peers/test_pdf.py.
"""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pdf.config import PdfConfig
from pdf.differential import judge, range_text
from pdf.errors import FontError
from pdf.report import encode_pdf
from pipeline.domain import Report, ResultStatus
from tests.builders import build_analysis, build_cells, build_codes, build_no_result, build_report

CODES = build_codes()
PICTURES = {"myeloblast": np.full((32, 96, 3), 120, np.uint8), "lymphocyte": np.full((32, 32, 3), 200, np.uint8)}
REPORTS = {
    "preliminary": build_report(),
    "no result": build_no_result(),
    "final": build_report(status=ResultStatus.FINAL, reviewer="Dr. Petra Prüfer", revision=1),
    "corrected": build_report(status=ResultStatus.CORRECTED, reviewer="Dr. Petra Prüfer", revision=2),
    "no order": build_report(order=None),
    "no erythroid cell": build_report(analysis=build_analysis(cells=build_cells({"myeloblast": 30}))),
}


@pytest.mark.parametrize("name", REPORTS)
def test_the_same_report_gives_the_same_bytes(name: str) -> None:
    first = encode_pdf(REPORTS[name], CODES, PdfConfig(), pictures=PICTURES)
    assert first.startswith(b"%PDF-1.")
    assert encode_pdf(REPORTS[name], CODES, PdfConfig(), pictures=PICTURES) == first


def test_every_report_has_its_own_document() -> None:
    report = build_report()
    later = build_report(analysed_at=report.analysed_at + timedelta(minutes=1))
    made = [encode_pdf(each, CODES, PdfConfig()) for each in (*REPORTS.values(), later)]
    made += [
        encode_pdf(report, CODES, PdfConfig(paper="Letter")),
        encode_pdf(report, CODES, PdfConfig(), pictures=PICTURES),
    ]
    assert len(set(made)) == len(made)


def test_its_date_is_that_of_the_result() -> None:
    analysed = build_report()
    signed = build_report(status=ResultStatus.FINAL, reviewer="pp", signed_at=analysed.analysed_at + timedelta(days=1))
    assert b"/CreationDate (D:20261005101500Z" in encode_pdf(analysed, CODES, PdfConfig())
    assert b"/CreationDate (D:20261006101500Z" in encode_pdf(signed, CODES, PdfConfig())


@pytest.mark.parametrize(
    ("value", "bounds", "flag"),
    [(1.0, None, ""), (None, (1.0, 2.0), ""), (0.9, (1.0, 2.0), "L"), (1.0, (1.0, 2.0), ""), (2.1, (1.0, 2.0), "H")],
)
def test_values_are_judged_by_the_sites_range(
    value: float | None, bounds: tuple[float, float] | None, flag: str
) -> None:
    assert judge(value, bounds) == flag


def test_ranges_are_printed_as_they_were_given() -> None:
    assert (range_text(None), range_text((0, 3)), range_text((1.1, 4.1))) == ("", "0–3", "1.1–4.1")


def test_a_font_that_is_none_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "font.ttf"
    wrong.write_bytes(b"no font")
    for font in (wrong, tmp_path / "absent.ttf"):
        with pytest.raises(FontError, match=r"report\.font .*name a TrueType"):
            encode_pdf(build_report(), CODES, PdfConfig(font=str(font)))


def test_a_name_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    report: Report = build_report(slide=build_report().slide, reviewer="山田^太郎", status=ResultStatus.FINAL)
    with caplog.at_level("DEBUG"):
        encode_pdf(report, CODES, PdfConfig())
    said = caplog.text.lower()
    assert "山" not in said
    assert "5c71" not in said
