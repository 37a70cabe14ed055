"""The default bundle and a small synthetic field, made once."""

import pytest
import torch

from pipeline.bundle import Bundle, load_bundle
from pipeline.phantom.samples import FieldSample, render_field


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Two threads of torch wait for each other at every small operation: on busy cores seconds become minutes."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return load_bundle(device="cpu", threads=1)


@pytest.fixture(scope="session")
def field() -> FieldSample:
    """90 µm of a smear at SAM's resolution, with its cells."""
    return render_field(900_001, mpp=180 / 1024, size_px=512)
