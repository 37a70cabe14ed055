"""Metadata of instances as DICOM JSON, made once: per-frame groups of a large segmentation take seconds to encode."""

from collections.abc import Iterable
from pathlib import Path

from dicom_io.dicomjson import encode_metadata, read_metadata
from node.catalogue import Held
from node.files import write_atomically

_ROOT = "@root@"  # stands for the service's address, which depends on the request
_MARK = f'"BulkDataURI":"{_ROOT}'.encode()  # inside a JSON text the quotes would be escaped


def metadata_of(held: Held, root: str, cache: Path, inline_bytes: int) -> bytes:
    """The metadata of one instance, kept in `cache` from the first time on.

    Binary values of more than `inline_bytes` are at an address below `root`.
    """
    kept = cache / f"{held.sop_instance_uid}.{inline_bytes}.json"
    try:
        document = kept.read_bytes()
    except FileNotFoundError:
        base = address_of(held, _ROOT)

        def place(value: str, length: int) -> str | None:
            return f"{base}/bulkdata/{value}" if length > inline_bytes else None

        document = encode_metadata(read_metadata(held.path), place)
        write_atomically(kept, document)
    return document.replace(_MARK, f'"BulkDataURI":"{root}'.encode())


def metadata_list(instances: Iterable[Held], root: str, cache: Path, inline_bytes: int) -> bytes:
    """A JSON array of the metadata of each."""
    return b"[" + b",".join(metadata_of(held, root, cache, inline_bytes) for held in instances) + b"]"


def address_of(held: Held, root: str) -> str:
    """Where one instance is retrieved from."""
    series = f"{root}/studies/{held.study_instance_uid}/series/{held.series_instance_uid}"
    return f"{series}/instances/{held.sop_instance_uid}"
