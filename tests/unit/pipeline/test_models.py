"""Shapes, and what each network is meant to ignore or to need."""

import pytest
import torch
from torch import nn

from pipeline.models.mae import CellClassifier, CellEncoder, MaskedAutoencoder, folded, patches
from pipeline.models.tcnet import TCNet, TCNetCommittee, contour_target, new_tcnet
from pipeline.models.texture_unet import TextureUNet, texture


@pytest.fixture(scope="module")
def encoder() -> CellEncoder:
    torch.manual_seed(0)
    return CellEncoder(size=64, dim=32, depth=1, heads=2).eval()


def test_patches_are_the_grid_row_by_row() -> None:
    images = torch.arange(32 * 32, dtype=torch.float32).view(1, 1, 32, 32).expand(1, 3, 32, 32)
    cut = patches(images)
    assert cut.shape == (1, 4, 768)
    assert cut[0, 1].view(16, 16, 3)[0, 0, 0] == 16


def test_classifier_gives_one_row_a_crop(encoder: CellEncoder) -> None:
    assert CellClassifier(encoder, 22).eval()(torch.rand(3, 3, 64, 64)).shape == (3, 22)


def test_folded_the_classifier_says_the_same(encoder: CellEncoder) -> None:
    torch.manual_seed(2)
    model = CellClassifier(encoder, 22)
    images = torch.rand(8, 3, 64, 64)
    for _ in range(20):
        model.train()(images)  # statistics far from the mean 0 and variance 1 of the start
    plain = folded(model)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in plain.modules())
    assert any(isinstance(part, nn.BatchNorm2d) for part in model.modules())
    torch.testing.assert_close(plain(images), model.eval()(images), rtol=1e-3, atol=1e-4)


def test_the_autoencoder_cannot_see_what_is_hidden(encoder: CellEncoder) -> None:
    torch.manual_seed(1)
    model = MaskedAutoencoder(encoder, dim=16, depth=1, heads=2).eval()
    image = torch.rand(1, 3, 64, 64)
    order = torch.arange(16)[None]  # the first four patches, the top row, stay visible
    other = image.clone()
    other[:, :, 32:] = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        seen = [model.encoder.tokens(x * veil(4) + 0.5 * (1 - veil(4))) for x in (image, other)]
        assert torch.equal(seen[0], seen[1])
        assert model(image, order, 4) > 0


def veil(rows_of_patches: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, 64, 64)
    mask[:, :, : 4 * rows_of_patches] = 1
    return mask


def test_texture_does_not_change_with_stain_strength() -> None:
    density = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 0.5 + 0.1
    weak, strong = texture(torch.exp(-density)), texture(torch.exp(-2 * density))
    assert (weak - strong).abs().mean() < 0.1 * weak.abs().mean()


def test_texture_unet_keeps_the_size() -> None:
    assert TextureUNet(width=4)(torch.rand(2, 3, 64, 64)).shape == (2, 1, 64, 64)


def test_tcnet_has_a_joint_and_two_branch_decisions_and_says_where_a_tile_is_unfit() -> None:
    said = TCNet(width=8).eval().branches(torch.rand(2, 3, 224, 224))
    assert said.joint.shape == said.texture.shape == said.contour.shape == (2,)
    assert said.outlines.shape == contour_target(torch.rand(2, 3, 224, 224)).shape == (2, 1, 56, 56)
    assert said.unfit.shape == (2, 2, 14, 14)


def test_a_committee_answers_with_the_mean_probability_of_its_members() -> None:
    torch.manual_seed(3)
    committee = new_tcnet(width=4, members=3).eval()
    assert isinstance(committee, TCNetCommittee)
    tiles = torch.rand(2, 3, 224, 224)
    apart = torch.stack([member(tiles).sigmoid() for member in committee.members])
    assert apart.std(0).min() > 0
    assert torch.allclose(committee(tiles).sigmoid(), apart.mean(0), atol=1e-6)


def test_a_member_that_is_very_sure_does_not_make_the_answer_infinite() -> None:
    committee = TCNetCommittee([TCNet(width=4).eval(), TCNet(width=4).eval()])
    for member, bias in zip(committee.members, (200.0, -200.0), strict=True):
        torch.nn.init.constant_(member.head[-1].bias, bias)
    assert torch.allclose(committee(torch.rand(1, 3, 224, 224)).sigmoid(), torch.tensor([0.5]))
