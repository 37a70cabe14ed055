"""Received instances on disk: what an acknowledgement stands for (PS3.4 Annex B, PS3.10).

An instance lives at `root/<study>/<series>/<sop>.dcm`, byte for byte as sent. It arrives in `root/.spool` and gets
its name by one link, after its bytes are on the disk: a name is either absent or complete, also after a power cut.
"""

import contextlib
import errno
import os
import platform
import shutil
import time
import uuid
from pathlib import Path

from dicom_io.errors import InstanceRejected
from dicom_io.header import InstanceHeader, read_header
from dicom_io.scan import CANNOT_UNDERSTAND, check_complete, dataset_digest, read_start
from dicom_io.uids import is_uid

__all__ = ["FileStore", "InstanceHeader", "read_header"]

OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH_SOP_CLASS = 0xA900
_LEFTOVER_AFTER_S = 24 * 3600.0
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)


class FileStore:
    """A directory of DICOM instances.

    Parameters
    ----------
    root : Path
        Made when absent; local disk or a shared file system.
    reserve_bytes : int
        Space that stays free: an instance that would use it is refused with 0xA700.
    """

    def __init__(self, root: Path, *, reserve_bytes: int = 1 << 30) -> None:
        self.root = root
        self.spool = root / ".spool"
        self.reserve_bytes = reserve_bytes
        self.spool.mkdir(parents=True, exist_ok=True)

    def new_spool_path(self) -> Path:
        """A name for an instance on its way in; says which process writes it."""
        return self.spool / f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex}.dcm"

    def discard_unfinished(self) -> int:
        """Remove what killed processes left in the spool, none of it acknowledged; returns how many files.

        Files of running processes stay, also those of other machines that share the store, for a day.
        """
        leftovers = [path for path in self.spool.iterdir() if _is_leftover(path)]
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)

    def require_space(self) -> None:
        """Check that another instance may be taken in.

        Raises
        ------
        InstanceRejected
            0xA700 when less than `reserve_bytes` is free.
        """
        free = shutil.disk_usage(self.root).free
        if free < self.reserve_bytes:
            raise InstanceRejected(
                OUT_OF_RESOURCES,
                f"disk full: {free >> 20} MiB free below the reserve of {self.reserve_bytes >> 20} MiB; free space",
            )

    def path_of(self, header: InstanceHeader) -> Path:
        """Where the instance lives once kept; its UIDs have been checked, so they are safe as names."""
        series = self.root / header.study_instance_uid / header.series_instance_uid
        return series / f"{header.sop_instance_uid}.dcm"

    def find(self, sop_instance_uid: str) -> Path | None:
        """Where the instance is kept, looked up on the disk; None when it is not."""
        if not is_uid(sop_instance_uid):
            return None
        return next(self.root.glob(f"*/*/{sop_instance_uid}.dcm"), None)

    def keep(self, path: Path, *, sha256: str = "") -> InstanceHeader:
        """Validate the file at `path` and move it to its place; durable when this returns.

        Keeping identical bytes again changes nothing and succeeds.

        Parameters
        ----------
        path : Path
            A whole DICOM file on the volume of `root`, usually in `spool`; gone afterwards, kept or refused.
        sha256 : str
            Digest of its data set when already known (see `dataset_digest`).

        Returns
        -------
        InstanceHeader
            With `path` where the instance now is.

        Raises
        ------
        InstanceRejected
            0xC000 for a file that is damaged, incomplete or reuses a SOP instance UID for other content, 0xA900 when
            the file meta information announces another object than the data set is, 0xA700 when the disk is full.
        """
        try:
            header = read_header(path, sha256=sha256)
            _check_announced(path, header)
            check_complete(path)
            place = self.path_of(header)
            self._name(path, place, header)
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InstanceRejected(OUT_OF_RESOURCES, f"disk full while keeping an instance: {exc.strerror}") from exc
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        return header.at(place)

    def _name(self, path: Path, place: Path, header: InstanceHeader) -> None:
        _sync(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            _link(path, place)
        except FileExistsError as exc:
            if dataset_digest(place) != header.sha256:
                raise InstanceRejected(
                    CANNOT_UNDERSTAND,
                    f"SOPInstanceUID {header.sop_instance_uid} is already kept with other content; "
                    "send changed content under a new UID",
                ) from exc
        for folder in (place.parent, place.parent.parent, self.root):
            _sync(folder)


def _is_leftover(path: Path) -> bool:
    try:
        age_s = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    if age_s > _LEFTOVER_AFTER_S:
        return True
    host, _, rest = path.name.rpartition("-")[0].rpartition("-")
    if host != platform.node() or not rest.isdecimal() or int(rest) == os.getpid():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _check_announced(path: Path, header: InstanceHeader) -> None:
    start = read_start(path)
    if (start.sop_class_uid, start.sop_instance_uid) != (header.sop_class_uid, header.sop_instance_uid):
        raise InstanceRejected(
            DOES_NOT_MATCH_SOP_CLASS,
            "SOPClassUID or SOPInstanceUID of the data set differs from the one announced for it",
        )


def _link(path: Path, place: Path) -> None:
    """Give the file its second name, or where the file system has no links, its only one; never replace a file."""
    try:
        os.link(path, place)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        if place.exists():
            raise FileExistsError(errno.EEXIST, "the instance is there", str(place)) from exc
        path.rename(place)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
