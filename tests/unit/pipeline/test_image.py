from pathlib import Path

import numpy as np
import pytest

from pipeline.domain import Box
from pipeline.errors import ImageError
from pipeline.image import ImageSlide, read_image


def test_read_gives_the_promised_size_and_white_outside() -> None:
    slide = ImageSlide(np.zeros((40, 60, 3), np.uint8), 0.2)
    assert slide.size == (60, 40)
    read = slide.read(Box(x0=-10, y0=0, x1=60, y1=40), 0.4)
    assert read.shape == (20, 35, 3)
    assert (read[:, :5] == 255).all()
    assert (read[:, 5:] == 0).all()


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cell.png"
    path.write_text("not a picture")
    with pytest.raises(ImageError, match=r"cell\.png: not a readable image"):
        read_image(path)
