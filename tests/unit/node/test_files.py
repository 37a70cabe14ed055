"""Files and folders appear whole or not at all."""

from pathlib import Path

import pytest

from node.files import remove_leftovers, replace_folder, write_atomically


class PowerCutError(Exception):
    """What ends a test's writing."""


def test_file_is_replaced(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        write_atomically(tmp_path / "new" / "file", content)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert (tmp_path / "new" / "file").read_bytes() == b"two"


def test_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with replace_folder(tmp_path / "results") as filling:
            (filling / name).write_text(name)
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_broken_off_folder_leaves_the_old_one(tmp_path: Path) -> None:
    with replace_folder(tmp_path / "results") as filling:
        (filling / "old").write_text("old")
    with pytest.raises(PowerCutError), replace_folder(tmp_path / "results") as filling:
        (filling / "new").write_text("new")
        raise PowerCutError
    assert [path.name for path in tmp_path.rglob("*")] == ["results", "old"]


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".results.abc").mkdir()
    (tmp_path / ".results.abc" / "half").touch()
    (tmp_path / ".analysis-1.npz.xyz").touch()
    (tmp_path / "analysis-0.npz").touch()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["analysis-0.npz"]
