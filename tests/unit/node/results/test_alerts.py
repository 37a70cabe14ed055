"""What a person is told of a count, and what the worklist shows of it."""

import pytest

from node.results.alerts import AlertKind, alerts, for_worklist
from node.settings import AnalysisSettings, ReviewSettings, Settings
from pipeline.counting import differential

SETTINGS = Settings(
    analysis=AnalysisSettings(minimum_cells=100),
    review=ReviewSettings(blast_percent=20, excluded_lymphoid_percent=2),
)


def kinds(counts: dict[str, int], open_reviews: int = 0) -> list[AlertKind]:
    return [alert.kind for alert in alerts(differential(counts), SETTINGS, open_reviews)]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"lymphocyte": 100}, []),
        ({"lymphocyte": 99}, [AlertKind.FEW_CELLS]),
        ({"myeloblast": 12, "promonocyte": 8, "lymphocyte": 80}, [AlertKind.BLASTS]),
        ({"myeloblast": 12, "promonocyte": 7, "lymphocyte": 81}, []),
        ({"myeloblast": 12, "immature monocyte": 30, "lymphocyte": 80}, []),
        ({"lymphocyte": 196, "prolymphocyte": 2, "immature lymphocyte": 2}, []),
        ({"lymphocyte": 196, "prolymphocyte": 2, "immature lymphocyte": 3}, [AlertKind.EXCLUDED_LYMPHOID]),
        ({"lymphocyte": 100, "smudge cell": 90, "others": 90}, []),
        ({}, [AlertKind.FEW_CELLS]),
    ],
)
def test_thresholds(counts: dict[str, int], expected: list[AlertKind]) -> None:
    assert kinds(counts) == expected


def test_texts_say_number_denominator_and_threshold() -> None:
    count = differential({"myeloblast": 30, "lymphocyte": 90, "atypical lymphocyte": 40})
    blasts, lymphoid = (alert.text for alert in alerts(count, SETTINGS))
    assert "25.0 % of the 120 counted nucleated cells" in blasts
    assert "threshold is 20 %" in blasts
    assert lymphoid.startswith("40 abnormal lymphoid cells (25.0 %)")


def test_classes_and_reviews_are_named() -> None:
    count = differential({"monocyte": 100}, flags=[("monocyte", "rescreen")])
    review, rescreen = alerts(count, SETTINGS, open_reviews=7)
    assert (review.kind, review.text) == (AlertKind.REVIEW, "7 cells must be reviewed by an expert.")
    assert (rescreen.kind, rescreen.class_name) == (AlertKind.RESCREEN, "monocyte")


def test_the_worklist_shows_what_concerns_the_patient_and_blasts_go_first() -> None:
    calm = alerts(differential({"monocyte": 50}, flags=[("monocyte", "rescreen")]), SETTINGS, 3)
    assert for_worklist(calm) == (["Only 50 cells were counted; at least 100 are wanted."], False)
    urgent = alerts(differential({"myeloblast": 100}), SETTINGS)
    assert for_worklist(urgent) == ([urgent[0].text], True)
