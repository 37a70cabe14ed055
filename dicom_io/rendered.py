"""Instances and frames as pictures a browser shows (PS3.18 section 8.3.5, Rendered Resources)."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from dicom_io.errors import SlideError
from dicom_io.header import InstanceHeader, parse_header, read_dataset, text
from dicom_io.levels import Level, TileCache
from dicom_io.pixels import FrameFormat
from dicom_io.scan import UNREADABLE
from pipeline.domain import RgbImage

LARGEST_SIDE = 4096
_STRIP_PIXELS = 16 << 20
_PIXEL_MODULE = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PlanarConfiguration",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewport:
    """The largest width and height of a picture, in pixels; a picture is never enlarged to fill it."""

    width: int = LARGEST_SIDE
    height: int = LARGEST_SIDE

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """The size of a picture of `width` by `height` in this viewport."""
        scale = min(1.0, self.width / width, self.height / height)
        return max(1, round(width * scale)), max(1, round(height * scale))


def decode_frame(path: Path, frame: bytes) -> NDArray[Any]:
    """The samples of one stored frame of the instance at `path`: (rows, columns) or (rows, columns, 3).

    Raises
    ------
    SlideError
        The frame cannot be decoded.
    """
    ds = read_dataset(path)
    transfer_syntax = str(ds.file_meta.TransferSyntaxUID)
    if ds.get("SamplesPerPixel") == 3 and ds.get("BitsAllocated") == 8:
        return FrameFormat(
            transfer_syntax_uid=transfer_syntax,
            photometric_interpretation=text(ds, "PhotometricInterpretation"),
            rows=int(ds.Rows),
            columns=int(ds.Columns),
            planar_configuration=int(ds.get("PlanarConfiguration") or 0),
        ).decode(frame)
    if ds.get("BitsAllocated") == 1 and not UID(transfer_syntax).is_encapsulated:
        bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
        return bits[: ds.Rows * ds.Columns].reshape(ds.Rows, ds.Columns)
    return _decode_with_pydicom(ds, transfer_syntax, frame)


def _decode_with_pydicom(ds: Dataset, transfer_syntax: str, frame: bytes) -> NDArray[Any]:
    single = Dataset()
    single.file_meta = FileMetaDataset()
    single.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    for keyword in _PIXEL_MODULE:
        if keyword in ds:
            setattr(single, keyword, ds[keyword].value)
    single.PixelData = encapsulate([frame], has_bot=False) if UID(transfer_syntax).is_encapsulated else frame
    try:
        pixels, _ = get_decoder(UID(transfer_syntax)).as_array(single, raw=True)
    except Exception as exc:  # every codec has its own errors
        raise SlideError(f"a frame cannot be decoded ({UID(transfer_syntax).name}): {exc}") from exc
    return np.asarray(pixels)


def render_frame(path: Path, frame: bytes, viewport: Viewport) -> Image.Image:
    """One stored frame as a picture.

    Raises
    ------
    SlideError
        The frame cannot be decoded.
    """
    pixels = decode_frame(path, frame)
    if pixels.ndim == 2:
        pixels = _grey(pixels, inverted=text(read_dataset(path), "PhotometricInterpretation") == "MONOCHROME1")
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return picture.resize(viewport.fit(*picture.size), Image.Resampling.BOX)


def render_slide(header: InstanceHeader, series: Sequence[InstanceHeader], viewport: Viewport) -> Image.Image:
    """A whole tiled instance as a picture, from the smallest level of its series that is large enough.

    Raises
    ------
    SlideError
        A level cannot be read.
    """
    width, height = viewport.fit(header.total_pixel_matrix_columns, header.total_pixel_matrix_rows)
    levels = [other for other in series if other.flavor == header.flavor and other.total_pixel_matrix_columns >= width]
    chosen = min([*levels, header], key=lambda level: level.total_pixel_matrix_columns)
    try:
        level = Level([chosen], TileCache())
    except UNREADABLE as exc:
        raise SlideError(f"{chosen.path.name} cannot be read: {exc}") from exc
    try:
        return _shrink(level, width, height)
    finally:
        level.close()


def _shrink(level: Level, width: int, height: int) -> Image.Image:
    """The level at `width` by `height`, read in strips."""
    across, down = level.size
    picture = Image.new("RGB", (width, height))
    rows = max(1, min(height, round(_STRIP_PIXELS / (across * down / height))))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        y0, y1 = top * down / height, bottom * down / height
        strip = Image.fromarray(level.pixels(0, int(y0), across, int(np.ceil(y1))))
        box = (0, y0 - int(y0), across, y1 - int(y0))
        picture.paste(strip.resize((width, bottom - top), Image.Resampling.BOX, box=box), (0, top))
    return picture


def is_tiled(path: Path) -> bool:
    """True for a colour image that is one tiled pixel matrix."""
    header = parse_header(path)
    return header.total_pixel_matrix_columns > 0 and header.modality == "SM"


def encode_picture(picture: Image.Image, media_type: str, quality: int = 90) -> bytes:
    """`image/jpeg` or `image/png`."""
    buffer = io.BytesIO()
    if media_type == "image/png":
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def encode_array(image: RgbImage, media_type: str, quality: int = 90) -> bytes:
    """`encode_picture` of an array."""
    return encode_picture(Image.fromarray(image), media_type, quality)


def _grey(pixels: NDArray[Any], *, inverted: bool) -> NDArray[np.uint8]:
    """Samples from their lowest to their highest as black to white."""
    low, high = float(pixels.min()), float(pixels.max())
    scaled = (pixels.astype(np.float64) - low) * (255 / (high - low) if high > low else 0)
    grey = np.round(scaled).astype(np.uint8)
    return 255 - grey if inverted else grey
