"""Masked autoencoder over cell crops: a convolutional stem, a small ViT, and the classifier that grows from it.

He et al. 2022 (arXiv:2111.06377) for masking and reconstruction, Gao et al. 2022 (ConvMAE, arXiv:2205.03892) for
the convolutional stem in front of the transformer; stage 4 of Zhou et al. 2025. The stem is the first five stages of
EfficientNet-Lite0, so that a published ImageNet initialisation can be used and two CPU cores suffice; the classifier
lets the network's last stages look at the stem's map beside the transformer. A plain timm ViT can take the encoder's
place where there is a GPU.
"""

import math
from collections.abc import Sequence
from copy import deepcopy

import timm
import torch
from timm.models.efficientnet import EfficientNet
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

PATCH = 16
STEM_STAGES = 5
STEM_CHANNELS = 112
TAIL_CHANNELS = 1280


class ConvStem(nn.Module):
    """EfficientNet-Lite0 down to stride 16. (B, 3, S, S) in [0, 1] → (B, 112, S/16, S/16)."""

    def __init__(self, network: EfficientNet | None = None) -> None:
        super().__init__()
        net = network or lite0()
        self.conv_stem, self.bn1 = net.conv_stem, net.bn1
        self.blocks = nn.Sequential(*list(net.blocks)[:STEM_STAGES])

    def forward(self, x: Tensor) -> Tensor:
        x = (x - 0.5) / 0.5
        y: Tensor = self.blocks(self.bn1(self.conv_stem(x)))
        return y


class ConvTail(nn.Module):
    """The rest of EfficientNet-Lite0. (B, 112, h, w) → (B, 1280)."""

    def __init__(self, network: EfficientNet | None = None) -> None:
        super().__init__()
        net = network or lite0()
        self.blocks = nn.Sequential(*list(net.blocks)[STEM_STAGES:])
        self.conv_head, self.bn2 = net.conv_head, net.bn2

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn2(self.conv_head(self.blocks(x))).mean((2, 3))
        return y


class CellEncoder(nn.Module):
    """Stem, then transformer blocks over its S/16 x S/16 tokens.

    Parameters
    ----------
    size
        Side of the square input in pixels, a multiple of 16.

    """

    position: Tensor

    def __init__(self, *, size: int = 160, dim: int = 192, depth: int = 3, heads: int = 6) -> None:
        super().__init__()
        self.size, self.dim, self.side, self.patch = size, dim, size // PATCH, PATCH
        self.stem = ConvStem()
        self.project = nn.Linear(STEM_CHANNELS, dim)
        self.register_buffer("position", sine_cosine(self.side, dim), persistent=False)
        blocks = [Block(dim, heads, mlp_ratio=4, qkv_bias=True, init_values=0.1) for _ in range(depth)]
        for block in blocks:
            block.attn.fused_attn = False  # for so few tokens the fused kernel is slower on a CPU
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim)

    def load_lite0(self, network: EfficientNet) -> None:
        """Start the stem from a whole EfficientNet-Lite0."""
        self.stem.load_state_dict(ConvStem(lite0(network)).state_dict())

    def tokens(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) → (B, N, dim) with N = (S/16)**2, before the transformer."""
        return self.embed(self.stem(x))

    def embed(self, seen: Tensor) -> Tensor:
        """The stem's map, (B, 112, S/16, S/16), as tokens."""
        y: Tensor = self.project(seen.flatten(2).transpose(1, 2)) + self.position
        return y

    def attend(self, tokens: Tensor) -> Tensor:
        """(B, n, dim) → (B, n, dim) for any subset of tokens."""
        for block in self.blocks:
            tokens = block(tokens)
        y: Tensor = self.norm(tokens)
        return y


class VitEncoder(nn.Module):
    """A plain Vision Transformer of timm, without class token, in the encoder's place.

    Raises
    ------
    ValueError
        timm has no Vision Transformer of that name.

    """

    def __init__(self, *, vit: str, size: int = 224) -> None:
        super().__init__()
        if not timm.is_model(vit):
            raise ValueError(f"timm has no model {vit}")
        try:
            net = timm.create_model(
                vit, img_size=size, class_token=False, global_pool="avg", fc_norm=False, num_classes=0
            )
        except TypeError as exc:
            raise ValueError(f"{vit} is no Vision Transformer") from exc
        if not isinstance(net, VisionTransformer) or net.pos_embed is None:
            raise ValueError(f"{vit} is no Vision Transformer with learnt positions")
        self.network = net
        self.size, self.dim, self.patch = size, net.embed_dim, int(net.patch_embed.patch_size[0])
        self.side = size // self.patch

    def tokens(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] → (B, N, dim), before the transformer."""
        y: Tensor = self.network.norm_pre(self.network.patch_embed((x - 0.5) / 0.5) + self.network.pos_embed)
        return y

    def attend(self, tokens: Tensor) -> Tensor:
        """(B, n, dim) → (B, n, dim) for any subset of tokens."""
        y: Tensor = self.network.norm(self.network.blocks(tokens))
        return y


Encoder = CellEncoder | VitEncoder


def new_encoder(*, vit: str = "", **sizes: int) -> Encoder:
    """The small encoder, or the timm ViT that is named."""
    return VitEncoder(vit=vit, **sizes) if vit else CellEncoder(**sizes)


class MaskedAutoencoder(nn.Module):
    """Reconstructs the normalised pixels of the hidden patches from the visible ones."""

    position: Tensor

    def __init__(self, encoder: Encoder, *, dim: int = 128, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.encoder = encoder
        self.embed = nn.Linear(encoder.dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.register_buffer("position", sine_cosine(encoder.side, dim), persistent=False)
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_ratio=4, qkv_bias=True) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.pixels = nn.Linear(dim, encoder.patch**2 * 3)

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
        side, patch = self.encoder.side, self.encoder.patch
        veil = hidden.view(batch, 1, side, side).repeat_interleave(patch, 2).repeat_interleave(patch, 3)
        tokens = self.encoder.tokens(images * (1 - veil) + 0.5 * veil)  # the stem must not see what is hidden
        tokens = tokens.gather(1, visible[..., None].expand(-1, -1, tokens.shape[2]))
        tokens = self.embed(self.encoder.attend(tokens))
        full = self.mask_token.to(tokens.dtype).expand(batch, count, -1).clone()
        full = full.scatter(1, visible[..., None].expand(-1, -1, full.shape[2]), tokens) + self.position
        for block in self.blocks:
            full = block(full)
        predicted = self.pixels(self.norm(full)).float()  # (B, N, patch * patch * 3)
        target = patches(images, patch)
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        error: Tensor = ((predicted - target) ** 2).mean(-1)
        return (error * hidden).sum() / hidden.sum()


class CellClassifier(nn.Module):
    """Class logits of a crop: the encoder's mean token beside what Lite0's last stages see, then one linear layer."""

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.tail = ConvTail() if isinstance(encoder, CellEncoder) else None
        self.dropout = nn.Dropout(0.0)
        self.head = nn.Linear(encoder.dim + (TAIL_CHANNELS if self.tail else 0), classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] → (B, classes) logits."""
        logits: Tensor = self.head(self.dropout(self.features(images)))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) → (B, dim + 1280); (B, dim) for a plain ViT."""
        if self.tail is None or isinstance(self.encoder, VitEncoder):
            return self.encoder.attend(self.encoder.tokens(images)).mean(1)
        seen = self.encoder.stem(images)
        return torch.cat([self.encoder.attend(self.encoder.embed(seen)).mean(1), self.tail(seen)], dim=1)

    def load_lite0(self, network: EfficientNet) -> None:
        """Start stem and tail from a whole EfficientNet-Lite0.

        Raises
        ------
        ValueError
            The encoder is a plain ViT.

        """
        if self.tail is None or isinstance(self.encoder, VitEncoder):
            raise ValueError("a plain ViT takes no weights of EfficientNet-Lite0")
        self.encoder.load_lite0(network)
        self.tail.load_state_dict(ConvTail(lite0(network)).state_dict())

    def hear_convolutions_first(self) -> None:
        """Let the head start deaf to a transformer that has learnt nothing: it would drown what ImageNet taught."""
        nn.init.zeros_(self.head.weight.data[:, : self.encoder.dim])


def lite0(network: EfficientNet | None = None) -> EfficientNet:
    """A copy of an EfficientNet-Lite0, its convolutions as we train them; of an untrained one where none is given."""
    net: EfficientNet = published_lite0() if network is None else deepcopy(network)
    for part in list(net.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.Conv2d) and child.groups > 1:
                setattr(part, name, Depthwise(child))
    return net


def published_lite0(weights: Sequence[Tensor] = ()) -> EfficientNet:
    """EfficientNet-Lite0 as timm has it, with its 1000 classes of ImageNet; `weights` in the network's order.

    Raises
    ------
    ValueError
        A tensor of `weights` has another shape than the network's.

    """
    net: EfficientNet = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    own = net.state_dict()
    if weights:
        if len(own) != len(weights) or any(a.shape != b.shape for a, b in zip(own.values(), weights, strict=True)):
            raise ValueError("not the weights of EfficientNet-Lite0")
        net.load_state_dict(dict(zip(own, weights, strict=True)))
    return net


class Depthwise(nn.Module):
    """A depthwise convolution that stays in float32 under autocast on a CPU, where its bfloat16 gradient is slow."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.kernel = convolution

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution does."""
        y: Tensor
        if x.is_cuda or not torch.is_autocast_enabled("cpu"):
            y = self.kernel(x)
            return y
        with torch.autocast("cpu", enabled=False):
            y = self.kernel(x.float())
            return y


def folded(model: CellClassifier) -> CellClassifier:
    """A copy for use: each batch normalisation lies in the convolution before it, its activation stays.

    It gives the same logits in four fifths of the time. It is what a bundle holds.
    """
    copy = deepcopy(model).eval()
    _fold(copy)
    return copy


def _fold(network: nn.Module) -> None:
    before = ""
    for name, child in list(network.named_children()):
        if isinstance(child, (nn.Conv2d, Depthwise)):
            before = name
        elif isinstance(child, nn.BatchNorm2d):
            convolution = getattr(network, before)
            if isinstance(convolution, Depthwise):
                convolution.kernel = fuse_conv_bn_eval(convolution.kernel, child)
            else:
                setattr(network, before, fuse_conv_bn_eval(convolution, child))
            setattr(network, name, child.act if hasattr(child, "act") else nn.Identity())
        else:
            _fold(child)


def patches(images: Tensor, patch: int = PATCH) -> Tensor:
    """(B, 3, S, S) → (B, N, patch * patch * 3), rows of the grid first."""
    batch, channels, height, width = images.shape
    x = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def sine_cosine(side: int, dim: int) -> Tensor:
    """Fixed two-dimensional position code, (1, side * side, dim)."""
    frequency = torch.exp(-math.log(10_000.0) * torch.arange(dim // 4) / (dim // 4))  # (dim/4,)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [axis.flatten()[:, None] * frequency for axis in (x, y)]  # 2 of (N, dim/4)
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1)[None].float()
