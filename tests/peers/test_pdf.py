"""The printed report as poppler and qpdf read it: what it says, that it is printable, that nothing lies on anything."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from dicom_io.codes import class_color
from pdf.config import PdfConfig
from pdf.report import encode_pdf
from pipeline.domain import CELL_CLASSES, COUNTED_CLASSES, Report, ResultStatus
from tests.builders import (
    build_analysis,
    build_bundle_info,
    build_cells,
    build_codes,
    build_differential,
    build_no_result,
    build_order,
    build_patient,
    build_report,
    build_slide_info,
)

CODES = build_codes()
RANGES = {
    "myeloblast": (0.0, 1.0),
    "lymphocyte": (9.0, 19.0),
    "late erythroblast": (14.0, 20.0),
    "me_ratio": (1.1, 2.0),
}
SITE = PdfConfig(
    laboratory="Example Laboratory", ranges=RANGES, colors={name: class_color(name) for name in CELL_CLASSES}
)
PICTURES = {name: np.full((48, 48 * 11, 3), 150, np.uint8) for name in COUNTED_CLASSES}
SIGNED = {"reviewer": "Dr. Petra Prüfer", "signed_at": datetime(2026, 10, 6, 8, tzinfo=UTC), "revision": 1}
CROWDED = build_report(
    order=build_order(
        patient=build_patient(
            name="Wolfeschlegelsteinhausenbergerdorff^" + "Maria Theresia Josepha " * 4, patient_id="9" * 40
        ),
        test_name="Differential count of a bone marrow aspirate smear, " * 3,
        accession_number="S26-00017-LONG-ACCESSION-NUMBER",
    ),
    slide=build_slide_info(container_identifier="C" * 40, synthetic=True),
    bundle=build_bundle_info(classes=COUNTED_CLASSES[:4]),
    warnings=tuple(f"Warning {number}: the field is out of focus at many places of the slide." for number in range(30)),
)


@dataclass(frozen=True)
class Word:
    text: str
    page: int
    x0: float
    y0: float
    x1: float
    y1: float


def run(program: str, *arguments: object) -> str:
    """What a peer prints; one that is missing fails the test."""
    found = shutil.which(program)
    assert found, f"{program} is not installed; see `make packages`"
    done = subprocess.run([found, *map(str, arguments)], capture_output=True, text=True, check=True, timeout=60)
    assert not done.stderr, done.stderr
    return done.stdout


def printed(
    report: Report,
    folder: Path,
    config: PdfConfig = SITE,
    *,
    alerts: Sequence[str] = (),
    pictures: dict[str, np.ndarray] | None = None,
) -> Path:
    path = folder / "report.pdf"
    path.write_bytes(
        encode_pdf(report, CODES, config, pictures=PICTURES if pictures is None else pictures, alerts=alerts)
    )
    return path


def pages(path: Path) -> list[str]:
    """The text of each page, lines joined."""
    return [" ".join(page.split()) for page in run("pdftotext", "-layout", path, "-").split("\f")[:-1]]


def words(path: Path) -> list[Word]:
    """Every word with its box, points from the top left corner."""
    found, page = [], 0
    for line in run("pdftotext", "-bbox", path, "-").splitlines():
        page += "<page " in line
        if box := re.search(r'xMin="(\S+)" yMin="(\S+)" xMax="(\S+)" yMax="(\S+)">(.*)</word>', line):
            found.append(Word(box[5], page, *map(float, box.groups()[:4])))
    return found


def test_a_preliminary_report_says_what_it_is(tmp_path: Path) -> None:
    first, *_ = pages(printed(build_report(), tmp_path))
    assert "PRELIMINARY" in first
    assert first.count("AI result, not reviewed by a person. Not for diagnostic use.") == 2
    assert "Example Laboratory" in first
    assert "Muster, Maria" in first
    assert "TEST-4711 (HOSP)" in first
    assert "1961-04-02, F" in first
    assert "S26-00017-A-1" in first
    assert "2026-10-04 09:00 UTC" in first
    assert "ScannerWorks SW-100 7" in first
    assert "marrow-small 0.1.0" in first
    assert "b7" * 32 in first
    assert "not been validated for diagnostic use" in first
    assert "The focus of 2 tiles is soft." in first


def test_every_number_of_the_count_is_there(tmp_path: Path) -> None:
    report = build_report()
    assert report.analysis is not None
    first, *_ = pages(printed(report, tmp_path))
    for row in report.analysis.differential.components:
        low, high = row.ci95
        reference = {"myeloblast": " 0–1 H", "lymphocyte": " 9–19", "late erythroblast": " 14–20 L"}.get(row.name, "")
        assert f"{row.name} {row.count} {row.percent:.1f} {low:.1f}–{high:.1f}{reference}" in first
    assert "Granulocytes and precursors 129 58.6" in first
    assert "M:E 220 2.4 H granulocytic and monocytic cells / erythroblasts, reference 1.1–2" in first
    assert "2 prolymphocyte, 3 atypical lymphocyte, 1 immature lymphocyte, 6 smudge cell" in first


def test_without_ranges_there_is_no_reference(tmp_path: Path) -> None:
    first, *_ = pages(printed(build_report(), tmp_path, PdfConfig()))
    assert "Reference" not in first
    assert "reference" not in first


@pytest.mark.parametrize(
    ("status", "standing", "said"),
    [
        (ResultStatus.FINAL, "FINAL", "reviewed and released by Dr. Petra Prüfer on 2026-10-06 08:00 UTC."),
        (ResultStatus.CORRECTED, "CORRECTED", "This result replaces the one sent before."),
    ],
)
def test_a_signed_report_names_who_and_when(tmp_path: Path, status: ResultStatus, standing: str, said: str) -> None:
    text = " ".join(pages(printed(build_report(status=status, **SIGNED), tmp_path)))
    assert standing in text
    assert said in text
    assert "not reviewed" not in text
    assert "revision 1" in text


def test_a_correction_says_what_stood_there_before(tmp_path: Path) -> None:
    before = build_differential(build_cells({"myeloblast": 5, "lymphocyte": 20, "late erythroblast": 15}))
    cells = build_cells({"myeloblast": 6, "lymphocyte": 20, "late erythroblast": 14})
    report = build_report(
        status=ResultStatus.CORRECTED, **SIGNED, analysis=build_analysis(cells=cells), replaces=before
    )
    first, *_ = pages(printed(report, tmp_path))
    assert "Formerly 40 cells, M:E 0.33. Formerly myeloblast 12.5 % (5), late erythroblast 37.5 % (15)." in first


def test_no_result_has_its_reason(tmp_path: Path) -> None:
    (only,) = pages(printed(build_no_result(), tmp_path, pictures={}))
    assert "NO RESULT" in only
    assert "No countable region was found on the slide." in only
    assert "Page 1 of 1" in only
    assert "95 %" not in only


def test_warnings_of_the_count_are_printed(tmp_path: Path) -> None:
    cells = build_cells({"myeloblast": 40, "lymphocyte": 60})
    count = build_differential(cells)
    flagged = replace(
        count, components=tuple(replace(row, flag="rescreen") for row in count.components[:1]) + count.components[1:]
    )
    report = build_report(
        analysis=build_analysis(cells=cells, differential=flagged),
        bundle=build_bundle_info(classes=COUNTED_CLASSES[:12]),
    )
    first, *_ = pages(printed(report, tmp_path, alerts=["Blasts are 40 %.", "The focus of 2 tiles is soft."]))
    assert "• Blasts are 40 %. • The focus of 2 tiles is soft. •" in first
    assert first.count("The focus of 2 tiles is soft.") == 1  # the analysis says so too
    assert "myeloblast * 40" in first
    assert "* The model is unsure of these classes as a whole, look through all of their cells: myeloblast." in first
    assert "cannot recognise: plasma cell, early erythroblast" in first
    assert "not defined no erythroid cell was counted" in first


def test_each_page_says_whose_it_is(tmp_path: Path) -> None:
    found = pages(printed(build_report(slide=build_slide_info(synthetic=True)), tmp_path))
    assert len(found) == 2
    for number, page in enumerate(found, start=1):
        assert f"Page {number} of 2" in page
        assert "Muster, Maria · TEST-4711 · 1961-04-02 · S26-00017 · slide S26-00017-A-1 · case case-0001" in page
        assert "SYNTHETIC IMAGE: not a patient's result, not for diagnostic use." in page


def test_every_class_shows_its_cells(tmp_path: Path) -> None:
    path = printed(build_report(), tmp_path)
    images = run("pdfimages", "-list", path).splitlines()[2:]
    assert len(images) == len(PICTURES)
    assert {line.split()[8] for line in images} == {"jpeg"}
    assert "myeloblast 4 cells" in pages(path)[1]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Παπαδόπουλος^Γιώργος", "Παπαδόπουλος, Γιώργος"),
        ("Достоевская^Анна^Григорьевна", "Достоевская, Анна Григорьевна"),
        ("Nguyễn^Thị Ánh^^Dr.^Jr.", "Nguyễn, Dr. Thị Ánh, Jr."),
        ("O'Şahin-Ñández^Łukasz", "O'Şahin-Ñández, Łukasz"),
    ],
)
def test_names_keep_their_letters(tmp_path: Path, name: str, shown: str) -> None:
    first, *_ = pages(printed(build_report(order=build_order(patient=build_patient(name=name))), tmp_path))
    assert shown in first
    assert "stands for a letter" not in first


def test_hebrew_runs_from_right_to_left_and_alone(tmp_path: Path) -> None:
    patient = build_patient(name="כהן^שרה", patient_id="4711")
    path = printed(build_report(order=build_order(patient=patient)), tmp_path, pictures={})
    where: dict[str, list[float]] = {}
    for word in words(path):  # poppler gives the letters as they stand, from left to right
        where.setdefault(re.sub("[^\u05d0-\u05ea0-9]", "", word.text), []).append(word.x0)
    family, given = where["כהן"[::-1]], where["שרה"[::-1]]
    assert len(family) == len(given) == 2  # in the head and in the foot
    assert all(right > left for right, left in zip(family, given, strict=True))
    assert where["4711"][-1] > family[-1]


def test_letters_that_no_font_has_are_said_to_be_missing(tmp_path: Path) -> None:
    report = build_report(order=build_order(patient=build_patient(name="Yamada^Tarou=山田^太郎")))
    first, *_ = pages(printed(report, tmp_path))
    assert "Yamada, Tarou / \ufffd\ufffd, \ufffd\ufffd" in first
    assert "\ufffd stands for a letter that the font of this report lacks; the setting report.font names one" in first


def test_the_sites_font_has_them(tmp_path: Path) -> None:
    font = draw_font(tmp_path / "site.ttf", "山田太郎")
    report = build_report(order=build_order(patient=build_patient(name="Yamada^Tarou=山田^太郎")))
    path = printed(report, tmp_path, replace(SITE, font=str(font)))
    first, *_ = pages(path)
    assert "Yamada, Tarou / 山田, 太郎" in first
    assert "stands for a letter" not in first
    assert "Site" in run("pdffonts", path)


def draw_font(path: Path, letters: str) -> Path:
    """A TrueType font in which each letter is a square."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((900, 0), (900, 800), (100, 800)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    names = [".notdef", *(f"uni{ord(letter):04X}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"uni{ord(letter):04X}" for letter in letters})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Site", "styleName": "Regular", "psName": "Site-Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.mark.parametrize(("paper", "size"), [("A4", "595.28 x 841.89 pts (A4)"), ("Letter", "612 x 792 pts (letter)")])
@pytest.mark.parametrize(
    "report", [build_report(), build_no_result(), CROWDED, build_report(status=ResultStatus.FINAL, **SIGNED)]
)
def test_it_prints(tmp_path: Path, paper: str, size: str, report: Report) -> None:
    path = printed(report, tmp_path, replace(SITE, paper=paper))
    run("qpdf", "--check", path)
    information = run("pdfinfo", path)
    assert size in information
    width, height = map(float, size.split(" pts", maxsplit=1)[0].split(" x "))
    fonts = run("pdffonts", path).splitlines()[2:]
    assert fonts
    assert all(re.search(r"Identity-H\s+yes yes yes", font) for font in fonts)  # embedded, subset, searchable
    found = words(path)
    margin = 10 * 72 / 25.4  # what printers cannot reach, mm
    for word in found:
        assert word.x0 >= margin, word
        assert word.x1 <= width - margin, word
        assert word.y0 >= margin, word
        assert word.y1 <= height - 15, word
    assert not [pair for pair in combinations(found, 2) if overlap(*pair)]


def overlap(one: Word, other: Word) -> bool:
    """Whether two words of a page lie on each other by more than the space that a font leaves above its letters."""
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    down = min(one.y1, other.y1) - max(one.y0, other.y0)
    return one.page == other.page and across > 1 and down > 3.5


def test_it_is_small_enough_for_a_message(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (112, 112 * 11, 3)).astype(np.uint8)
    busy = dict.fromkeys(CELL_CLASSES, noise)
    assert printed(build_report(), tmp_path, pictures=busy).stat().st_size < 5_000_000
