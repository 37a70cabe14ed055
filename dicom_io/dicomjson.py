"""The DICOM JSON Model (PS3.18 Annex F); its long binary values are `dicom_io.bulk`'s."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.multival import MultiValue

from dicom_io.bulk import BINARY
from dicom_io.errors import InstanceRejected, SlideError
from dicom_io.scan import PIXEL_GROUP, UNREADABLE, is_of_the_disk, require_moderate

_LARGEST_METADATA = 1 << 30
BulkUri = Callable[[str, int], str | None]
_UTF_8 = DataElement(tag_for_keyword("SpecificCharacterSet") or 0, "CS", "ISO_IR 192")


def read_metadata(path: Path) -> Dataset:
    """The data set of the instance at `path` without its pixel data.

    Raises
    ------
    SlideError
        The file cannot be read.
    """
    try:
        require_moderate(path, PIXEL_GROUP, _LARGEST_METADATA)
        with path.open("rb") as file:
            return read_partial(file, lambda tag, vr, length: int(tag) >= PIXEL_GROUP)
    except (InstanceRejected, OSError, *UNREADABLE) as exc:
        if is_of_the_disk(exc):
            raise
        raise SlideError(f"{path.name} cannot be read: {exc}") from exc


def encode_metadata(ds: Dataset, bulk_uri: BulkUri | None) -> bytes:
    """`ds` as one JSON object, UTF-8.

    Parameters
    ----------
    ds : Dataset
    bulk_uri : BulkUri or None
        Gives the absolute address of a binary value from its path and its length in bytes, or None where the value
        shall be inline, as all are without it.
    """
    return dump(to_json(ds, bulk_uri))


def dump(document: object) -> bytes:
    """JSON without spaces; a number JSON does not have (NaN, infinity) becomes null."""
    try:
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(document), ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def to_json(ds: Dataset, bulk_uri: BulkUri | None, prefix: str = "") -> dict[str, Any]:
    """`ds` as the DICOM JSON Model; group lengths are left out, texts are in Unicode whatever the file's set was."""
    document: dict[str, Any] = {}
    for element in ds:
        if element.tag.element == 0:
            continue
        address = f"{prefix}{int(element.tag):08X}"
        if element.VR == "SQ":
            items = [to_json(item, bulk_uri, f"{address}/{number}/") for number, item in enumerate(element.value, 1)]
            document[address[-8:]] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        else:
            shown = _UTF_8 if element.tag == _UTF_8.tag else element
            document[address[-8:]] = _element(shown, address, bulk_uri)
    return document


def _element(element: DataElement, address: str, bulk_uri: BulkUri | None) -> dict[str, Any]:
    vr = str(element.VR)
    if vr in BINARY and bulk_uri is not None and element.value:
        uri = bulk_uri(address, len(element.value))
        if uri is not None:
            return {"vr": vr, "BulkDataURI": uri}
    try:
        document = element.to_json_dict(None, 0)
    except (TypeError, ValueError):  # a text where a number should be, kept as the text it is
        values = element.value if isinstance(element.value, MultiValue | list) else [element.value]
        document = {"vr": vr, "Value": [str(value) for value in values]}
    return {key: document[key] for key in ("vr", "Value", "InlineBinary") if key in document}


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
