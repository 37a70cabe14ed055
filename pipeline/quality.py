"""Stage 0: may this slide be counted? Blank, wrong stain, overstained, out of focus, wrong magnification.

Each check is a plain measurement on a thumbnail or on tiles, so that its reason can be read by a person.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.domain import Box, RgbImage, Slide
from pipeline.nuclei import NucleusRule, azure, find_nuclei, nucleus_mask, optical_density

FOCUS_MPP = 0.25
STRONG_AZURE = 0.6
ANY_NUCLEUS = NucleusRule(smallest_um2=1.0, largest_um2=3000.0)
FEWEST_NUCLEI = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRule:
    """Limits, of medians over tiles where they are of tiles; see `TileQuality`.

    `finest_mpp` and `coarsest_mpp` bound the scans whose cells can be told apart. Measured on 29 segpc fields, mosaics
    of mll and two synthetic centres: density up to 2.1 (overstained from 2.4), focus from 0.09 (blurred below 0.02),
    tint up to 1.16 (haematoxylin and eosin from 1.28), nuclei of 9 to 11 µm as a rule (the scale 2.5 times too fine or
    too coarse: 4, 24).
    """

    finest_mpp: float = 0.03
    coarsest_mpp: float = 0.3
    least_tissue: float = 0.01
    tissue_density: float = 0.06
    most_density: float = 2.25
    least_azure_share: float = 0.002
    least_focus: float = 0.03
    most_tint: float = 1.22
    least_nucleus_um: float = 5.5
    most_nucleus_um: float = 17.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TileQuality:
    """Measurements of one tile.

    `density`: optical density that 2 % of the pixels exceed, so that of nuclei. `azure_share`: of strongly azure
    pixels. `focus`: sharpness of edges by contrast. `tint`: red and blue absorbed by nuclei, by green; haematoxylin
    absorbs more red and blue than the azure-eosin complex does. `nucleus_um`: the diameter of nuclei, half of their
    area being in larger ones; 0 without any.
    """

    density: float
    azure_share: float
    focus: float
    tint: float
    nucleus_um: float


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
    return ""


def measure(image: RgbImage, mpp: float) -> TileQuality:
    """Measure a tile read at `mpp`, about FOCUS_MPP, (H, W, 3)."""
    density = optical_density(image)
    grey = density.mean(axis=2)
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    edges = np.abs(cv2.Laplacian(smooth, cv2.CV_32F))
    contrast = float(np.percentile(grey, 99) - np.percentile(grey, 5)) + 0.05
    nuclei = nucleus_mask(image, mpp, ANY_NUCLEUS)
    red, green, blue = density[nuclei].mean(axis=0) if nuclei.any() else (0.0, 1.0, 0.0)
    return TileQuality(
        density=float(np.percentile(grey, 98)),
        azure_share=float((azure(image) > STRONG_AZURE).mean()),
        focus=float(np.percentile(edges, 99)) / contrast,
        tint=float((red + blue) / max(green, 1e-3)),
        nucleus_um=_nucleus_diameter(image, mpp),
    )


def _nucleus_diameter(image: RgbImage, mpp: float) -> float:
    areas = np.sort([nucleus.area_um2 for nucleus in find_nuclei(image, mpp, ANY_NUCLEUS)])
    if len(areas) < FEWEST_NUCLEI:
        return 0.0
    total = np.cumsum(areas)
    return float(2 * np.sqrt(areas[np.searchsorted(total, total[-1] / 2)] / np.pi))


def tiles_problem(slide: Slide, tiles: Sequence[Box], rule: QualityRule | None = None, *, most: int = 9) -> str:
    """Why the tiles cannot be counted, judged on at most `most` of them, evenly drawn; empty when they can."""
    if not tiles:
        return ""
    chosen = [tiles[round(i)] for i in np.linspace(0, len(tiles) - 1, min(most, len(tiles)))]
    mpp = max(FOCUS_MPP, slide.mpp)
    return problem([measure(slide.read(box, mpp), mpp) for box in chosen], rule)


def problem(measured: Sequence[TileQuality], rule: QualityRule | None = None) -> str:
    """What speaks against tiles, by the medians of their measurements; empty when nothing does."""
    rule = rule or QualityRule()
    rows = [(tile.density, tile.azure_share, tile.focus, tile.tint) for tile in measured]
    density, azure_share, focus, tint = (float(v) for v in np.median(rows, axis=0))
    sizes = [tile.nucleus_um for tile in measured if tile.nucleus_um > 0]
    if density > rule.most_density:
        return "The slide is overstained: its nuclei are nearly opaque."
    if azure_share < rule.least_azure_share or tint > rule.most_tint:
        return "No azure-stained nuclei were found: the stain is not Romanowsky (Wright, Giemsa, May-Grünwald-Giemsa)."
    if focus < rule.least_focus:
        return "The slide is out of focus."
    if sizes and not rule.least_nucleus_um <= (median := float(np.median(sizes))) <= rule.most_nucleus_um:
        return (
            f"Nuclei measure {median:.1f} µm across, where {rule.least_nucleus_um:g} to {rule.most_nucleus_um:g} are "
            "expected: the µm per pixel that the slide states must be wrong; correct it and send the slide again."
        )
    return ""
