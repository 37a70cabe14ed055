"""The default bundle and a small synthetic field, made once."""

import pytest

from pipeline.bundle import Bundle, load_bundle
from pipeline.phantom.samples import FieldSample, render_field


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return load_bundle(device="cpu", threads=2)


@pytest.fixture(scope="session")
def field() -> FieldSample:
    """90 µm of a smear at SAM's resolution, with its cells."""
    return render_field(900_001, mpp=180 / 1024, size_px=512)
