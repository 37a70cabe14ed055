"""What is drawn to train on is kept, and never mixed with what other code drew."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import TrainingError
from pipeline.training import synthetic


def test_what_is_kept_is_drawn_once_and_refused_when_other_is_asked_or_drawn_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, drawings = tmp_path / "work" / "tiles.npz", [np.arange(3)]
    for _ in range(2):
        kept = synthetic.remember(path, lambda: {"images": drawings.pop()}, {"tiles": 3})
        assert list(kept) == ["images"]
        assert kept["images"].tolist() == [0, 1, 2]
    with pytest.raises(TrainingError, match=r"tiles.npz: holds 3 tiles, not 4 tiles; give a new folder"):
        synthetic.remember(path, lambda: {"images": drawings.pop()}, {"tiles": 4})
    monkeypatch.setattr(synthetic, "smear_digest", lambda: "drawn otherwise")
    with pytest.raises(TrainingError, match=r"tiles.npz: drawn by another version; give a new folder, or remove"):
        synthetic.remember(path, lambda: {"images": drawings.pop()}, {"tiles": 3})


def test_what_an_older_version_kept_without_saying_so_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "tiles.npz", allow_pickle=False, images=np.arange(3))
    with pytest.raises(TrainingError, match="drawn by another version"):
        synthetic.remember(tmp_path / "tiles.npz", lambda: {"images": np.arange(3)}, {"tiles": 3})
