"""Fixtures shared by every test: the data beside the project, and waiting on a condition."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
T = TypeVar("T")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The development data in `../shared/data`; required in CI, skipped with a message elsewhere."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        message = f"the development data is absent: put it at {folder}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)  # a developer may not have the data; CI does
    return folder


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., object]:
    """`wait_for(condition, timeout_s=30)` polls until `condition()` is truthy and returns it."""

    def wait(condition: Callable[[], T], timeout_s: float = 30.0) -> T:
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                pytest.fail(f"condition not met within {timeout_s} s: {condition}")
            time.sleep(0.02)
        return value

    return wait
