"""`evaluate` keeps what it measured, and measures again what changed."""

import dataclasses
import json
from pathlib import Path

import pytest

from pipeline.bundle import Bundle, stage_digests
from pipeline.errors import TrainingError
from pipeline.evaluation import run
from pipeline.evaluation.data import FAST
from pipeline.evaluation.run import evaluate

SMALL = dataclasses.replace(FAST, thumbnails=1, each=1)


def kept(out: Path, part: str) -> int:
    return (out / "parts" / f"{part}.json").stat().st_mtime_ns


def test_a_part_is_measured_once_for_the_same_stages(bundle: Bundle, tmp_path: Path) -> None:
    digests = stage_digests()
    first = evaluate(bundle, digests, SMALL, tmp_path, wanted=["regions_a"])
    written = kept(tmp_path, "regions_a")
    assert first["regions_a"]["n"] == 1
    assert 0 <= first["regions_a"]["dice"] <= 1
    assert evaluate(bundle, {**digests, "classes": "trained again"}, SMALL, tmp_path, wanted=["regions_a"]) == first
    assert kept(tmp_path, "regions_a") == written
    evaluate(bundle, {**digests, "regions": "trained again"}, SMALL, tmp_path, wanted=["regions_a"])
    assert kept(tmp_path, "regions_a") > written
    assert json.loads((tmp_path / "evaluation.json").read_text())["bundle"]["version"] == bundle.info.version


def test_a_smear_drawn_otherwise_is_measured_anew(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(bundle, stage_digests(), SMALL, tmp_path, wanted=["regions_a"])
    written = kept(tmp_path, "regions_a")
    monkeypatch.setattr(run, "smear_digest", lambda: "drawn otherwise")
    evaluate(bundle, stage_digests(), SMALL, tmp_path, wanted=["regions_a"])
    assert kept(tmp_path, "regions_a") > written
    every = run.parts(bundle, SMALL, tmp_path, tmp_path)
    real = {"classes_mll", "classes_pbc", "classes_segpc", "cells_segpc", "cells_zheng", "modes"}
    assert {name for name, part in every.items() if not part.drawn} == real


def test_an_unknown_part_is_named(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"no part nothing; there are .*regions_a.*; those of real cells need --real"
    ):
        evaluate(bundle, stage_digests(), SMALL, tmp_path, wanted=["nothing"])
