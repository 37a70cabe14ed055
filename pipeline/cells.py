"""Stage 3: a tile → its nucleated cells, by SAM.

`prompted` finds nuclei by stain and asks SAM's decoder for the cell around each, which Zhou et al. 2025 name as the
better way; `everything` is the published one, a grid of points and non-maximum suppression (Kirillov et al. 2023).
A tile is read with a margin and owns the cells whose centre lies in it, so a border cuts none and counts none twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.domain import Box, Polygon, RgbImage, Slide
from pipeline.errors import ImageError
from pipeline.geometry import area, centroid, contains, fill, grid, outline, widen
from pipeline.image import ImageSlide
from pipeline.models.sam import LOW_SIDE, SAM_SIDE, PromptDecoder, normalise
from pipeline.nuclei import Nucleus, NucleusRule, find_nuclei
from pipeline.prompts import prompts

if TYPE_CHECKING:
    from pipeline.bundle import Bundle

Mode = Literal["prompted", "everything"]
TILE_UM = 160.0  # 1600 px at 0.1 µm/px
LOW_STEP = SAM_SIDE // LOW_SIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class CellsConfig:
    """How masks are asked for and which are kept. Lengths in µm where named so.

    Each nucleus's box is widened by `widen` and by `tight`; a mask of the tight one, which may stop at the nucleus,
    must be better by `tight_malus`. Small nuclei near each other may be lobes of one and are asked for together too.
    """

    field_um: float = 180.0
    widen: float = 0.7
    tight: float = 0.35
    tight_malus: float = 0.06
    lobe_gap_um: float = 4.0
    largest_lobe_um2: float = 70.0
    widest_lobes_um: float = 20.0
    window: int = 16
    batch: int = 32
    overlap: float = 0.5
    inside: float = 0.75
    least_quality: float = 0.4
    smallest_um2: float = 18.0
    largest_um2: float = 1200.0
    points_per_side: int = 32
    everything_batch: int = 4
    everything_quality: float = 0.86
    everything_stability: float = 0.9
    nuclei: NucleusRule = field(default_factory=NucleusRule)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellMask:
    """One mask: polygon in pixels of the image it was found in, and SAM's own estimate of its IoU."""

    polygon: Polygon
    quality: float


class CellSegmenter:
    """Encoder and decoder with the rules above; `mpp` is the resolution at which SAM sees a tile."""

    def __init__(self, encoder: nn.Module, decoder: PromptDecoder, config: CellsConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.mpp = config.field_um / SAM_SIDE
        self.encoder, self.decoder = encoder.to(device).eval(), decoder.to(device).eval()

    @torch.inference_mode()
    def segment(self, image: RgbImage, mpp: float, mode: Mode = "prompted") -> tuple[CellMask, ...]:
        """Cells of an image no wider than `field_um`.

        Parameters
        ----------
        image
            (H, W, 3) uint8 at `mpp` µm/px.

        """
        nuclei = find_nuclei(image, mpp, self.config.nuclei) if mode == "prompted" else ()
        if mode == "prompted" and not nuclei:
            return ()
        scale = mpp / self.mpp
        embedding = self.embed(image, mpp)
        if mode == "prompted":
            found = self._prompted(embedding, nuclei, scale)
        else:
            found = self._everything(embedding, self.scaled_size(image, mpp))
        kept = suppress(found, self.mpp, self.config)
        return tuple(CellMask(polygon=cell.polygon / scale, quality=cell.quality) for cell in kept)

    @torch.inference_mode()
    def embed(self, image: RgbImage, mpp: float) -> Tensor:
        """(1, 256, 64, 64) of an image brought to the model's resolution and padded at the right and below."""
        size, scaled = self.scaled_size(image, mpp), image
        if size != image.shape[1::-1]:
            scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if mpp < self.mpp else cv2.INTER_LINEAR)
        pixels = torch.from_numpy(scaled).to(self.device).permute(2, 0, 1)[None].float()
        padded = torch.zeros(1, 3, SAM_SIDE, SAM_SIDE, device=self.device)
        padded[:, :, : size[1], : size[0]] = normalise(pixels)
        embedding: Tensor = self.encoder(padded)
        return embedding

    def scaled_size(self, image: RgbImage, mpp: float) -> tuple[int, int]:
        """Width and height of an image at the model's resolution, at most its square."""
        height, width = (min(SAM_SIDE, max(1, round(side * mpp / self.mpp))) for side in image.shape[:2])
        return width, height

    def _prompted(self, embedding: Tensor, nuclei: Sequence[Nucleus], scale: float) -> list[CellMask]:
        """The best mask of each nucleus and of each group of lobes, by the IoU that SAM predicts."""
        config = self.config
        asked = prompts(nuclei, self.mpp * scale, config)
        boxes = np.array([prompt.box for prompt in asked], dtype=np.float32) * scale
        points = np.array([prompt.centre for prompt in asked], dtype=np.float32) * scale
        corners = window_corners(points, config.window)
        best: dict[tuple[int, ...], tuple[float, NDArray[np.float32], NDArray[np.int64]]] = {}
        for start in range(0, len(asked), config.batch):
            part = slice(start, start + config.batch)
            logits, quality = self.decoder.decode_windows(
                embedding,
                torch.from_numpy(corners[part]).to(self.device),
                config.window,
                torch.from_numpy(points[part, None]).to(self.device),
                torch.from_numpy(boxes[part]).to(self.device),
            )
            masks = logits.float().cpu().numpy()
            for prompt, mask, value, corner in zip(asked[part], masks, quality.tolist(), corners[part], strict=True):
                score = value - prompt.malus
                if prompt.nuclei not in best or best[prompt.nuclei][0] < score:
                    best[prompt.nuclei] = score, mask, corner
        traced = ((score, trace(mask), corner) for score, mask, corner in best.values())
        return [
            CellMask(polygon=polygon + corner * 16.0, quality=score)
            for score, polygon, corner in traced
            if polygon is not None
        ]

    def _everything(self, embedding: Tensor, size: tuple[int, int]) -> list[CellMask]:
        """Masks around every point of a grid over the image's own part of the square, (width, height) `size`."""
        config, found = self.config, []
        points = torch.from_numpy(point_grid(size, SAM_SIDE / config.points_per_side)).to(self.device)
        smallest, largest = (limit / (self.mpp * LOW_STEP) ** 2 for limit in (config.smallest_um2, config.largest_um2))
        for part in torch.split(points, config.everything_batch):
            least = config.everything_quality
            logits, quality = self.decoder(embedding, part[:, None], None, multimask=True, least_quality=least)
            logits, quality = logits.flatten(0, 1), quality.flatten()
            high, inside, low = ((logits > level).sum((1, 2)) for level in (1, 0, -1))
            good = (quality >= least) & (high / low.clamp(min=1) >= config.everything_stability)
            good &= (inside >= 0.8 * smallest) & (inside <= 1.2 * largest)
            for mask, score in zip(logits[good].float().cpu().numpy(), quality[good].tolist(), strict=True):
                polygon = trace(mask)
                if polygon is not None:
                    found.append(CellMask(polygon=polygon, quality=score))
        return found

    def cut(self, slide: Slide, tile: Box, mode: Mode) -> tuple[CellMask, ...]:
        """Cells a tile owns, polygons in level-0 pixels; those up to 1 µm beyond its border come too."""
        centre = ((tile.x0 + tile.x1) // 2, (tile.y0 + tile.y1) // 2)
        half = round(self.config.field_um / slide.mpp / 2)
        box = Box(x0=centre[0] - half, y0=centre[1] - half, x1=centre[0] + half, y1=centre[1] + half)
        mpp = 2 * half * slide.mpp / SAM_SIDE
        image = slide.read(box, mpp)
        factor = 2 * half / image.shape[0]
        slack = widen(tile, max(1, round(1.0 / slide.mpp)))
        cells = []
        for cell in self.segment(image, mpp, mode):
            polygon = cell.polygon * factor + (box.x0, box.y0)
            if contains(slack, centroid(polygon)):
                cells.append(CellMask(polygon=polygon, quality=cell.quality))
        return tuple(cells)


def segment_image(image: RgbImage, mpp: float, bundle: "Bundle", mode: Mode = "prompted") -> NDArray[np.uint16]:
    """Instance labels of a plain image of any size: 0 background, cells from 1; (H, W) uint16.

    Parameters
    ----------
    image
        (H, W, 3) uint8 at `mpp` µm/px.

    Raises
    ------
    ImageError
        It holds more than 65,535 cells.

    """
    slide = ImageSlide(image, mpp)
    segmenter = bundle.cells
    if max(slide.size) * mpp <= segmenter.config.field_um:
        cells: Sequence[CellMask] = segmenter.segment(image, mpp, mode)
    else:
        tiles = grid(slide.size, round(TILE_UM / mpp), least=0.0)
        cells = merge_seams([cell for tile in tiles for cell in segmenter.cut(slide, tile, mode)])
    if len(cells) > 65_535:
        raise ImageError(f"{len(cells)} cells do not fit 16-bit labels; cut the image into smaller ones")
    return fill([cell.polygon for cell in cells], image.shape[:2]).astype(np.uint16)


def point_grid(size: tuple[int, int], step: float) -> NDArray[np.float32]:
    """(N, 2) points (x, y) about `step` apart, evenly over an image of (width, height) `size`, row by row."""
    counts = [max(1, round(side / step)) for side in size]
    x, y = ((np.arange(n, dtype=np.float32) + 0.5) * (side / n) for n, side in zip(counts, size, strict=True))
    return np.asarray(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), dtype=np.float32)


def window_corners(points: NDArray[np.float32], side: int) -> NDArray[np.int64]:
    """(B, 2) first tokens of windows of `side` tokens around (B, 2) points of the 1024-pixel input."""
    first = np.round(points / 16 - side / 2).astype(np.int64)
    return np.asarray(np.clip(first, 0, 64 - side), dtype=np.int64)


def trace(logits: NDArray[np.float32]) -> Polygon | None:
    """The polygon of a mask of (h, w) logits, in pixels of the input, four to a logit; smoothed by interpolation."""
    inside = logits > 0
    if not inside.any():
        return None
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    top, left = max(rows[0] - 2, 0), max(columns[0] - 2, 0)
    crop = logits[top : rows[-1] + 3, left : columns[-1] + 3]
    fine = cv2.resize(crop, (crop.shape[1] * LOW_STEP, crop.shape[0] * LOW_STEP), interpolation=cv2.INTER_LINEAR)
    polygon = outline(fine > 0, tolerance=0.8)
    return None if polygon is None else polygon + np.array([left, top]) * LOW_STEP


def suppress(cells: Sequence[CellMask], mpp: float, config: CellsConfig) -> list[CellMask]:
    """Drop masks of impossible size or low quality, then each that overlaps or lies inside a better one.

    Polygons are in pixels of a 1024 x 1024 input at `mpp` µm/px.
    """
    sizes = [area(cell.polygon) * mpp**2 for cell in cells]
    chosen = [
        cell
        for cell, size in zip(cells, sizes, strict=True)
        if config.smallest_um2 <= size <= config.largest_um2 and cell.quality >= config.least_quality
    ]
    chosen.sort(key=lambda cell: -cell.quality)
    kept: list[CellMask] = []
    taken = np.zeros((LOW_SIDE, LOW_SIDE), dtype=np.int32)
    areas: list[int] = []
    for cell in chosen:
        own = fill([cell.polygon], (LOW_SIDE, LOW_SIDE), 1 / LOW_STEP) > 0
        size = int(own.sum())
        if size == 0:
            continue
        numbers, shared = np.unique(taken[own], return_counts=True)
        clash = any(
            common / (size + areas[n - 1] - common) > config.overlap or common / min(size, areas[n - 1]) > config.inside
            for n, common in zip(numbers.tolist(), shared.tolist(), strict=True)
            if n > 0
        )
        if not clash:
            kept.append(cell)
            areas.append(size)
            taken[own & (taken == 0)] = len(kept)
    return kept


def merge_seams(cells: Sequence[CellMask]) -> list[CellMask]:
    """Of cells seen by two neighbouring tiles keep the better: centres nearer than half the smaller radius."""
    centres = np.array([centroid(cell.polygon) for cell in cells]).reshape(-1, 2)
    radii = np.sqrt(np.array([area(cell.polygon) for cell in cells]) / np.pi)
    order = sorted(range(len(cells)), key=lambda i: (-cells[i].quality, *centres[i]))
    reach = float(radii.max()) if len(cells) else 1.0
    places: dict[tuple[int, int], list[int]] = {}
    kept = []
    for i in order:
        column, row = (int(v // reach) for v in centres[i])
        near = [j for dx in (-1, 0, 1) for dy in (-1, 0, 1) for j in places.get((column + dx, row + dy), [])]
        if any(np.hypot(*(centres[i] - centres[j])) < 0.5 * min(radii[i], radii[j]) for j in near):
            continue
        places.setdefault((column, row), []).append(i)
        kept.append(i)
    return [cells[i] for i in sorted(kept)]
