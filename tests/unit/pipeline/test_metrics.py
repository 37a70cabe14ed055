import numpy as np
import pytest

from pipeline import metrics
from pipeline.domain import CELL_CLASSES, Box


def test_mask_scores_of_half_an_overlap() -> None:
    truth = np.zeros((10, 10), dtype=bool)
    truth[:, :6] = True
    found = np.zeros_like(truth)
    found[:, 3:9] = True
    scores = metrics.mask_scores(found, truth)
    assert scores["iou"] == pytest.approx(3 / 9)
    assert scores["dice"] == pytest.approx(0.5)
    assert scores["pixel_accuracy"] == pytest.approx(0.4)


def test_auroc_counts_ties_as_half() -> None:
    truth = np.array([True, False, True, False])
    assert metrics.auroc(np.array([0.9, 0.1, 0.8, 0.2]), truth) == 1.0
    assert metrics.auroc(np.array([0.5, 0.5, 0.5, 0.5]), truth) == 0.5
    assert np.isnan(metrics.auroc(np.ones(2), np.array([True, True])))


def test_best_overlaps_of_boxes() -> None:
    truth = [Box(x0=0, y0=0, x1=10, y1=10), Box(x0=50, y0=50, x1=60, y1=60)]
    found = [Box(x0=0, y0=0, x1=10, y1=5), Box(x0=0, y0=1, x1=10, y1=10)]
    assert metrics.best_overlaps(truth, found).tolist() == [0.9, 0.0]
    assert metrics.best_overlaps(truth, []).tolist() == [0.0, 0.0]


def test_calibration_error_of_an_overconfident_model() -> None:
    assert metrics.calibration_error(np.full(100, 0.95), np.arange(100) < 70) == pytest.approx(0.25)


def test_class_report_accepts_any_allowed_class() -> None:
    probabilities = np.full((3, 22), 0.01)
    late = CELL_CLASSES.index("late erythroblast")
    probabilities[:, late] = 0.8
    allowed = np.zeros((3, 22), dtype=bool)
    allowed[:2, late] = True
    allowed[:2, late - 1] = True
    allowed[2, 0] = True
    report = metrics.class_report(probabilities, allowed, ["EBO", "EBO", "BLA"])
    assert report.accuracy == pytest.approx(2 / 3)
    assert report.per_group["EBO"]["recall"] == 1.0
    assert report.per_group["EBO"]["precision"] == pytest.approx(2 / 3)
    assert report.per_group["BLA"]["recall"] == 0.0


def test_concordance_punishes_bias_that_correlation_forgives() -> None:
    a = np.array([1.0, 2, 3, 4])
    assert metrics.pearson(a, a + 1) == pytest.approx(1.0)
    assert metrics.concordance(a, a + 1) == pytest.approx(2 * 1.25 / 3.5)
    assert metrics.bland_altman(a + 1, a) == {"bias": 1.0, "low": 1.0, "high": 1.0}
