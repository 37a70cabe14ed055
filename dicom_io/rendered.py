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

from dicom_io.colour import SRGB, to_srgb
from dicom_io.errors import SlideError
from dicom_io.header import InstanceHeader, read_dataset, text
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
    """Which part of an image becomes a picture of which size (PS3.18 8.3.5.1.3).

    Attributes
    ----------
    width, height : int
        The largest the picture may be; it keeps the image's proportions and is never enlarged to fill them.
    x, y : float
        Left upper corner of the part, in pixels of the image.
    across, down : float, optional
        Size of the part; the rest of the image where absent.
    """

    width: int = LARGEST_SIDE
    height: int = LARGEST_SIDE
    x: float = 0.0
    y: float = 0.0
    across: float | None = None
    down: float | None = None

    def part(self, columns: int, rows: int) -> tuple[float, float, float, float]:
        """The part of an image of that size as (left, upper, right, lower).

        Raises
        ------
        SlideError
            It lies outside the image.
        """
        right = columns if self.across is None else min(columns, self.x + self.across)
        lower = rows if self.down is None else min(rows, self.y + self.down)
        if self.x >= right or self.y >= lower:
            raise SlideError(f"the part lies outside the image of {columns} by {rows} pixels")
        return self.x, self.y, right, lower

    def fit(self, across: float, down: float) -> tuple[int, int]:
        """The size of a picture of a part of that size."""
        scale = min(1.0, self.width / across, self.height / down)
        return max(1, round(across * scale)), max(1, round(down * scale))


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
    """One stored frame as a picture, colours in sRGB.

    Raises
    ------
    SlideError
        The frame cannot be decoded, or the viewport lies outside of it.
    """
    ds = read_dataset(path)
    pixels = decode_frame(path, frame)
    if pixels.ndim == 2:
        pixels = _grey(pixels, inverted=text(ds, "PhotometricInterpretation") == "MONOCHROME1")
    elif (convert := to_srgb(ds)[0]) is not None:
        pixels = convert(pixels)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    part = viewport.part(*picture.size)
    return picture.resize(viewport.fit(*_size(part)), Image.Resampling.BOX, box=part)


def render_slide(header: InstanceHeader, series: Sequence[InstanceHeader], viewport: Viewport) -> Image.Image:
    """A tiled colour instance as a picture in sRGB, from the smallest level of its series that is large enough.

    Raises
    ------
    SlideError
        A level cannot be read, or the viewport lies outside the image.
    """
    columns, rows = header.total_pixel_matrix_columns, header.total_pixel_matrix_rows
    part = viewport.part(columns, rows)
    size = viewport.fit(*_size(part))
    enough = min(columns, columns * size[0] / _size(part)[0])
    alike = [other for other in series if other.flavor == header.flavor]
    chosen = min((other for other in [*alike, header] if _columns(other) >= enough), key=_columns)
    try:
        level = Level([other for other in alike if _columns(other) == _columns(chosen)] or [chosen], TileCache())
    except UNREADABLE as exc:
        raise SlideError(f"{chosen.path.name} cannot be read: {exc}") from exc
    across, down = level.size[0] / columns, level.size[1] / rows
    try:
        return _shrink(level, (part[0] * across, part[1] * down, part[2] * across, part[3] * down), size)
    finally:
        level.close()


def _columns(header: InstanceHeader) -> int:
    return header.total_pixel_matrix_columns


def _size(part: tuple[float, float, float, float]) -> tuple[float, float]:
    return part[2] - part[0], part[3] - part[1]


def _shrink(level: Level, part: tuple[float, float, float, float], size: tuple[int, int]) -> Image.Image:
    """A part of the level as a picture of `size`, read in strips."""
    left, upper, right, lower = part
    width, height = size
    x0, x1 = int(left), int(np.ceil(right))
    picture = Image.new("RGB", size)
    rows = max(1, min(height, round(_STRIP_PIXELS / ((x1 - x0) * (lower - upper) / height))))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        y0, y1 = (upper + row * (lower - upper) / height for row in (top, bottom))
        strip = Image.fromarray(level.pixels(x0, int(y0), x1, int(np.ceil(y1))))
        box = (left - x0, y0 - int(y0), right - x0, y1 - int(y0))
        picture.paste(strip.resize((width, bottom - top), Image.Resampling.BOX, box=box), (0, top))
    return picture


def is_tiled(path: Path) -> bool:
    """True for a colour image that is one tiled pixel matrix."""
    ds = read_dataset(path)
    return bool(ds.get("TotalPixelMatrixColumns")) and ds.get("SamplesPerPixel") == 3


def encode_picture(picture: Image.Image, media_type: str, quality: int = 90, *, profile: bool = False) -> bytes:
    """`image/jpeg` or `image/png`; a coloured one may say itself that its colours are sRGB."""
    buffer = io.BytesIO()
    options = {"icc_profile": SRGB} if profile and picture.mode == "RGB" else {}
    if media_type == "image/png":
        picture.save(buffer, "PNG", **options)
    else:
        picture.save(buffer, "JPEG", quality=quality, **options)
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
