"""Crops of cells: at one scale, the surest of each class first."""

import numpy as np

from pipeline.crops import class_strips
from pipeline.domain import Box, RgbImage
from tests.builders import build_cell


class Chart:
    """A slide whose every pixel has the colour of its place: red along x, green along y."""

    size, mpp = (2560, 256), 0.5

    def read(self, box: Box, mpp: float) -> RgbImage:
        side = round((box.x1 - box.x0) * self.mpp / mpp)
        xs = np.linspace(box.x0, box.x1 - 1, side)
        image = np.zeros((side, side, 3), np.uint8)
        image[..., 0] = np.clip(xs / 10, 0, 255)
        return image


def test_the_surest_cells_of_each_class_stand_side_by_side() -> None:
    cells = [
        build_cell(number, name, (x, 128.0), 10.0, probability=probability)
        for number, (name, x, probability) in enumerate(
            [("monocyte", 500, 0.7), ("monocyte", 1500, 0.9), ("monocyte", 2000, 0.9), ("basophil", 1000, 0.5)], start=1
        )
    ]
    strips = class_strips(Chart(), cells, ("basophil", "monocyte", "eosinophil"), 20.0, 40, 2)
    assert {name: strip.shape for name, strip in strips.items()} == {"basophil": (40, 40, 3), "monocyte": (40, 80, 3)}
    assert list(strips) == ["basophil", "monocyte"]
    reds = [half[..., 0].mean() for half in np.split(strips["monocyte"], 2, axis=1)]
    assert np.allclose(reds, [150, 200], atol=1)
