"""An Analysis comes back from its file as it went in."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from node.results.archive import load_analysis, save_analysis
from pipeline.domain import Analysis
from tests.builders import build_report


def assert_same(one: Analysis, other: Analysis) -> None:
    assert one.differential == other.differential
    assert one.warnings == other.warnings
    assert one.timings_s == other.timings_s
    assert one.tiles == other.tiles
    np.testing.assert_array_equal(one.saliency, other.saliency)
    for cell, again in zip(one.cells, other.cells, strict=True):
        np.testing.assert_array_equal(cell.polygon, again.polygon)
        for name in ("id", "box", "class_name", "probability", "probabilities", "review"):
            assert getattr(cell, name) == getattr(again, name)
    for region, again in zip(one.regions, other.regions, strict=True):
        np.testing.assert_array_equal(region.polygon, again.polygon)
        assert region.probability == again.probability


def test_round_trip(tmp_path: Path) -> None:
    analysis = build_report().analysis
    assert analysis is not None
    save_analysis(analysis, tmp_path / "a.npz")
    assert_same(load_analysis(tmp_path / "a.npz"), analysis)


def test_saliency_is_kept(tmp_path: Path) -> None:
    analysis = build_report().analysis
    assert analysis is not None
    maps = np.arange(len(analysis.cells) * 64, dtype=np.uint8).reshape(-1, 8, 8)
    watched = replace(analysis, saliency=maps)
    save_analysis(watched, tmp_path / "a.npz")
    again = load_analysis(tmp_path / "a.npz")
    assert again.saliency is not None
    assert again.saliency.dtype == np.uint8
    assert_same(again, watched)


def test_same_analysis_same_bytes(tmp_path: Path) -> None:
    analysis = build_report().analysis
    assert analysis is not None
    for name in ("a", "b"):
        save_analysis(analysis, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_nothing_found(tmp_path: Path) -> None:
    analysis = build_report().analysis
    assert analysis is not None
    empty = Analysis(regions=(), tiles=(), cells=(), differential=analysis.differential, warnings=(), timings_s=())
    save_analysis(empty, tmp_path / "a.npz")
    assert_same(load_analysis(tmp_path / "a.npz"), empty)
