import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.counting import count, differential, few_cells, limits, percentages, rescreen
from pipeline.domain import CELL_CLASSES, COUNTED_CLASSES, EXCLUDED_CLASSES


@given(st.lists(st.integers(0, 5000), min_size=16, max_size=16))
def test_percentages_add_to_exactly_100(counts: list[int]) -> None:
    values = percentages(counts)
    assert round(sum(round(value * 10) for value in values)) == (1000 if sum(counts) else 0)
    if sum(counts):
        assert all(abs(p - 100 * n / sum(counts)) < 0.1 for p, n in zip(values, counts, strict=True))


@pytest.mark.parametrize(
    ("successes", "total", "expected"),
    [(0, 300, (0.0, 1.2)), (30, 300, (6.8, 14.0)), (300, 300, (98.8, 100.0)), (0, 0, (0.0, 100.0))],
)
def test_limits_are_those_of_clopper_and_pearson(successes: int, total: int, expected: tuple[float, float]) -> None:
    assert limits(successes, total) == expected


def test_count_excludes_the_six_and_keeps_the_order() -> None:
    result = count(list(CELL_CLASSES) * 2)
    assert result.total == 32
    assert tuple(component.name for component in result.components) == COUNTED_CLASSES
    assert result.excluded == tuple((name, 2) for name in EXCLUDED_CLASSES)


def test_me_ratio_follows_the_site_rule() -> None:
    names = ["segmented neutrophil"] * 6 + ["monocyte"] * 3 + ["late erythroblast"] * 3
    assert count(names).me_ratio == 3.0
    without = count(names, me_include_monocytic=False)
    assert without.me_ratio == 2.0
    assert without.me_definition == "granulocytic cells / erythroblasts"


def test_me_ratio_is_none_without_erythroblasts() -> None:
    assert count(["monocyte"]).me_ratio is None


def test_flags_land_on_their_component() -> None:
    result = count(["monocyte"], flags=[("monocyte", "rescreen")])
    assert {c.name: c.flag for c in result.components if c.flag} == {"monocyte": "rescreen"}


def test_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown classes: megakaryocyte"):
        count(["megakaryocyte"])


def test_a_count_from_numbers_is_that_of_the_cells() -> None:
    cells = ["monocyte"] * 3 + ["late erythroblast"] * 2 + ["others"]
    assert differential({"monocyte": 3, "late erythroblast": 2, "others": 1}) == count(cells)
    with pytest.raises(ValueError, match="blast"):
        differential({"blast": 1})


def test_classes_are_flagged_by_their_mean_doubt() -> None:
    places = [CELL_CLASSES.index(name) for name in ("monocyte", "monocyte", "lymphocyte", "others")]
    doubt = np.array([0.05, 0.15, 0.0999, 0.9])
    assert rescreen(np.array(places, np.int16), doubt, 0.1) == (("monocyte", "rescreen"),)
    assert rescreen(np.array([], np.int16), np.array([]), 0.0) == ()


def test_few_cells_are_said_with_the_number_wanted() -> None:
    assert few_cells(200, 200) == ""
    assert few_cells(199, 200) == "Only 199 cells were counted; at least 200 are wanted."
