"""One pyramid level: pixels by position, read through wsidicom (PS3.3 C.8.12.6, C.7.6.17)."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import wsidicom.config
from pydicom.dataset import Dataset
from pydicom.uid import UID
from wsidicom.errors import (
    WsiDicomError,
    WsiDicomFileError,
    WsiDicomMatchError,
    WsiDicomNotFoundError,
    WsiDicomNotSupportedError,
    WsiDicomOutOfBoundsError,
    WsiDicomStrictRequirementError,
    WsiDicomUidDuplicateError,
)
from wsidicom.file import WsiDicomFileSource
from wsidicom.file.io.wsidicom_io import WsiDicomIO
from wsidicom.geometry import Point
from wsidicom.instance import WsiInstance

from dicom_io.colour import to_srgb
from dicom_io.contexts import STORED_TRANSFER_SYNTAXES
from dicom_io.errors import SlideError
from dicom_io.header import InstanceHeader, read_dataset, text
from dicom_io.pixels import FrameFormat
from dicom_io.scan import UNREADABLE
from pipeline.domain import RgbImage

# Every level is a source of its own; the decoded tiles are cached here, once for all.
wsidicom.config.settings.encoded_frame_cache_size = 0
wsidicom.config.settings.decoded_frame_cache_size = 0

WHITE = 255
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_CACHED_BYTES = 96 << 20
_REFUSED = (  # by wsidicom, whose errors have no common base, or by what it reads with
    WsiDicomError,
    WsiDicomFileError,
    WsiDicomMatchError,
    WsiDicomNotFoundError,
    WsiDicomNotSupportedError,
    WsiDicomOutOfBoundsError,
    WsiDicomStrictRequirementError,
    WsiDicomUidDuplicateError,
    *UNREADABLE,
    IndexError,
)


class TileCache:
    """The tiles decoded last, shared by the levels of a slide; safe to use from several threads."""

    def __init__(self, size_bytes: int = _CACHED_BYTES) -> None:
        self._tiles: OrderedDict[tuple[int, int, int], RgbImage] = OrderedDict()
        self._free = size_bytes
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int, int]) -> RgbImage | None:
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
            return tile

    def put(self, key: tuple[int, int, int], tile: RgbImage) -> None:
        with self._lock:
            if key in self._tiles:
                return
            self._tiles[key] = tile
            self._free -= tile.nbytes
            while self._free < 0 and self._tiles:
                self._free += self._tiles.popitem(last=False)[1].nbytes


class Level:
    """All instances of one matrix size: one image, its concatenation parts, or its focal planes.

    Parameters
    ----------
    headers : Sequence[InstanceHeader]
        Not empty, one matrix size.
    cache : TileCache

    Raises
    ------
    SlideError
        The pixels cannot be read; names file and attribute.
    """

    def __init__(self, headers: Sequence[InstanceHeader], cache: TileCache) -> None:
        self.header = headers[0]
        self.size = (self.header.total_pixel_matrix_columns, self.header.total_pixel_matrix_rows)
        self._cache = cache
        ds = read_dataset(self.header.path)
        self._format = _frame_format(self.header, ds)
        self._to_srgb, colour_warning = to_srgb(ds)
        self._source, instances = _open(headers)
        self._instance, self._z = _middle_plane(instances)
        self._path = self._instance.optical_paths[0]
        self.warnings = (*_warnings(instances), *([colour_warning] if colour_warning else []))

    def close(self) -> None:
        """Close the files."""
        self._source.close()

    def pixels(self, x0: int, y0: int, x1: int, y1: int) -> RgbImage:
        """The half-open rectangle of this level's pixels, (y1 - y0, x1 - x0, 3); white outside the matrix."""
        canvas = np.full((y1 - y0, x1 - x0, 3), WHITE, dtype=np.uint8)
        width, height = self._format.columns, self._format.rows
        left, top = max(x0, 0), max(y0, 0)
        right, bottom = min(x1, self.size[0]), min(y1, self.size[1])
        if left >= right or top >= bottom:
            return canvas
        for row in range(top // height, (bottom - 1) // height + 1):
            for column in range(left // width, (right - 1) // width + 1):
                tile = self._tile(column, row)
                if tile is None:
                    continue
                tx0, ty0 = max(left, column * width), max(top, row * height)
                tx1, ty1 = min(right, (column + 1) * width), min(bottom, (row + 1) * height)
                canvas[ty0 - y0 : ty1 - y0, tx0 - x0 : tx1 - x0] = tile[
                    ty0 - row * height : ty1 - row * height, tx0 - column * width : tx1 - column * width
                ]
        return canvas

    def _tile(self, column: int, row: int) -> RgbImage | None:
        """A decoded tile; None where a sparse image has none."""
        key = (id(self), column, row)
        tile = self._cache.get(key)
        if tile is not None:
            return tile
        data = self._instance.image_data
        try:
            if data.is_sparse(Point(column, row), self._z, self._path):
                return None
            tile = self._format.decode(data.get_encoded_tile(Point(column, row), self._z, self._path))
        except SlideError as exc:
            raise SlideError(f"{self.header.path.name}, tile column {column} row {row}: {exc}") from exc
        except _REFUSED as exc:
            raise SlideError(
                f"{self.header.path.name}: PixelData (7FE0,0010) of tile column {column} row {row} cannot be found; "
                "send the slide again"
            ) from exc
        if self._to_srgb is not None:
            tile = self._to_srgb(tile)
        self._cache.put(key, tile)
        return tile


class _File(WsiDicomIO):  # type: ignore[misc] # wsidicom is not typed
    """A file as wsidicom reads it, without what it refuses: it finds the frames, `FrameFormat` decodes them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("rb"), filepath=str(path), owned=True)

    def read_dataset(self, force: bool = False) -> Dataset:
        ds: Dataset = super().read_dataset(force)
        ds.PlanarConfiguration = 0
        ds.PhotometricInterpretation = "RGB"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]  # a label by itself has no level that wsidicom wants
        return ds


def _frame_format(header: InstanceHeader, ds: Dataset) -> FrameFormat:
    for keyword, needed in (
        ("SamplesPerPixel", 3),
        ("BitsAllocated", 8),
        ("BitsStored", 8),
        ("PixelRepresentation", 0),
    ):
        if ds.get(keyword) != needed:
            raise SlideError(
                f"{header.path.name}: {keyword} is {ds.get(keyword, 'absent')}, only {needed} is read; "
                "export the slide as 8-bit RGB or YBR"
            )
    photometric_interpretation = text(ds, "PhotometricInterpretation")
    if photometric_interpretation not in _COLOURS:
        raise SlideError(
            f"{header.path.name}: PhotometricInterpretation is {photometric_interpretation or 'absent'}, "
            f"only {', '.join(_COLOURS)} are read; export the slide as 8-bit RGB or YBR"
        )
    if header.transfer_syntax_uid not in STORED_TRANSFER_SYNTAXES:
        raise SlideError(
            f"{header.path.name}: TransferSyntaxUID {UID(header.transfer_syntax_uid).name} is not read; "
            "export the slide as JPEG baseline, JPEG 2000, JPEG-LS, RLE or uncompressed"
        )
    return FrameFormat(
        transfer_syntax_uid=header.transfer_syntax_uid,
        photometric_interpretation=photometric_interpretation,
        rows=header.rows,
        columns=header.columns,
        planar_configuration=int(ds.get("PlanarConfiguration") or 0),
    )


def _open(headers: Sequence[InstanceHeader]) -> tuple[WsiDicomFileSource, list[WsiInstance]]:
    names = ", ".join(header.path.name for header in headers)
    files = [_File(header.path) for header in headers]
    try:
        source = WsiDicomFileSource(files)
        instances = list(source.level_instances)
        opened = len(source.readers)
        for instance in instances:
            _ = instance.image_data.tiles, instance.optical_paths, instance.focal_planes  # read now, fail now
    except _REFUSED as exc:
        for file in files:
            file.close()
        raise SlideError(
            f"{names}: the tiles cannot be located ({exc}); check DimensionOrganizationType, NumberOfFrames and "
            "PerFrameFunctionalGroupsSequence"
        ) from exc
    if opened < len(headers):
        source.close()
        raise SlideError(f"{names}: {len(headers) - opened} of {len(headers)} files cannot be read as slide levels")
    return source, instances


def _middle_plane(instances: Sequence[WsiInstance]) -> tuple[WsiInstance, float]:
    """The instance and z (µm) of the middle focal plane."""
    planes = sorted(
        ((z, number) for number, instance in enumerate(instances) for z in instance.focal_planes),
    )
    z, number = planes[len(planes) // 2]
    return instances[number], z


def _warnings(instances: Sequence[WsiInstance]) -> tuple[str, ...]:
    planes = {z for instance in instances for z in instance.focal_planes}
    paths = {path for instance in instances for path in instance.optical_paths}
    found = []
    if len(planes) > 1:
        found.append(f"the slide has {len(planes)} focal planes; the middle one is read")
    if len(paths) > 1:
        found.append(f"the slide has {len(paths)} optical paths; the first one is read")
    return tuple(found)
