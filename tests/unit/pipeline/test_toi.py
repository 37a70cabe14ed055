"""Where a tile is unfit: drawn, put on it on purpose, and learnt only where it is known."""

import numpy as np
import pytest
import torch

from pipeline.phantom.samples import FieldSample
from pipeline.phantom.spec import PhantomSpec
from pipeline.training import synthetic, toi


def test_a_drawn_tile_says_where_it_is_unfit() -> None:
    drawn = synthetic.draw_tiles([PhantomSpec(seed=5, size=(4000, 2600), mpp=0.25, artefacts=1.5)])
    assert drawn.unfit.shape == (len(drawn.images), 2, synthetic.UNFIT_SIDE, synthetic.UNFIT_SIDE)
    unfit, tail = drawn.unfit.mean((2, 3)).T
    assert unfit[drawn.countable].max() < 0.15
    assert unfit[~drawn.countable & (tail < 0.2)].mean() > 0.3
    assert tail[drawn.countable].max() < 0.35
    rest = drawn.subset(~drawn.countable)
    assert np.array_equal(rest.plus(rest).unfit[len(rest.images) :], drawn.unfit[~drawn.countable])


def test_what_is_spoilt_on_purpose_is_known_to_be_unfit_there(field: FieldSample) -> None:
    generator = torch.Generator().manual_seed(4)
    whole = torch.from_numpy(field.image[:224, :224]).permute(2, 0, 1).float().div(255).repeat(8, 1, 1, 1)
    images, unfit, labels = toi.spoil(
        whole, torch.zeros(8, 2, 224, 224), torch.ones(8), toi.ToiConfig(spoil=1.0, partly=1.0), generator
    )
    assert not labels.any()
    assert not unfit[:, 1].any()
    changed = (images - whole).abs().amax(1) > 0.02
    assert not changed[unfit[:, 0] == 0].any()
    assert all(0.1 < part.mean() <= 1.0 for part in unfit[:, 0])


def test_places_that_nobody_knows_teach_nothing() -> None:
    target = torch.tensor([[0.0, 1.0], [float("nan"), float("nan")]])
    logits = torch.tensor([[-3.0, 3.0], [-9.0, 9.0]], requires_grad=True)
    loss = toi.masked_bce(logits, target)
    loss.backward()
    assert loss.item() == pytest.approx(np.log1p(np.exp(-3)))
    assert logits.grad is not None
    assert not logits.grad[1].any()
    assert toi.masked_bce(logits.detach()[1:], target[1:]) == 0
