"""What TCNet's judge refuses whatever the network says."""

import cv2
import numpy as np
import torch

from pipeline.models.tcnet import TCNet
from pipeline.phantom.faults import optical_density, transmitted, with_fault
from pipeline.phantom.samples import FieldSample
from pipeline.tiles import TILE_UM, TileJudge, TilesConfig


def test_an_overstained_tile_is_refused_and_a_dim_lamp_is_not(field: FieldSample) -> None:
    torch.manual_seed(0)
    judge = TileJudge(TCNet(width=4), TilesConfig(), torch.device("cpu"))
    side = judge.config.side
    tile = np.asarray(cv2.resize(field.image, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    dim = transmitted(optical_density(tile) + np.float32(0.4))
    spoilt = [with_fault(tile, TILE_UM / side, "overstained", seed) for seed in range(5)]
    fine, dark = judge.probabilities([tile, dim]), judge.probabilities(spoilt)
    assert (fine > 0).all()
    assert (dark == 0).all()


def test_a_tile_is_judged_alike_however_it_lies(field: FieldSample) -> None:
    torch.manual_seed(0)
    network = TCNet(width=4)
    side = TilesConfig().side
    tile = np.asarray(cv2.resize(field.image, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    laid = [tile, tile[::-1], tile[:, ::-1], tile[::-1, ::-1]]

    def spread(turns: int) -> float:
        judge = TileJudge(network, TilesConfig(turns=turns), torch.device("cpu"))
        return float(np.ptp(judge.probabilities(laid)))

    assert spread(turns=4) < 1e-6 < spread(turns=1)
