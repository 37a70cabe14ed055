"""The eight ways to lay a square: a network's answers to them are averaged."""

import torch


def symmetries(images: torch.Tensor, turns: int) -> list[torch.Tensor]:
    """The first `turns` of the eight symmetries of a square, half turns first. (B, C, S, S) each."""
    flips = [images, images.flip(2, 3), images.flip(3), images.flip(2)]
    return (flips + [view.transpose(2, 3) for view in flips])[:turns]
