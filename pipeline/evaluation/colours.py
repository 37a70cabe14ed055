"""Test-time stain normalisation, measured before it may be used: Reinhard and Macenko on a whole set of crops.

Both look at all crops of a slide at once, because one cell says little about the stain of its slide.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.domain import RgbImage
from pipeline.metrics import Floats

_CLEAR = 0.15  # optical density below which a pixel is background
_EXTREME = 99.0  # percentile that stands for the fullest stain


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stain:
    """Colours of a slide: mean and spread (3,) of optical density, stain vectors (2, 3), their full strength (2,)."""

    mean: Floats
    spread: Floats
    vectors: Floats
    strength: Floats


def density(images: Sequence[RgbImage]) -> Floats:
    """Optical density of every pixel of all images, (P, 3)."""
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]).astype(np.float64)
    return np.asarray(-np.log((pixels + 1) / 256))


def stain_of(images: Sequence[RgbImage]) -> Stain:
    """Measured on every 16th pixel."""
    values = density(images)[::16]
    stained = values[values.min(1) > _CLEAR]
    _, axes = np.linalg.eigh(np.cov(stained.T))
    plane = axes[:, [2, 1]] * np.sign(axes[:, [2, 1]].sum(0))  # (3, 2), pointing to more stain
    angle = np.arctan2(*(stained @ plane).T[::-1])
    ends = np.percentile(angle, [1, 99])
    vectors = np.stack([plane @ (np.cos(end), np.sin(end)) for end in ends])
    vectors = vectors[np.argsort(vectors[:, 0])[::-1]]  # the bluer stain, which takes most red, first
    amounts = values @ np.linalg.pinv(vectors)
    return Stain(
        mean=values.mean(0), spread=values.std(0), vectors=vectors, strength=np.percentile(amounts, _EXTREME, axis=0)
    )


def reinhard(images: Sequence[RgbImage], own: Stain, wanted: Stain) -> list[RgbImage]:
    """Mean and spread of each channel's optical density brought to the wanted ones (after Reinhard et al. 2001)."""
    return [_image((density([image]) - own.mean) / own.spread * wanted.spread + wanted.mean, image) for image in images]


def macenko(images: Sequence[RgbImage], own: Stain, wanted: Stain) -> list[RgbImage]:
    """The two stains replaced by the wanted ones at the same share of their full strength (Macenko et al. 2009)."""
    change = np.linalg.pinv(own.vectors) * (wanted.strength / own.strength) @ wanted.vectors  # (3, 3)
    return [_image(density([image]) @ change, image) for image in images]


NORMALISATIONS: Mapping[str, Callable[[Sequence[RgbImage], Stain, Stain], list[RgbImage]]] = {
    "none": lambda images, _own, _wanted: list(images),
    "Reinhard": reinhard,
    "Macenko": macenko,
}


def _image(values: Floats, like: RgbImage) -> RgbImage:
    return np.asarray((np.exp(-values) * 256 - 1).clip(0, 255).round(), dtype=np.uint8).reshape(like.shape)
