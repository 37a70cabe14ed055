"""The committed weights against their committed figures: none may fall by more than chance on a fixed small subset."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.bundle import DEFAULT, Bundle
from pipeline.evaluation.subset import fallen, real_subset, synthetic_subset
from pipeline.metrics import proportion


@pytest.fixture(scope="module")
def committed() -> Mapping[str, Any]:
    return json.loads((DEFAULT / "evaluation.json").read_text())


def of_part(committed: Mapping[str, Any], part: str) -> dict[str, Any]:
    assert part in committed, (
        f"evaluation.json lacks {part}: run marrow-node evaluate --real ../shared/data and commit it"
    )
    return {name: figure for name, figure in committed[part].items() if isinstance(figure, dict)}


def test_synthetic_figures_have_not_fallen(bundle: Bundle, committed: Mapping[str, Any]) -> None:
    measured = synthetic_subset(bundle)
    assert measured.keys() == of_part(committed, "subset_synthetic").keys()
    assert fallen(of_part(committed, "subset_synthetic"), measured) == {}


@pytest.mark.shared
def test_real_figures_have_not_fallen(bundle: Bundle, committed: Mapping[str, Any], shared: Path) -> None:
    measured = real_subset(bundle, shared)
    assert measured.keys() == of_part(committed, "subset_real").keys()
    assert fallen(of_part(committed, "subset_real"), measured) == {}


def test_a_fall_beyond_chance_is_named_and_chance_is_not() -> None:
    before = {"cells": proportion([True] * 90 + [False] * 10)}
    assert fallen(before, {"cells": proportion([True] * 84 + [False] * 16)}) == {}
    text = fallen(before, {"cells": proportion([True] * 80 + [False] * 20)})["cells"]
    assert text == "0.800 of 100, was 0.900; chance allows 0.826"
