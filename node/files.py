"""Files and folders that appear whole or not at all, also when the power fails."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a restart, sees all of it or the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill; when the block ends well its files are fsynced and it takes the place of `folder`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    filling = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    filling.chmod(0o755)
    try:
        yield filling
        for file in filling.iterdir():
            _sync(file)
        sync_folder(filling)
        if folder.exists():
            shutil.rmtree(folder)
        filling.replace(folder)
    except BaseException:
        shutil.rmtree(filling, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def remove_leftovers(parent: Path) -> None:
    """Delete what a killed `replace_folder` or `write_atomically` left in `parent`."""
    for leftover in parent.glob(".*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    _sync(folder)


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
