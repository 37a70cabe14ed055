"""Nuclei by stain separation: where to prompt SAM.

In Romanowsky stains azure B colours nuclei; eosin and haemoglobin colour the rest (Ruifrok and Johnston 2001 for
optical density as the linear scale of stain). `azure` is high where red and green are absorbed more than blue, which
grey or pink red cells are not.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_multiotsu
from skimage.segmentation import watershed

from pipeline.domain import RgbImage

WORKING_MPP = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleusRule:
    """What counts as a nucleus. `least_azure` bounds the threshold below where a field holds hardly any."""

    least_azure: float = 0.35
    most_azure: float = 0.95
    smallest_um2: float = 9.0
    largest_um2: float = 700.0
    split_um: float = 0.55
    blur_um: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Nucleus:
    """Centre, box (x0, y0, x1, y1) and area; pixels of the image it was found in."""

    centre: tuple[float, float]
    box: tuple[float, float, float, float]
    area_um2: float


def optical_density(image: RgbImage) -> NDArray[np.float32]:
    """(H, W, 3), 0 at the background: the brightest part of each channel is the white point."""
    small = image[::4, ::4].reshape(-1, 3)
    white = np.maximum(np.percentile(small, 95, axis=0), 60.0)
    return np.asarray(-np.log(np.clip(image.astype(np.float32), 4.0, None) / white), dtype=np.float32)


def azure(image: RgbImage) -> NDArray[np.float32]:
    """(H, W) azure stain of an RGB image, about 0 for background and red cells and 0.5 to 2 for nuclei."""
    density = optical_density(image)
    return np.asarray(density[..., 1] + 0.6 * density[..., 0] - 1.2 * density[..., 2], dtype=np.float32)


def nucleus_mask(image: RgbImage, mpp: float, rule: NucleusRule) -> NDArray[np.bool_]:
    """(H, W) true in nuclei."""
    stain = cv2.GaussianBlur(azure(image), (0, 0), max(0.5, rule.blur_um / mpp))
    stained = stain[stain > rule.least_azure / 2]
    if stained.size < 200:
        return np.zeros(stain.shape, dtype=bool)
    sample = np.clip(stained[:: max(1, stained.size // 20_000)], 0, 2.5)
    levels = (
        threshold_multiotsu(sample, classes=3, nbins=64) if np.ptp(sample) > 0.1 else np.array([rule.most_azure] * 2)
    )
    limit = float(np.clip(levels[0], rule.least_azure, rule.most_azure))
    mask = (stain > limit).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    mask = cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc), cv2.MORPH_CLOSE, disc)
    return np.asarray(ndimage.binary_fill_holes(mask), dtype=bool)


def find_nuclei(image: RgbImage, mpp: float, rule: NucleusRule | None = None) -> tuple[Nucleus, ...]:
    """Every nucleus, touching ones split at their necks.

    Parameters
    ----------
    image
        (H, W, 3) uint8 at `mpp` µm/px.

    """
    rule = rule or NucleusRule()
    factor = mpp / WORKING_MPP
    if factor < 1:
        size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    else:
        factor = 1.0
    scale = mpp / factor  # µm per working pixel
    labels = split(nucleus_mask(image, scale, rule), rule.split_um / scale)
    found = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        if place is None:
            continue
        mask = labels[place] == number
        area = float(mask.sum()) * scale**2
        if not rule.smallest_um2 <= area <= rule.largest_um2:
            continue
        y, x = np.nonzero(mask)
        top, left = place[0].start, place[1].start
        found.append(
            Nucleus(
                centre=(float(x.mean() + left + 0.5) / factor, float(y.mean() + top + 0.5) / factor),
                box=(left / factor, top / factor, place[1].stop / factor, place[0].stop / factor),
                area_um2=area,
            )
        )
    return tuple(found)


def split(mask: NDArray[np.bool_], depth: float) -> NDArray[np.int32]:
    """Label components; one whose distance map has peaks deeper than `depth` pixels apart is cut between them."""
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    distance = cv2.GaussianBlur(distance, (0, 0), 1.0)
    lowered = np.maximum(distance - depth, 0)
    peaks = _reconstruct(lowered, distance)
    markers, _ = ndimage.label((distance - peaks >= depth * 0.5) & mask)
    return np.asarray(watershed(-distance, markers, mask=mask), dtype=np.int32)


def _reconstruct(seed: NDArray[np.float32], ceiling: NDArray[np.float32]) -> NDArray[np.float32]:
    """Grey reconstruction by dilation of `seed` under `ceiling`."""
    disc = np.ones((3, 3), np.uint8)
    while True:
        grown = np.minimum(cv2.dilate(seed, disc), ceiling)
        if np.array_equal(grown, seed):
            return np.asarray(grown, dtype=np.float32)
        seed = grown
