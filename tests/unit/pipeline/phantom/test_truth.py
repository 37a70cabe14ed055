"""The truth of a synthetic smear agrees with what was placed and drawn."""

import json
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.domain import CELL_CLASSES, Box
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.spec import EVEN_MARROW, PhantomSpec
from pipeline.phantom.truth import label_image, region_mask, write_truth


@pytest.fixture(scope="module")
def slide() -> PhantomSlide:
    return PhantomSlide(PhantomSpec(seed=7, size=(12000, 8000), mpp=0.25))


def test_the_demo_slide_has_enough_cells_of_every_class(slide: PhantomSlide) -> None:
    counts = dict(slide.truth.counts)
    assert sum(counts.values()) >= 400
    assert all(counts[name] > 0 for name in CELL_CLASSES)


def test_counts_equal_the_placed_cells(slide: PhantomSlide) -> None:
    placed = Counter(cell.class_name for tile in slide.truth.tiles if tile.countable for cell in slide.cells(tile.box))
    assert dict(slide.truth.counts) == {name: placed[name] for name in CELL_CLASSES}


def test_countable_tiles_lie_in_the_region(slide: PhantomSlide) -> None:
    mask = region_mask(slide.layout, 10.0)
    for tile in slide.truth.tiles:
        rows = slice(tile.box.y0 // 40, tile.box.y1 // 40)
        columns = slice(tile.box.x0 // 40, tile.box.x1 // 40)
        if tile.countable:
            assert mask[rows, columns].mean() > 0.6
    assert 0 < sum(tile.countable for tile in slide.truth.tiles) < mask.sum() / 256


def test_cells_are_darker_than_their_surroundings(slide: PhantomSlide) -> None:
    tile = next(tile for tile in slide.truth.tiles if tile.countable)
    image = slide.read(tile.box, slide.mpp).mean(axis=2)
    cells = tuple(cell for cell in slide.truth.cells if _inside(cell.box, tile.box))
    labels = label_image(cells, tile.box)
    assert len(np.unique(labels)) == len(cells) + 1
    assert image[labels > 0].mean() < image[labels == 0].mean() - 30


def _inside(inner: Box, outer: Box) -> bool:
    return outer.x0 <= inner.x0 and outer.y0 <= inner.y0 and inner.x1 <= outer.x1 and inner.y1 <= outer.y1


def test_composition_is_followed() -> None:
    spec = PhantomSpec(seed=2, size=(12000, 8000), mpp=0.25, composition=EVEN_MARROW)
    counts = [count for _, count in PhantomSlide(spec).truth.counts]
    assert min(counts) > 0.5 * max(counts)


def test_the_written_truth_says_synthetic(slide: PhantomSlide, tmp_path: Path) -> None:
    document = json.loads(write_truth(slide.truth, tmp_path).read_text(encoding="utf-8"))
    assert document["synthetic"] is True
    assert "not for diagnostic use" in document["note"]
    assert document["differential"]["total"] == len(document["cells"]) == len(slide.truth.cells)
    roi = cv2.imread(str(tmp_path / "roi.png"), cv2.IMREAD_GRAYSCALE)
    assert roi.shape == (200, 300)
    assert 0.1 < (roi == 255).mean() < 0.6
    masks = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (tmp_path / "masks").iterdir()]
    assert len(masks) == sum(tile.countable for tile in slide.truth.tiles)
    seen = set(np.unique(np.concatenate([np.unique(mask) for mask in masks]))) - {0}
    assert seen == {cell.id + 1 for cell in slide.truth.cells}
    assert sum(entry["count"] for entry in document["differential"]["classes"]) == len(document["cells"])


def test_writing_more_cells_takes_no_more_memory(slide: PhantomSlide, tmp_path: Path) -> None:
    def peak(times: int) -> int:
        truth = replace(slide.truth, tiles=(), cells=slide.truth.cells[:300] * times)
        tracemalloc.start()
        written = write_truth(truth, tmp_path)
        value = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(json.loads(written.read_text(encoding="utf-8"))["cells"]) == len(truth.cells)
        return value

    peak(1)
    assert peak(3) < 1.2 * peak(1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("mpp", 9.0), ("seed", -1), ("size", (0, 5)), ("centre", "c"), ("composition", {"zebra": 1.0}), ("density", 0.0)],
)
def test_a_spec_out_of_range_names_its_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        PhantomSpec(**{"seed": 1, field: value})  # type: ignore[arg-type] # the wrong value is what is tested


@pytest.mark.parametrize(("size", "mpp"), [((300, 200), 0.25), ((1, 1), 0.1), ((100, 600), 1.5), ((700, 900), 0.05)])
def test_any_size_and_resolution_can_be_made(size: tuple[int, int], mpp: float) -> None:
    slide = PhantomSlide(PhantomSpec(seed=1, size=size, mpp=mpp))
    corner = Box(x0=0, y0=0, x1=min(size[0], 64), y1=min(size[1], 64))
    assert slide.read(corner, mpp).shape == (corner.y1, corner.x1, 3)
    assert len(slide.truth.cells) == sum(count for _, count in slide.truth.counts)
