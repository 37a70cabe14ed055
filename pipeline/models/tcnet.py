"""TCNet: is a tile countable? A small residual CNN with deep supervision by a texture and a contour branch.

Our own design on the published idea (Zhou et al. 2025, stage 2). The texture branch pools the second moments of an
early feature map without regard to place, so it can only judge by texture; the contour branch must predict where the
outlines of objects lie and judges by that map. Both are trained on the label too, and their logits join the main one.
That sees the mean of the late features and, as one spoilt corner makes a tile uncountable, the greatest of each too;
and how much of the tile is unfit, by a map that must say where and is trained on that. Every branch sees the tile with
its own background made white.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.texture_unet import texture

WHITE_SHARE = 0.95  # this share of a tile's pixels is no brighter than its white point
LEAST_SHARE = 0.01  # of a tile: less than that unfit is as good as none


class Branches(NamedTuple):
    """What TCNet says of B tiles.

    Attributes
    ----------
    joint, texture, contour : (B,) logits of being countable.
    outlines : (B, 1, 56, 56) logits of the outlines of objects.
    unfit : (B, 2, 14, 14) logits of a place being thick smear, bare glass or a fault, and of being tail.

    """

    joint: Tensor
    texture: Tensor
    contour: Tensor
    outlines: Tensor
    unfit: Tensor


class TCNet(nn.Module):
    """(B, 3, 224, 224) in [0, 1] → logits of the joint decision and of the branches."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(8, width, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.early = nn.Sequential(Residual(width, width, 2), Residual(width, 2 * width, 1))  # 56 x 56
        self.middle = Residual(2 * width, 3 * width, 2)  # 28 x 28
        self.late = nn.Sequential(Residual(3 * width, 4 * width, 2), Residual(4 * width, 4 * width, 1))  # 14 x 14
        self.texture = nn.Sequential(nn.Conv2d(2 * width, 16, 1), nn.ReLU())
        self.texture_head = nn.Linear(16 * 16, 1)
        self.contour = nn.Conv2d(2 * width, 1, 3, padding=1)
        self.contour_head = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=4, padding=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 1)
        )
        self.unfit = nn.Conv2d(4 * width, 2, 1)
        self.head = nn.Sequential(nn.Linear(8 * width + 4, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B,) logits: positive means countable."""
        return self.branches(x).joint

    def branches(self, x: Tensor) -> Branches:
        """The joint decision and all that leads to it."""
        x = balance(x)
        early = self.early(self.stem(torch.cat([(x - 0.5) / 0.5, texture(x)], dim=1)))
        flat = self.texture(early).flatten(2)  # (B, 16, 56*56)
        moments = flat @ flat.transpose(1, 2) / flat.shape[2]  # (B, 16, 16)
        by_texture = self.texture_head(moments.flatten(1))
        outlines = self.contour(early)
        by_contour = self.contour_head(outlines.sigmoid())
        late = self.late(self.middle(early))
        unfit = self.unfit(late).float()  # a small share is lost in bfloat16
        shares = (unfit.sigmoid().mean((2, 3)) + LEAST_SHARE).log()
        seen = [late.mean((2, 3)), late.amax((2, 3)), shares, by_texture.detach(), by_contour.detach()]
        joint = self.head(torch.cat(seen, dim=1))
        return Branches(joint[:, 0], by_texture[:, 0], by_contour[:, 0], outlines, unfit)


class TCNetCommittee(nn.Module):
    """TCNets that were trained otherwise: what one knows only of its training's tiles, the mean does not share."""

    def __init__(self, members: Sequence[TCNet]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """(B,) the logit of the mean of the members' probabilities of being countable."""
        logits = torch.stack([member(x) for member in self.members])
        return functional.logsigmoid(logits).logsumexp(0) - functional.logsigmoid(-logits).logsumexp(0)


def new_tcnet(width: int = 24, members: int = 1) -> TCNet | TCNetCommittee:
    """An untrained TCNet, or several."""
    return TCNetCommittee([TCNet(width) for _ in range(members)]) if members > 1 else TCNet(width)


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = stride == 1 and inputs == outputs
        self.short = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.short(x))


def balance(x: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] in a light that makes each tile's own background white, whatever lamp and camera."""
    white = x[:, :, ::4, ::4].flatten(2).quantile(WHITE_SHARE, dim=2).clamp(min=0.05)
    return (x / white[:, :, None, None]).clamp(0, 1)


def contour_target(x: Tensor) -> Tensor:
    """What the contour branch should draw: strong edges of optical density, (B, 1, H/4, W/4) in [0, 1]."""
    density = -torch.log(balance(x).clamp(0.02, 1.0)).mean(1, keepdim=True)
    padded = functional.pad(density, (1, 1, 1, 1), mode="reflect")
    dx = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    dy = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    return functional.max_pool2d((dx**2 + dy**2).sqrt(), 4).clamp(0, 1)
