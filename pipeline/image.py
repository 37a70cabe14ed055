"""Plain images: reading them, and as a `Slide` of one level."""

from pathlib import Path

import cv2
import numpy as np

from pipeline.domain import Box, RgbImage
from pipeline.errors import ImageError


class ImageSlide:
    """An RGB array in memory as a `Slide`."""

    def __init__(self, image: RgbImage, mpp: float) -> None:
        self._image, self._mpp = image, mpp

    @property
    def size(self) -> tuple[int, int]:
        return self._image.shape[1], self._image.shape[0]

    @property
    def mpp(self) -> float:
        return self._mpp

    def read(self, box: Box, mpp: float) -> RgbImage:
        """The box resampled to `mpp`, white outside the image."""
        width, height = box.size
        part = np.full((height, width, 3), 255, dtype=np.uint8)
        x0, y0 = max(box.x0, 0), max(box.y0, 0)
        x1, y1 = min(box.x1, self.size[0]), min(box.y1, self.size[1])
        if x0 < x1 and y0 < y1:
            part[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0] = self._image[y0:y1, x0:x1]
        size = max(1, round(width * self._mpp / mpp)), max(1, round(height * self._mpp / mpp))
        if size == (width, height):
            return part
        method = cv2.INTER_AREA if mpp > self._mpp else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(part, size, interpolation=method), dtype=np.uint8)


def read_image(path: Path) -> RgbImage:
    """Any 8-bit image file as RGB.

    Raises
    ------
    ImageError
        The file is no readable image.

    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError(f"{path}: not a readable image; give PNG, JPEG, BMP or TIFF, 8 bits per channel")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
