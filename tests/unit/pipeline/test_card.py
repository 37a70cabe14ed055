from pipeline.card import model_card, rows_of
from pipeline.metrics import proportion

DOCUMENT = {
    "name": "m",
    "version": "1",
    "training_data": [{"name": "set", "licence": "CC BY 4.0", "doi": "10.1/x"}],
    "learnt_from": {"synthetic cells only": ["plasma cell"]},
}


def test_only_measured_figures_appear() -> None:
    share = proportion([True] * 455 + [False] * 45)
    card = model_card(DOCUMENT, {"classes_pbc": {"n": 500, "accuracy": share, "calibration_error": 0.02}}, ["a_b.png"])
    assert "| pbc, held-out quarter: accuracy | 0.90 | 0.910 | 0.882 to 0.932 | 500 | yes |" in card
    assert "segpc, isolated" not in card
    assert "synthetic cells only: plasma cell" in card
    assert "doi 10.1/x" in card
    assert "![a b](a_b.png)" in card


def test_notes_of_the_bundle_and_what_was_not_measured_are_said() -> None:
    card = model_card({**DOCUMENT, "notes": ["Too pink."]}, {"classes_pbc": {"n": 1}})
    assert "\n- Too pink.\n- Not measured for these weights: classes_mll, classes_segpc," in card
    assert "classes_pbc," not in card


def test_a_missed_target_says_no() -> None:
    figures = {
        "tiles_segpc": {
            "n": 12,
            "unit": "fields",
            "accepted": proportion([True, False] * 6),
            "refused": {"blurred": proportion([True] * 12)},
        },
        "cells_zheng": {"n": 60, "unit": "cells", "dice": 0.8771},
    }
    card = model_card(DOCUMENT, figures)
    assert "| segpc fields accepted by TCNet | 0.85 | 0.500 | 0.254 to 0.746 | 12 | no |" in card
    assert "| the same, blurred: refused | 0.90 | 1.000 | 0.758 to 1.000 | 12 | yes |" in card
    assert "| zheng, whole-cell Dice | 0.88 | 0.877 |  | 60 cells | no |" in card


def test_every_number_of_a_nested_measurement_is_a_row() -> None:
    rows = rows_of({"n": 3, "mll": {"hue": {"none": 0.5}}, "unit": "cells", "bland_altman": {"bias": 0.1, "low": -2.0}})
    assert rows == [
        ("n", "3", "", ""),
        ("mll, hue, none", "0.500", "", ""),
        ("bland altman", "bias 0.10, low -2.00", "", ""),
    ]


def test_slides_and_networks_are_tables() -> None:
    scale = {"side": 64, "steps": 2, "batch": 2, "learning_rate": 1e-3}
    row = {"accuracy": 0.75, "million_weights": 1.5}
    figures = {
        "count_a": {"n": 1, "slides": [{"seed": 7, "ccc": 0.91234, "seconds": {"cells": 3}}], "mean_ccc": 0.91234},
        "baselines": {"tiles": {"scale": scale, "amounts": {"tiles to test": 40}, "rows": {"TCNet (ours)": row}}},
    }
    card = model_card(DOCUMENT, figures)
    assert "| seed | ccc |\n|---|---|\n| 7 | 0.912 |" in card
    assert "| TCNet (ours) | 0.75 | 1.5 |" in card
    assert "64 px, 2 steps of 2 images" in card
    assert "95 % limits of the best accuracy: 0.598 to 0.858." in card
