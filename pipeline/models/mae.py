"""Masked autoencoder over cell crops: a convolutional stem, a small ViT, two heads.

He et al. 2022 (arXiv:2111.06377) for masking and reconstruction, Gao et al. 2022 (ConvMAE, arXiv:2205.03892) for
the convolutional stem in front of the transformer; stage 4 of Zhou et al. 2025. The stem is the first five stages of
EfficientNet-Lite0, so that a published ImageNet initialisation can be used and two CPU cores suffice.
"""

import math
from collections.abc import Sequence

import timm
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

PATCH = 16
STEM_CHANNELS = 112


class ConvStem(nn.Module):
    """EfficientNet-Lite0 down to stride 16. (B, 3, S, S) in [0, 1] → (B, 112, S/16, S/16)."""

    def __init__(self) -> None:
        super().__init__()
        net = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
        self.conv_stem = net.conv_stem
        self.bn1 = net.bn1
        self.blocks = nn.Sequential(*list(net.blocks)[:5])
        fold_normalisation(self)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - 0.5) / 0.5
        y: Tensor = self.blocks(self.bn1(self.conv_stem(x)))
        return y

    def load_lite0(self, weights: Sequence[Tensor]) -> None:
        """Take over a whole EfficientNet-Lite0 state, its tensors in the network's order.

        Raises
        ------
        ValueError
            A tensor has another shape.

        """
        net = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
        own = net.state_dict()
        if len(own) != len(weights) or any(a.shape != b.shape for a, b in zip(own.values(), weights, strict=True)):
            raise ValueError("not the weights of EfficientNet-Lite0")
        net.load_state_dict(dict(zip(own, weights, strict=True)))
        fold_normalisation(net)
        stem = nn.Module()
        stem.conv_stem, stem.bn1, stem.blocks = net.conv_stem, net.bn1, nn.Sequential(*list(net.blocks)[:5])
        self.load_state_dict(stem.state_dict())


class CellEncoder(nn.Module):
    """Stem, then transformer blocks over its S/16 x S/16 tokens.

    Parameters
    ----------
    size
        Side of the square input in pixels, a multiple of 16.

    """

    position: Tensor

    def __init__(self, *, size: int = 128, dim: int = 192, depth: int = 4, heads: int = 6) -> None:
        super().__init__()
        self.size, self.dim, self.side = size, dim, size // PATCH
        self.stem = ConvStem()
        self.project = nn.Linear(STEM_CHANNELS, dim)
        self.register_buffer("position", sine_cosine(self.side, dim), persistent=False)
        self.blocks = nn.ModuleList(
            Block(dim, heads, mlp_ratio=4, qkv_bias=True, init_values=0.1) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def tokens(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) → (B, N, dim) with N = (S/16)**2, before the transformer."""
        x = self.stem(x).flatten(2).transpose(1, 2)  # (B, N, 112)
        y: Tensor = self.project(x) + self.position
        return y

    def attend(self, tokens: Tensor) -> Tensor:
        """(B, n, dim) → (B, n, dim) for any subset of tokens."""
        for block in self.blocks:
            tokens = block(tokens)
        y: Tensor = self.norm(tokens)
        return y


class MaskedAutoencoder(nn.Module):
    """Reconstructs the normalised pixels of the hidden patches from the visible ones."""

    position: Tensor

    def __init__(self, encoder: CellEncoder, *, dim: int = 128, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.encoder = encoder
        self.embed = nn.Linear(encoder.dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.register_buffer("position", sine_cosine(encoder.side, dim), persistent=False)
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_ratio=4, qkv_bias=True) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.pixels = nn.Linear(dim, PATCH * PATCH * 3)

    def forward(self, images: Tensor, order: Tensor, keep: int) -> Tensor:
        """Mean squared error over hidden patches.

        Parameters
        ----------
        images
            (B, 3, S, S) in [0, 1].
        order
            (B, N) random permutation of the patches of each image; the first `keep` stay visible.

        """
        batch, count = order.shape
        visible = order[:, :keep]
        hidden = torch.ones(batch, count, device=images.device).scatter_(1, visible, 0.0)  # (B, N), 1 = hidden
        side = self.encoder.side
        veil = hidden.view(batch, 1, side, side).repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
        tokens = self.encoder.tokens(images * (1 - veil) + 0.5 * veil)  # the stem must not see what is hidden
        tokens = tokens.gather(1, visible[..., None].expand(-1, -1, tokens.shape[2]))
        tokens = self.embed(self.encoder.attend(tokens))
        full = self.mask_token.expand(batch, count, -1).clone()
        full = full.scatter(1, visible[..., None].expand(-1, -1, full.shape[2]), tokens) + self.position
        for block in self.blocks:
            full = block(full)
        predicted = self.pixels(self.norm(full))  # (B, N, 768)
        target = patches(images)
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        error: Tensor = ((predicted - target) ** 2).mean(-1)
        return (error * hidden).sum() / hidden.sum()


class CellClassifier(nn.Module):
    """Class logits of a crop: the encoder's mean token beside the stem's, then one linear layer."""

    def __init__(self, encoder: CellEncoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.stem_norm = nn.LayerNorm(encoder.dim)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(2 * encoder.dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] → (B, classes) logits."""
        logits: Tensor = self.head(self.dropout(self.features(images)))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) → (B, 2 * dim)."""
        tokens = self.encoder.tokens(images)
        return torch.cat([self.encoder.attend(tokens).mean(1), self.stem_norm(tokens.mean(1))], dim=1)

    def token_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the tokens they came from, (B, N, dim) with gradient, for Grad-CAM."""
        tokens = self.encoder.tokens(images)
        attended = self.encoder.attend(tokens)
        pooled = torch.cat([attended.mean(1), self.stem_norm(tokens.mean(1))], dim=1)
        return self.head(pooled), attended


def fold_normalisation(network: nn.Module) -> None:
    """Fold each batch normalisation into the convolution before it, in place; its activation stays.

    Small batches of mixed stains would spoil running statistics, so they are fixed, and a folded network is faster.
    """
    before = ""
    for name, child in list(network.named_children()):
        if isinstance(child, nn.Conv2d):
            before = name
        elif isinstance(child, nn.BatchNorm2d):
            setattr(network, before, fuse_conv_bn_eval(getattr(network, before), child))
            setattr(network, name, child.act if hasattr(child, "act") else nn.Identity())
        else:
            fold_normalisation(child)


def patches(images: Tensor) -> Tensor:
    """(B, 3, S, S) → (B, N, 768), rows of the grid first."""
    batch, channels, height, width = images.shape
    x = images.view(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, PATCH * PATCH * channels)


def sine_cosine(side: int, dim: int) -> Tensor:
    """Fixed two-dimensional position code, (1, side * side, dim)."""
    frequency = torch.exp(-math.log(10_000.0) * torch.arange(dim // 4) / (dim // 4))  # (dim/4,)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [axis.flatten()[:, None] * frequency for axis in (x, y)]  # 2 of (N, dim/4)
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1)[None].float()
