"""Where the classifier looked: attention rollout over the tokens of a crop (Abnar and Zuidema 2020, arXiv:2005.00928).

Rollout comes from the forward pass that classes the cell, so it costs almost nothing. It says which parts of the crop
the decision could draw on, not for which class they spoke.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models.vision_transformer import Attention
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

_FULL = 255


@contextmanager
def watched(network: nn.Module) -> Iterator[list[Tensor]]:
    """The attention of every self-attention of `network` in the next forward pass, (B, N, N), mean over heads."""
    seen: list[Tensor] = []

    def listen(layer: Attention) -> RemovableHandle:
        def keep(_module: nn.Module, _given: tuple[Tensor, ...], qkv: Tensor) -> None:
            batch, count, _ = qkv.shape
            q, k, _ = qkv.view(batch, count, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4)  # (B, heads, N, d) each
            scores = layer.q_norm(q) @ layer.k_norm(k).transpose(2, 3) * layer.scale
            seen.append(scores.softmax(3).mean(1))

        handle: RemovableHandle = layer.qkv.register_forward_hook(keep)
        return handle

    handles = [listen(layer) for layer in network.modules() if isinstance(layer, Attention)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def rollout(attentions: Sequence[Tensor]) -> Tensor:
    """How much each token reaches the mean of the last layer's tokens; half of every layer passes it by.

    Parameters
    ----------
    attentions
        (B, N, N) of each layer, first layer first, rows adding to 1.

    Returns
    -------
    (B, N), rows adding to 1.

    """
    same = torch.eye(attentions[0].shape[1], device=attentions[0].device)
    way = same.expand_as(attentions[0])
    for attention in attentions:
        way = (attention + same) / 2 @ way
    return way.mean(1)


def saliency(attentions: Sequence[Tensor]) -> NDArray[np.uint8]:
    """(B, g, g): what each token got above an even share, the most looked at 255."""
    reach = rollout(attentions)
    above = (reach - reach.mean(1, keepdim=True)).clamp(min=0)
    scaled = above / above.amax(1, keepdim=True).clamp(min=1e-12) * _FULL
    side = round(reach.shape[1] ** 0.5)
    return np.asarray(scaled.round().byte().view(-1, side, side).cpu().numpy(), dtype=np.uint8)
