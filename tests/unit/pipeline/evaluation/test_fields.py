"""Real fields as tiles: the faults measured are those of the phantom, the same in every evaluation."""

from pathlib import Path

import cv2
import numpy as np

from pipeline.bundle import Bundle
from pipeline.evaluation.fields import REFUSED, real_tiles
from pipeline.phantom.faults import with_fault
from pipeline.phantom.samples import FieldSample
from pipeline.tiles import TILE_UM


def test_each_field_is_judged_as_it_is_and_with_the_phantoms_faults(
    bundle: Bundle, field: FieldSample, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    view = np.ascontiguousarray(field.image[:224, :224])
    for number in range(2):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), np.tile(view, (5, 5, 1))[..., ::-1])
    figures = real_tiles(bundle, tmp_path, None, lambda _done: None)
    assert figures == real_tiles(bundle, tmp_path, None, lambda _done: None)
    assert figures["n"] == figures["accepted"]["n"] == 2
    assert list(figures["refused"]) == list(REFUSED)
    assert figures["refused"]["blank"]["value"] == 1
    mpp = TILE_UM / 224
    for fault in REFUSED.values():  # another number, another strength
        assert not np.array_equal(with_fault(view, mpp, fault, 0), with_fault(view, mpp, fault, 1))
