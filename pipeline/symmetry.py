"""The eight ways to lay a square: a network's answers to them are averaged."""

import torch
from torch import nn


def averaged(model: nn.Module, images: torch.Tensor, turns: int) -> torch.Tensor:
    """The mean of what a network answers to the first `turns` symmetries of (B, C, S, S) images."""
    return torch.stack([model(view) for view in symmetries(images, turns)]).mean(0)


def symmetries(images: torch.Tensor, turns: int) -> list[torch.Tensor]:
    """The first `turns` of the eight symmetries of a square, half turns first. (B, C, S, S) each."""
    flips = [images, images.flip(2, 3), images.flip(3), images.flip(2)]
    return (flips + [view.transpose(2, 3) for view in flips])[:turns]
