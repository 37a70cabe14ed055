"""Saliency: the arithmetic of rollout, and that the shipped classifier looks at the cell, wherever it lies."""

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import Attention

from pipeline.bundle import Bundle
from pipeline.explain import rollout, saliency, watched
from pipeline.phantom.samples import FieldSample

SIDE = 128


def test_watched_attention_is_what_the_layer_uses() -> None:
    torch.manual_seed(0)
    layer = Attention(8, num_heads=2).eval()
    tokens = torch.randn(3, 5, 8)
    with torch.no_grad(), watched(layer) as seen:
        out = layer(tokens)
    assert seen[0].shape == (3, 5, 5)
    torch.testing.assert_close(seen[0].sum(2), torch.ones(3, 5))
    single = Attention(8, num_heads=1).eval()
    with torch.no_grad(), watched(single) as seen:
        out = single(tokens)
        value = single.qkv(tokens)[..., 16:]
    torch.testing.assert_close(single.proj(seen[0] @ value), out)
    with torch.no_grad():
        single(tokens)
    assert len(seen) == 2  # nothing listens any more


def test_rollout_follows_two_layers() -> None:
    first = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])  # both tokens look at the second
    second = torch.tensor([[[0.5, 0.5], [0.5, 0.5]]])
    torch.testing.assert_close(rollout([first, second]), torch.tensor([[0.25, 0.75]]))


def test_an_even_gaze_is_no_saliency() -> None:
    assert not saliency([torch.full((1, 4, 4), 0.25)]).any()


def test_the_classifier_looks_at_the_cell_and_follows_it(bundle: Bundle, field: FieldSample) -> None:
    shares, areas = [], []
    for cell in field.cells:
        own = field.labels == cell.id + 1
        y, x = (round(float(v.mean())) for v in np.nonzero(own))
        top, left = y - SIDE // 2 + 20, x - SIDE // 2 - 20  # the cell lies 3.5 µm from the middle, up and right
        if min(top, left) < 0 or max(top, left) + SIDE > own.shape[0]:
            continue
        _, maps = bundle.classes.explained([bundle.classes.fit(field.image[top : top + SIDE, left : left + SIDE])])
        nearest = np.arange(SIDE) * maps.shape[1] // SIDE
        weight = maps[0][np.ix_(nearest, nearest)].astype(float)
        inside = own[top : top + SIDE, left : left + SIDE]
        shares.append((weight * inside).sum() / weight.sum())
        areas.append(inside.mean())
    assert len(shares) >= 5
    assert np.mean(shares) > 1.5 * np.mean(areas)


def test_explaining_changes_no_probability(bundle: Bundle, field: FieldSample) -> None:
    crops = [bundle.classes.fit(field.image[i : i + SIDE, i : i + SIDE]) for i in (0, 100, 200)]
    rows, maps = bundle.classes.explained(crops)
    assert np.array_equal(rows, bundle.classes.probabilities(crops))
    assert maps.shape == (3, *[bundle.classes.model.encoder.side] * 2)
    assert maps.max(axis=(1, 2)).tolist() == pytest.approx([255] * 3)
