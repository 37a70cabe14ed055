"""Stage 2: grid tiles inside the regions → countable or not (TCNet), Zhou et al. 2025."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.domain import Box, Region, RgbImage, Slide, Tile
from pipeline.geometry import grid, share_inside
from pipeline.symmetry import averaged

TILE_UM = 160.0
DARK_SHARE = 0.05  # of a tile's pixels; more than `most_density` here is no nucleus but the stain


@dataclass(frozen=True, slots=True, kw_only=True)
class TilesConfig:
    """A tile is 160 µm (1600 px at 0.1 µm/px), seen at 224 px.

    `turns` of the square's symmetries are averaged. Countable is what reaches `threshold`.

    Overstained is what has a twentieth of its pixels above `most_density` (optical density of the light as scanned,
    natural log, mean of the channels; 2.2 lets a ninth of it through). Of segpc's fields none exceeds 1.6, overstained
    none stays below 1.8 and 99 of 100 exceed 2.2; countable synthetic tiles of either centre reach 1.4.
    """

    side: int = 224
    turns: int = 4
    threshold: float = 0.5
    most_density: float = 2.2
    least_inside: float = 0.5
    batch: int = 16


class TileJudge:
    """A TCNet, or several, with its grid."""

    def __init__(self, model: nn.Module, config: TilesConfig, device: torch.device) -> None:
        self.model, self.config, self.device = model.to(device).eval(), config, device

    def candidates(self, slide: Slide, regions: Sequence[Region]) -> tuple[Box, ...]:
        """Grid tiles that lie inside the regions for the most part."""
        polygons = [region.polygon for region in regions]
        boxes = grid(slide.size, round(TILE_UM / slide.mpp))
        return tuple(box for box in boxes if share_inside(box, polygons) >= self.config.least_inside)

    def judge(self, slide: Slide, boxes: Sequence[Box], progress: Callable[[float], None]) -> tuple[Tile, ...]:
        """Each box with its probability of being countable."""
        tiles = []
        for start in range(0, len(boxes), self.config.batch):
            part = boxes[start : start + self.config.batch]
            images = [self.view(slide, box) for box in part]
            for box, value in zip(part, self.probabilities(images).tolist(), strict=True):
                tiles.append(Tile(box=box, probability=round(value, 4), countable=value >= self.config.threshold))
            progress((start + len(part)) / len(boxes))
        return tuple(tiles)

    def view(self, slide: Slide, box: Box) -> RgbImage:
        """The tile as the network sees it; one cut by the slide's edge is continued by reflection."""
        mpp = TILE_UM / self.config.side
        image = slide.read(box, mpp)[: self.config.side, : self.config.side]
        missing = [(0, self.config.side - n) for n in image.shape[:2]]
        return np.pad(image, [*missing, (0, 0)], mode="symmetric") if any(b for _, b in missing) else image

    @torch.inference_mode()
    def probabilities(self, images: Sequence[RgbImage]) -> NDArray[np.float64]:
        """(N,) probability of being countable of N images of (224, 224, 3); 0 of one that is overstained."""
        batch = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float() / 255
        density = -batch.clamp(min=0.02).log().mean(1)  # (N, 224, 224)
        readable = (density > self.config.most_density).float().mean((1, 2)) < DARK_SHARE
        logits = averaged(self.model, batch, self.config.turns)
        return np.asarray((logits.sigmoid() * readable).double().cpu().numpy())
