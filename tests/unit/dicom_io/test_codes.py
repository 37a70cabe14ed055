"""Codes, colours and algorithm identification."""

from itertools import combinations

import numpy as np
import pytest

from dicom_io import codes
from pipeline.domain import CELL_CLASSES
from tests.builders import build_bundle_info, build_codes

# Machado, Oliveira, Fernandes 2009, severity 1.0; on linear RGB
VISION = {
    "normal": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


@pytest.mark.parametrize("name", CELL_CLASSES)
def test_every_class_has_a_concept_and_a_color(name: str) -> None:
    concept = codes.cell_concept(build_codes()[name])
    assert concept.value and concept.meaning and concept.scheme_designator in ("SCT", "NCIt", codes.LOCAL_SCHEME)
    assert all(0 <= channel <= 255 for channel in codes.class_color(name))


def test_concepts_are_distinct() -> None:
    concepts = [codes.cell_concept(code) for code in build_codes().values()]
    assert len({(concept.scheme_designator, concept.value) for concept in concepts}) == len(CELL_CLASSES)


@pytest.mark.parametrize("code", [c for c in build_codes().values() if c.sct_code], ids=lambda code: code.name)
def test_snomed_identifiers_pass_their_check_digit(code) -> None:
    assert _verhoeff(code.sct_code)


@pytest.mark.parametrize(
    "concept", [codes.AREA, codes.BONE_MARROW, codes.BONE_MARROW_SPECIMEN, codes.CATEGORY_CELL, codes.CATEGORY_DAMAGED]
)
def test_fixed_snomed_identifiers_pass_their_check_digit(concept) -> None:
    assert _verhoeff(concept.value)


def test_the_check_digit_finds_the_widely_quoted_wrong_plasma_cell() -> None:
    assert not _verhoeff("113335008")


def test_damaged_cells_are_morphologically_abnormal() -> None:
    table = build_codes()
    assert codes.cell_category(table["smudge cell"]).value == "49755003"
    assert codes.cell_category(table["apoptotic cell"]).value == "49755003"
    assert codes.cell_category(table["monocyte"]).value == "91723000"


@pytest.mark.parametrize(("vision", "least"), [("normal", 28), ("protan", 14), ("deutan", 14), ("tritan", 14)])
def test_class_colors_can_be_told_apart(vision: str, least: float) -> None:
    seen = {name: _lab(codes.class_color(name), VISION[vision]) for name in CELL_CLASSES}
    distance = {pair: float(np.linalg.norm(seen[pair[0]] - seen[pair[1]])) for pair in combinations(CELL_CLASSES, 2)}
    close = {pair: round(value, 1) for pair, value in distance.items() if value < least}
    assert not close


def test_algorithm_names_the_locked_bundle() -> None:
    bundle = build_bundle_info()
    item = codes.algorithm_sequence(bundle)[0]
    assert (item.AlgorithmName, item.AlgorithmVersion) == (bundle.name, bundle.version)
    assert bundle.digest in item.AlgorithmParameters
    assert any(bundle.digest in str(entry.value) for entry in codes.algorithm_content(bundle))


def _lab(rgb: tuple[int, int, int], matrix: np.ndarray) -> np.ndarray:
    channel = np.array(rgb) / 255
    linear = np.where(channel > 0.04045, ((channel + 0.055) / 1.055) ** 2.4, channel / 12.92)
    ratio = XYZ @ np.clip(matrix @ linear, 0, 1) / (0.9505, 1.0, 1.0889)
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def _verhoeff(number: str) -> bool:
    """The check of an SCTID: the dihedral group D5 over the digits, last first."""
    permutation = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
    check = 0
    for position, digit in enumerate(reversed(number)):
        value = int(digit)
        for _ in range(position % 8):
            value = permutation[value]
        check = _dihedral(check, value)
    return check == 0


def _dihedral(a: int, b: int) -> int:
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
    return 5 + (a - b) % 5 if b < 5 else (a - b) % 5
