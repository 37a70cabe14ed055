from pipeline.card import model_card

DOCUMENT = {
    "name": "m",
    "version": "1",
    "training_data": [{"name": "set", "licence": "CC BY 4.0", "doi": "10.1/x"}],
    "learnt_from": {"synthetic cells only": ["plasma cell"]},
}


def test_only_measured_figures_appear() -> None:
    card = model_card(
        DOCUMENT, {"classes_pbc": {"n": 500, "accuracy": 0.91, "calibration_error": 0.02, "per_class": {}}}
    )
    assert "| pbc, held-out quarter: accuracy | 0.90 | 0.910 | 500 | yes |" in card
    assert "segpc, isolated" not in card
    assert "synthetic cells only: plasma cell" in card
    assert "doi 10.1/x" in card


def test_a_missed_target_says_no() -> None:
    figures = {"tiles_segpc": {"fields": 12, "accepted": 0.5, "refused": {"blurred": 1.0}}}
    card = model_card(DOCUMENT, figures)
    assert "| segpc fields accepted by TCNet | 0.85 | 0.500 | 12 | no |" in card
    assert "| the same, blurred: refused | 0.90 | 1.000 | 12 | yes |" in card
