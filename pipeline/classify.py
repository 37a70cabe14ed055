"""Stage 4: a crop around a cell → probabilities of the 22 classes (MAE ViT), calibrated."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.domain import CELL_CLASSES, Box, Polygon, RgbImage, Slide
from pipeline.explain import saliency, watched
from pipeline.geometry import centroid
from pipeline.models.mae import CellClassifier
from pipeline.symmetry import symmetries

if TYPE_CHECKING:
    from pipeline.bundle import Bundle

BLOCK_UM = 160.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassesConfig:
    """`field_um` is the width of a crop; `turns` of the square's symmetries are averaged."""

    field_um: float = 21.6
    temperature: float = 1.0
    turns: int = 4
    batch: int = 64


class CellClasser:
    """The classifier with its crop and calibration."""

    def __init__(
        self, model: CellClassifier, classes: Sequence[str], config: ClassesConfig, device: torch.device
    ) -> None:
        self.model, self.config, self.device = model.to(device).eval(), config, device
        self.columns = [CELL_CLASSES.index(name) for name in classes]
        self.mpp = config.field_um / model.encoder.size

    def crops(self, slide: Slide, polygons: Sequence[Polygon]) -> list[RgbImage]:
        """The square around each cell's centre of area; a neighbourhood of cells is read from the slide once."""
        mpp = max(self.mpp, slide.mpp)
        block = round(BLOCK_UM / slide.mpp)
        half_px = self.config.field_um / 2 / slide.mpp
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        centres = [centroid(polygon) for polygon in polygons]
        for i, (x, y) in enumerate(centres):
            groups[int(x // block), int(y // block)].append(i)
        found: dict[int, RgbImage] = {}
        for (column, row), members in groups.items():
            corner = (column * block - math.ceil(half_px) - 2, row * block - math.ceil(half_px) - 2)
            side = block + 2 * (math.ceil(half_px) + 2)
            area = slide.read(Box(x0=corner[0], y0=corner[1], x1=corner[0] + side, y1=corner[1] + side), mpp)
            scale, width = area.shape[0] / side, round(self.config.field_um / mpp)
            for i in members:
                left, top = (round((v - half_px - c) * scale) for v, c in zip(centres[i], corner, strict=True))
                found[i] = self.fit(area[top : top + width, left : left + width])
        return [found[i] for i in range(len(polygons))]

    def fit(self, image: RgbImage) -> RgbImage:
        """Any image as the model's input square."""
        side = self.model.encoder.size
        if image.shape[:2] == (side, side):
            return image
        method = cv2.INTER_AREA if min(image.shape[:2]) > side else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(image, (side, side), interpolation=method), dtype=np.uint8)

    def probabilities(self, crops: Sequence[RgbImage]) -> NDArray[np.float64]:
        """(N, 22) in the order of CELL_CLASSES; classes the bundle does not know have 0; rows add to 1."""
        return self.explained(crops)[0]

    @torch.inference_mode()
    def explained(self, crops: Sequence[RgbImage]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        """`probabilities`, and where the model looked in each crop as it stands: (N, g, g), 0..255 over the field."""
        result = np.zeros((len(crops), len(CELL_CLASSES)))
        grid = self.model.encoder.side
        maps = np.zeros((len(crops), grid, grid), dtype=np.uint8)
        for start in range(0, len(crops), self.config.batch):
            part = np.stack(crops[start : start + self.config.batch])
            images = torch.from_numpy(part).to(self.device).permute(0, 3, 1, 2).float() / 255
            upright, *turned = symmetries(images, self.config.turns)
            with watched(self.model.encoder) as attentions:
                first = self.model(upright)
            maps[start : start + len(part)] = saliency(attentions)
            logits = torch.stack([first, *(self.model(view) for view in turned)]).mean(0) / self.config.temperature
            known = logits[:, self.columns].double().softmax(1).cpu().numpy()
            result[start : start + len(part), self.columns] = known
        return result, maps


def classify_crop(image: RgbImage, mpp: float | None, bundle: "Bundle") -> NDArray[np.float64]:
    """(22,) probabilities of a single-cell image.

    Parameters
    ----------
    image
        (H, W, 3) with the cell in the middle.
    mpp
        Its µm/px; None takes the whole image as the crop.

    """
    classer = bundle.classes
    if mpp is not None:
        side = max(1, round(classer.config.field_um / mpp))
        height, width = image.shape[:2]
        pad_y, pad_x = max(0, side - height), max(0, side - width)
        edges = (pad_y // 2, pad_y - pad_y // 2, pad_x // 2, pad_x - pad_x // 2)
        image = np.asarray(cv2.copyMakeBorder(image, *edges, cv2.BORDER_REPLICATE), dtype=np.uint8)
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        image = image[top : top + side, left : left + side]
    row: NDArray[np.float64] = classer.probabilities([classer.fit(image)])[0]
    return row
