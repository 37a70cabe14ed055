"""Stage 0: may this slide be counted? Blank, wrong stain, overstained, out of focus, wrong magnification.

Each check is a plain measurement on a thumbnail or on tiles, so that its reason can be read by a person.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.domain import Box, RgbImage, Slide
from pipeline.nuclei import azure, optical_density

FOCUS_MPP = 0.25
STRONG_AZURE = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRule:
    """Limits. `finest_mpp` and `coarsest_mpp` bound the scans whose cells can be told apart."""

    finest_mpp: float = 0.03
    coarsest_mpp: float = 0.3
    least_tissue: float = 0.002
    tissue_density: float = 0.06
    overstained_density: float = 1.5
    least_azure_share: float = 0.002
    least_focus: float = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class TileQuality:
    """Measurements of one tile: mean optical density, share of strongly azure pixels, sharpness of edges."""

    density: float
    azure_share: float
    focus: float


def slide_problem(slide: Slide, thumbnail: RgbImage, rule: QualityRule | None = None) -> str:
    """Why the slide cannot be counted, for a person to read; empty when nothing speaks against it.

    Parameters
    ----------
    thumbnail
        The whole slide, (H, W, 3).

    """
    rule = rule or QualityRule()
    if not rule.finest_mpp <= slide.mpp <= rule.coarsest_mpp:
        return (
            f"The slide has {slide.mpp:.3f} µm per pixel; cells can be told apart between "
            f"{rule.finest_mpp} and {rule.coarsest_mpp} µm per pixel (40x to 100x objective)."
        )
    density = optical_density(thumbnail).mean(axis=2)
    tissue = float((density > rule.tissue_density).mean())
    if tissue < rule.least_tissue:
        return "The slide is blank: nothing stained was found on it."
    if float(np.median(density[density > rule.tissue_density])) > rule.overstained_density:
        return "The slide is overstained: its stained area is nearly opaque."
    return ""


def measure(image: RgbImage) -> TileQuality:
    """Measure a tile read at FOCUS_MPP, (H, W, 3)."""
    density = optical_density(image)
    grey = density.mean(axis=2)
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    edges = np.abs(cv2.Laplacian(smooth, cv2.CV_32F))
    contrast = float(np.percentile(grey, 99) - np.percentile(grey, 5)) + 0.05
    return TileQuality(
        density=float(grey.mean()),
        azure_share=float((azure(image) > STRONG_AZURE).mean()),
        focus=float(np.percentile(edges, 99)) / contrast,
    )


def tiles_problem(slide: Slide, tiles: Sequence[Box], rule: QualityRule | None = None, *, most: int = 9) -> str:
    """Why the tiles cannot be counted, judged on at most `most` of them, evenly drawn; empty when they can."""
    rule = rule or QualityRule()
    if not tiles:
        return ""
    chosen = [tiles[round(i)] for i in np.linspace(0, len(tiles) - 1, min(most, len(tiles)))]
    measured = [measure(slide.read(box, max(FOCUS_MPP, slide.mpp))) for box in chosen]
    if float(np.median([tile.azure_share for tile in measured])) < rule.least_azure_share:
        return "No azure-stained nuclei were found: the stain is not Romanowsky (Wright, Giemsa, May-Grünwald-Giemsa)."
    if float(np.median([tile.focus for tile in measured])) < rule.least_focus:
        return "The slide is out of focus."
    return ""
