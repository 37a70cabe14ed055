"""Augmentation of cell crops on whole batches: geometry, stain, focus, sharpening, noise.

Staining differs between centres more than shape does, so colour is changed hard: optical density is scaled and
shifted per channel, hue and saturation are turned, and the colour statistics of other crops of the batch are borrowed
(Reinhard et al. 2001), which takes away the cue of the data set a crop came from. Sharpness differs as much: some
scanners and cameras sharpen what they store until every grain has an edge.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.training.datasets import CROP_SIDE, STORED_SIDE

SHOWN = CROP_SIDE / STORED_SIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Strengths; 0 switches one off. `tone` bends the curve of optical density: paler or fuller cytoplasm.

    `borrow`, `blur` and `sharpen` are shares of the views.
    """

    scale: float = 0.2
    shift: float = 0.06
    stain: float = 0.12
    tone: float = 0.0
    hue: float = 0.35
    saturation: float = 0.35
    brightness: float = 0.12
    borrow: float = 0.3
    blur: float = 0.25
    sharpen: float = 0.0
    noise: float = 0.03


def augment(
    images: Tensor,
    size: int,
    strength: Augmentation,
    generator: torch.Generator,
    harder: Tensor | None = None,
) -> Tensor:
    """Random views.

    Parameters
    ----------
    images
        (B, 3, H, W) in [0, 1], the cell in the middle, wider than what is shown.
    harder
        (B,) factors of the colour strengths: drawn cells need more than real ones, lest their paint be learnt.

    Returns
    -------
    (B, 3, size, size) in [0, 1].

    """
    factor = torch.ones(images.shape[0]) if harder is None else harder
    views = _geometry(images, size, strength, generator)
    views = recolour(_borrow(views, strength, generator, factor), strength, generator, factor)
    return _noise(_sharpen(_blur(views, strength, generator), strength, generator), strength, generator)


def centre(images: Tensor, size: int) -> Tensor:
    """The part of stored crops (B, C, H, W) that the classifier sees, (B, C, size, size)."""
    side = round(images.shape[2] * SHOWN)
    edge = (images.shape[2] - side) // 2
    middle = images[:, :, edge : edge + side, edge : edge + side]
    if side == size:
        return middle
    return functional.interpolate(middle, (size, size), mode="bilinear", antialias=True, align_corners=False)


def _uniform(count: int, spread: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(count, generator=generator) * 2 - 1) * spread


def _geometry(images: Tensor, size: int, strength: Augmentation, generator: torch.Generator) -> Tensor:
    count = images.shape[0]
    angle = _uniform(count, math.pi, generator)
    zoom = torch.exp(_uniform(count, strength.scale, generator)) * SHOWN
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = torch.cos(angle) * zoom * flip, -torch.sin(angle) * zoom
    matrix[:, 1, 0], matrix[:, 1, 1] = torch.sin(angle) * zoom * flip, torch.cos(angle) * zoom
    matrix[:, 0, 2], matrix[:, 1, 2] = (_uniform(count, strength.shift, generator) for _ in range(2))
    grid = functional.affine_grid(matrix, [count, 3, size, size], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _borrow(images: Tensor, strength: Augmentation, generator: torch.Generator, factor: Tensor) -> Tensor:
    count = images.shape[0]
    density = -torch.log(images.clamp(0.02, 1.0))
    mean, std = density.mean((2, 3), keepdim=True), density.std((2, 3), keepdim=True) + 1e-3
    other = torch.randperm(count, generator=generator)
    chosen = torch.rand(count, generator=generator) < strength.borrow * factor
    weight = torch.where(chosen, torch.rand(count, generator=generator), 0.0).view(-1, 1, 1, 1)
    target_mean = mean + weight * (mean[other] - mean)
    target_std = std + weight * (std[other] - std)
    return torch.exp(-((density - mean) / std * target_std + target_mean)).clamp(0, 1)


def recolour(
    images: Tensor, strength: Augmentation, generator: torch.Generator, factor: Tensor | float = 1.0
) -> Tensor:
    """Another stain, tone, brightness, saturation and hue for each of (B, 3, H, W) in [0, 1]."""
    count = images.shape[0]

    def each(spread: float) -> Tensor:
        return (_uniform(count, spread, generator) * factor).view(count, 1, 1, 1)

    density = -torch.log(images.clamp(0.02, 1.0))
    channels = _uniform(count * 3, strength.stain, generator).view(count, 3) * torch.as_tensor(factor).view(-1, 1)
    density = density * torch.exp(channels)[..., None, None] * torch.exp(each(2 * strength.stain))
    if strength.tone:
        full = density.amax((1, 2, 3), keepdim=True).clamp(min=1e-3)
        density = full * (density.clamp(min=0) / full) ** torch.exp(each(strength.tone))
    images = torch.exp(-density - each(strength.brightness))
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * torch.exp(each(strength.saturation))
    turn = hue_rotation(_uniform(count, strength.hue, generator) * factor)
    return torch.einsum("bij,bjhw->bihw", turn, images).clamp(0, 1)


def hue_rotation(angle: Tensor) -> Tensor:
    """(B,) radians → (B, 3, 3) rotations of RGB about the grey axis (Rodrigues)."""
    k = 1 / math.sqrt(3.0)
    cross = torch.tensor([[0.0, -k, k], [k, 0.0, -k], [-k, k, 0.0]])
    sine, cosine = torch.sin(angle).view(-1, 1, 1), torch.cos(angle).view(-1, 1, 1)
    return cosine * torch.eye(3) + sine * cross + (1 - cosine) * torch.full((3, 3), 1 / 3.0)


def _blur(images: Tensor, strength: Augmentation, generator: torch.Generator) -> Tensor:
    chosen = torch.rand(images.shape[0], generator=generator) < strength.blur
    if not chosen.any():
        return images
    sigma = 0.4 + 1.2 * torch.rand(1, generator=generator).item()
    blurred = gaussian_blur(images[chosen], sigma)
    images = images.clone()
    images[chosen] = blurred
    return images


def _sharpen(images: Tensor, strength: Augmentation, generator: torch.Generator) -> Tensor:
    """Unsharp masking as scanners and cameras do it, up to four times the contrast of fine detail."""
    if not strength.sharpen:
        return images
    chosen = torch.rand(images.shape[0], generator=generator) < strength.sharpen
    if not chosen.any():
        return images
    sigma = 0.8 + 1.2 * torch.rand(1, generator=generator).item()
    amount = 3.0 * torch.rand(int(chosen.sum()), generator=generator).view(-1, 1, 1, 1)
    images, soft = images.clone(), images[chosen]
    images[chosen] = (soft + amount * (soft - gaussian_blur(soft, sigma))).clamp(0, 1)
    return images


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """(B, 3, H, W) blurred by `sigma` pixels, edges reflected."""
    reach = max(1, math.ceil(3 * sigma))
    x = torch.arange(-reach, reach + 1, dtype=torch.float32)
    line = torch.exp(-(x**2) / (2 * sigma**2))
    line = (line / line.sum()).expand(3, 1, -1)
    images = functional.conv2d(functional.pad(images, (reach, reach, 0, 0), mode="reflect"), line[:, :, None], groups=3)
    return functional.conv2d(functional.pad(images, (0, 0, reach, reach), mode="reflect"), line[..., None], groups=3)


def _noise(images: Tensor, strength: Augmentation, generator: torch.Generator) -> Tensor:
    if not strength.noise:
        return images
    level = torch.rand(images.shape[0], generator=generator).view(-1, 1, 1, 1) * strength.noise
    return (images + torch.randn(images.shape, generator=generator) * level).clamp(0, 1)
