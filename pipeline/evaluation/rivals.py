"""The networks Zhou et al. 2025 compare with, from libraries, and ours.

segmentation-models-pytorch for regions, timm for tiles and classes. VGG16 is the one with batch normalisation. All
start from random weights; the classifiers whose ImageNet weights the registries have, EfficientNet-Lite0 and ours on
its stem, also from those.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import timm
from torch import Tensor, nn

from pipeline.domain import CELL_CLASSES
from pipeline.errors import TrainingError
from pipeline.models.mae import CellClassifier, CellEncoder
from pipeline.models.tcnet import TCNet
from pipeline.models.texture_unet import TextureUNet
from pipeline.training.pretrain import read_lite0

Build = Callable[[int], nn.Module]  # side of the image in pixels → network of (B, 3, S, S) in [0, 1]


class Centred(nn.Module):
    """A library's network, fed as it expects; a single output comes back as (B,)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] → logits in the shape our networks give."""
        logits: Tensor = self.network((images - 0.5) / 0.5)
        return logits[:, 0] if logits.shape[1:] == (1,) else logits


def _timm(name: str, outputs: int) -> Build:
    return lambda _side: Centred(timm.create_model(name, pretrained=False, num_classes=outputs))


def _plain_vit(side: int) -> nn.Module:
    network = timm.create_model(
        "vit_tiny_patch16_224",
        pretrained=False,
        num_classes=len(CELL_CLASSES),
        img_size=side,
        patch_size=8 if side < 128 else 16,
    )
    return Centred(network)


def _segmentation(name: str) -> Build:
    def build(_side: int) -> nn.Module:
        try:
            import segmentation_models_pytorch as smp  # noqa: PLC0415 - only this comparison needs it
        except ImportError as exc:
            remedy = "pip install segmentation-models-pytorch"
            raise TrainingError(f"{name}: the package segmentation-models-pytorch is absent; {remedy}") from exc
        return Centred(getattr(smp, name)("resnet18", encoder_weights=None, classes=1))

    return build


REGIONS: Mapping[str, Build] = {
    "TextureUNet (ours)": lambda _side: TextureUNet(),
    "PSPNet": _segmentation("PSPNet"),
    "FPN": _segmentation("FPN"),
    "U-Net": _segmentation("Unet"),
    "DeepLabV3": _segmentation("DeepLabV3"),
}
TILES: Mapping[str, Build] = {
    "TCNet (ours)": lambda _side: TCNet(),
    "DenseNet121": _timm("densenet121", 1),
    "ResNet50": _timm("resnet50", 1),
    "VGG16": _timm("vgg16_bn", 1),
}
CLASSES: Mapping[str, Build] = {
    "Cell ViT (ours)": lambda side: CellClassifier(CellEncoder(size=side), len(CELL_CLASSES)),
    "ViT without MAE": _plain_vit,
    "EfficientNet-B0": _timm("efficientnet_b0", len(CELL_CLASSES)),
    "DenseNet121": _timm("densenet121", len(CELL_CLASSES)),
    "ResNet50": _timm("resnet50", len(CELL_CLASSES)),
    "ResNeXt101_32x8d": _timm("resnext101_32x8d", len(CELL_CLASSES)),
    "VGG16": _timm("vgg16_bn", len(CELL_CLASSES)),
}
FROM_IMAGENET = ("Cell ViT from ImageNet (ours)", "EfficientNet-Lite0 from ImageNet")


def from_imagenet(weights: Path) -> Mapping[str, Build]:
    """Classifiers that start from EfficientNet-Lite0's ImageNet file.

    Raises
    ------
    TrainingError
        When one is built: the file is absent or of another network.
    """

    def ours(side: int) -> nn.Module:
        model = CellClassifier(CellEncoder(size=side), len(CELL_CLASSES))
        model.load_lite0(read_lite0(weights))
        model.hear_convolutions_first()
        return model

    def rival(_side: int) -> nn.Module:
        network = read_lite0(weights)
        network.reset_classifier(len(CELL_CLASSES))
        return Centred(network)

    return dict(zip(FROM_IMAGENET, (ours, rival), strict=True))
