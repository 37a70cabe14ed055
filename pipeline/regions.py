"""Stage 1: thumbnail → body-tail junction (TextureUNet), Zhou et al. 2025."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.domain import Box, Region, RgbImage, Slide
from pipeline.models.texture_unet import TextureUNet


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionsConfig:
    """As published: 10 µm/px, or coarser so that the longest side is `side`; zero padded."""

    mpp: float = 10.0
    side: int = 256
    threshold: float = 0.5
    smallest_um2: float = 4 * 160.0**2
    tolerance_px: float = 1.0


class RegionFinder:
    """TextureUNet with its thumbnail."""

    def __init__(self, model: TextureUNet, config: RegionsConfig, device: torch.device) -> None:
        self.model, self.config, self.device = model.to(device).eval(), config, device

    def thumbnail(self, slide: Slide) -> tuple[RgbImage, float]:
        """The whole slide and its µm/px."""
        mpp = max(self.config.mpp, max(slide.size) * slide.mpp / self.config.side)
        return slide.read(Box(x0=0, y0=0, x1=slide.size[0], y1=slide.size[1]), mpp), mpp

    @torch.inference_mode()
    def probability(self, thumbnail: RgbImage) -> NDArray[np.float32]:
        """(H, W) in 0..1 of belonging to the junction; the thumbnail is no larger than `side`."""
        height, width = thumbnail.shape[:2]
        image = torch.from_numpy(pad(thumbnail, self.config.side)).to(self.device).permute(2, 0, 1)[None].float() / 255
        map_ = self.model(image).sigmoid()[0, 0].cpu().numpy()
        return np.asarray(map_[:height, :width], dtype=np.float32)

    def find(self, slide: Slide) -> tuple[Region, ...]:
        """Countable regions, level-0 pixels, largest first; empty when there is none."""
        thumbnail, mpp = self.thumbnail(slide)
        return self.polygons(self.probability(thumbnail), mpp, slide.mpp)

    def polygons(self, probability: NDArray[np.float32], mpp: float, slide_mpp: float) -> tuple[Region, ...]:
        """Outlines of the connected parts of a probability map at `mpp`."""
        inside = (probability > self.config.threshold).astype(np.uint8)
        contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        found = []
        for contour in sorted(contours, key=cv2.contourArea, reverse=True):
            if cv2.contourArea(contour) * mpp**2 < self.config.smallest_um2:
                continue
            own = cv2.drawContours(np.zeros_like(inside), [contour], -1, 1, cv2.FILLED).astype(bool)
            simple = cv2.approxPolyDP(contour, self.config.tolerance_px, closed=True)[:, 0, :]
            polygon = (simple.astype(np.float64) + 0.5) * (mpp / slide_mpp)
            found.append(Region(polygon=polygon, probability=round(float(probability[own].mean()), 4)))
        return tuple(found)


def pad(image: RgbImage, side: int) -> RgbImage:
    """Zero padded at the right and below to `side` x `side`; a longer side is cut by the rounding pixel it exceeds."""
    square = np.zeros((side, side, 3), dtype=np.uint8)
    cut = image[:side, :side]
    square[: cut.shape[0], : cut.shape[1]] = cut
    return square


def whole(slide: Slide) -> Region:
    """The slide's own rectangle as a region, for scanners that deliver only the countable area."""
    width, height = slide.size
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    return Region(polygon=np.array(corners, dtype=np.float64), probability=1.0)
