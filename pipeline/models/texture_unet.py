"""TextureUNet: a U-Net whose input carries texture beside colour.

Our own design on the published idea (Zhou et al. 2025, stage 1): staining differs between centres, texture less so.
The network sees, beside RGB, five maps computed from optical density: local contrast at two scales, gradient, and
the difference of two blurs, each divided by the mean density so that stain strength cancels.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

TEXTURE_CHANNELS = 5


class TextureUNet(nn.Module):
    """(B, 3, S, S) in [0, 1] → (B, 1, S, S) logits; S a multiple of 16."""

    def __init__(self, width: int = 12, depth: int = 4) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(depth + 1)]
        self.stem = ConvPair(3 + TEXTURE_CHANNELS, widths[0])
        self.down = nn.ModuleList(ConvPair(a, b) for a, b in pairwise(widths))
        self.up = nn.ModuleList(ConvPair(a + b, a) for a, b in pairwise(widths))
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(torch.cat([(x - 0.5) / 0.5, texture(x)], dim=1))
        skips = []
        for layer in self.down:
            skips.append(x)
            x = layer(functional.max_pool2d(x, 2))
        for layer, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = layer(torch.cat([skip, functional.interpolate(x, scale_factor=2.0)], dim=1))
        logits: Tensor = self.head(x)
        return logits


class ConvPair(nn.Sequential):
    """Two 3x3 convolutions, each with group normalisation: batches of 4 are too small for batch statistics."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(4, outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(4, outputs),
            nn.ReLU(inplace=True),
        )


def texture(x: Tensor) -> Tensor:
    """Stain-independent texture of (B, 3, H, W) in [0, 1]: (B, 5, H, W), about 0..3."""
    density = -torch.log(x.clamp(0.02, 1.0)).mean(1, keepdim=True)
    level = density.mean((2, 3), keepdim=True) + 0.02
    maps = [local_deviation(density, 3), local_deviation(density, 7)]
    padded = functional.pad(density, (1, 1, 1, 1), mode="reflect")
    maps += [
        (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]).abs(),
        (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]).abs(),
    ]
    maps.append(blur(density, 3) - blur(density, 9))
    return torch.cat(maps, dim=1) / level


def blur(x: Tensor, side: int) -> Tensor:
    """Mean over a `side` x `side` window, edges reflected; rows first, then columns, a fraction of the work at once."""
    pad = side // 2
    columns = functional.avg_pool2d(functional.pad(x, (pad, pad, pad, pad), mode="reflect"), (side, 1), stride=1)
    return functional.avg_pool2d(columns, (1, side), stride=1)


def local_deviation(x: Tensor, side: int) -> Tensor:
    """Standard deviation over a `side` x `side` window."""
    return (blur(x**2, side) - blur(x, side) ** 2).clamp(min=0).add(1e-8).sqrt()
