"""Messages written for these tests, with line feeds in the files and carriage returns in the bytes."""

from collections.abc import Callable
from pathlib import Path

import pytest

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "hl7"


@pytest.fixture(scope="session")
def message() -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        return (FIXTURES / f"{name}.hl7").read_bytes().replace(b"\n", b"\r")

    return read
