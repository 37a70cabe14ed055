"""A SAM of segment_anything's own parts with the smallest image encoder, saved as Meta saves its checkpoints."""

from functools import partial
from pathlib import Path

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn


def write_tiny_sam(path: Path) -> Path:
    torch.manual_seed(0)
    sam = Sam(
        ImageEncoderViT(
            depth=2,
            embed_dim=16,
            num_heads=2,
            out_chans=256,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=(1,),
        ),
        PromptEncoder(256, (64, 64), (1024, 1024), 16),
        MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
            transformer_dim=256,
        ),
    )
    torch.save(sam.state_dict(), path)
    return path
