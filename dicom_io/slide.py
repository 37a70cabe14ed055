"""A DICOM slide by box and µm/px (PS3.3 A.32.8); the `Slide` of `pipeline.domain`."""

import hashlib
import math
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.valuerep import DT

from dicom_io.completeness import assess, volumes_of
from dicom_io.errors import InstanceRejected, SlideError
from dicom_io.header import InstanceHeader, parse_header, read_dataset, text
from dicom_io.levels import Level, TileCache
from dicom_io.scan import dataset_digest
from pipeline.domain import Box, RgbImage, SlideInfo

READABLE_MPP = (0.05, 0.6)  # µm/px a cell can be analysed at
USUAL_MPP = (0.08, 0.26)  # 40x to 100x objectives
_SQUARE_TOLERANCE = 0.01
_FIELD_TOLERANCE = 0.02
_BLOCK = 4096  # source pixels a side decoded at a time
_SAME_SCALE = 1e-6


class DicomSlide:
    """A slide made of the instances of one scan. Reads are safe from several threads.

    Use `DicomSlide.open`; a context manager.
    """

    def __init__(self, headers: Sequence[InstanceHeader], warnings: Sequence[str] = ()) -> None:
        report = assess(headers)
        if report.base is None or not report.complete:
            raise SlideError("; ".join(report.problems))
        self._base = report.base
        self._headers = volumes_of(headers)
        self._mpp = _mpp(self._base)
        self._levels: list[Level] = []
        cache = TileCache()
        try:
            for size in sorted({_matrix(header) for header in self._headers}, reverse=True):
                self._levels.append(Level([header for header in self._headers if _matrix(header) == size], cache))
        except SlideError:
            self.close()
            raise
        found = [*warnings, *_scale_warnings(self._base), *(text for level in self._levels for text in level.warnings)]
        self.warnings = tuple(dict.fromkeys(found))

    @classmethod
    def open(cls, paths: Sequence[Path]) -> Self:
        """Open the files of one slide, or the files in a folder.

        Parameters
        ----------
        paths : Sequence[Path]
            DICOM files and folders of them. Files that are not DICOM are passed over with a warning; labels and
            overviews are never read: they show the patient.

        Raises
        ------
        SlideError
            Not one whole slide that can be read; names attribute, file and remedy.
        """
        files = sorted({file for path in paths for file in (_visible_files(path) if path.is_dir() else (path,))})
        headers, skipped = [], []
        for file in files:
            try:
                headers.append(parse_header(file))
            except InstanceRejected as exc:
                skipped.append(str(exc))
            except FileNotFoundError as exc:
                raise SlideError(f"{file}: no such file; give a slide's DICOM files or their folder") from exc
        if not headers:
            reason = "; ".join(skipped[:3]) or "the folder is empty"
            raise SlideError(f"no DICOM file to read ({reason}); give the folder of a slide's DICOM files")
        return cls(headers, warnings=[f"passed over: {reason}" for reason in skipped])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every file."""
        for level in self._levels:
            level.close()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of level 0."""
        return self._levels[0].size

    @property
    def mpp(self) -> float:
        """µm per level-0 pixel."""
        return self._mpp

    @property
    def base_path(self) -> Path:
        """The file of the instance that annotations and segmentations refer to."""
        return self._base.path

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the pyramid, largest level first."""
        return tuple(header.path for header in self._headers)

    @cached_property
    def info(self) -> SlideInfo:
        """Identity, geometry and scanner; the digest reads every file once."""
        ds = read_dataset(self._base.path)
        base = self._base
        return SlideInfo(
            study_instance_uid=base.study_instance_uid,
            series_instance_uid=base.series_instance_uid,
            container_identifier=base.container_identifier,
            specimen_identifier=base.specimen_identifier,
            accession_number=base.accession_number,
            patient=base.patient,
            size=self.size,
            mpp=self.mpp,
            manufacturer=text(ds, "Manufacturer"),
            model_name=text(ds, "ManufacturerModelName"),
            serial_number=text(ds, "DeviceSerialNumber"),
            acquired_at=_acquired_at(ds),
            synthetic=text(ds, "SyntheticData") == "YES",
            digest=slide_digest(self._headers),
        )

    def read(self, box: Box, mpp: float) -> RgbImage:
        """The box resampled to `mpp` by area from the nearest finer level; outside the slide is white.

        Parameters
        ----------
        box : Box
            In level-0 pixels; may reach over the edge.
        mpp : float
            µm/px wanted.

        Returns
        -------
        RgbImage
            round(side * self.mpp / mpp) pixels a side, at least 1.

        Raises
        ------
        SlideError
            A frame is damaged.
        """
        shrink = mpp / self._mpp
        width, height = (max(1, round(side / shrink)) for side in box.size)
        level = self._level_for(shrink)
        scale_x, scale_y = self._scales(level)
        x0, y0 = box.x0 / scale_x, box.y0 / scale_y
        step_x, step_y = box.size[0] / scale_x / width, box.size[1] / scale_y / height
        if max(step_x, step_y) > _BLOCK / 8:  # so few pixels that one of them is too much to read at once
            finer = self.read(box, mpp * _BLOCK / 64 / max(step_x, step_y))
            return np.asarray(Image.fromarray(finer).resize((width, height), Image.Resampling.BOX))
        image = np.empty((height, width, 3), dtype=np.uint8)
        columns, rows = max(1, int(_BLOCK / step_x)), max(1, int(_BLOCK / step_y))
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                down, across = min(rows, height - top), min(columns, width - left)
                corner = (x0 + left * step_x, y0 + top * step_y)
                area = (*corner, corner[0] + across * step_x, corner[1] + down * step_y)
                image[top : top + down, left : left + across] = _resample(level, area, (across, down))
        return image

    def _level_for(self, shrink: float) -> Level:
        fitting = [level for level in self._levels if max(self._scales(level)) <= shrink * (1 + _SAME_SCALE)]
        return fitting[-1] if fitting else self._levels[0]

    def _scales(self, level: Level) -> tuple[float, float]:
        """Level-0 pixels per pixel of `level`, across and down."""
        return _scale(self.size[0], level.size[0]), _scale(self.size[1], level.size[1])


def _visible_files(folder: Path) -> list[Path]:
    """Files in `folder` and below it, without hidden ones: spools, indexes."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def slide_digest(headers: Sequence[InstanceHeader]) -> str:
    """SHA-256 over the sorted SOP instance UIDs and data set digests of the pyramid: the content of a slide."""
    lines = sorted(f"{h.sop_instance_uid} {h.sha256 or dataset_digest(h.path)}\n" for h in volumes_of(headers))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _matrix(header: InstanceHeader) -> tuple[int, int]:
    return header.total_pixel_matrix_columns, header.total_pixel_matrix_rows


def _scale(base: int, size: int) -> float:
    """A whole factor where rounding of an odd base size explains the sizes, else their ratio."""
    factor = round(base / size)
    return float(factor) if size in (base // factor, math.ceil(base / factor)) else base / size


def _resample(level: Level, area: tuple[float, float, float, float], size: tuple[int, int]) -> RgbImage:
    """The float rectangle `area` of a level as an image of `size` (width, height)."""
    x0, y0, x1, y1 = (round(side) if abs(side - round(side)) < _SAME_SCALE else side for side in area)
    left, top, right, bottom = math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)
    pixels = level.pixels(left, top, right, bottom)
    if pixels.shape[1::-1] == size and (left, top, right, bottom) == (x0, y0, x1, y1):
        return pixels
    shrinking = (x1 - x0) >= size[0]
    method = Image.Resampling.BOX if shrinking else Image.Resampling.BICUBIC
    window = (x0 - left, y0 - top, x1 - left, y1 - top)
    return np.asarray(Image.fromarray(pixels).resize(size, resample=method, box=window))


def _mpp(base: InstanceHeader) -> float:
    name = f"PixelSpacing (0028,0030) in Pixel Measures Sequence of {base.path.name}"
    if base.pixel_spacing is None:
        raise SlideError(f"{name} is absent: without it no cell has a size; export the slide with its resolution")
    row, column = base.pixel_spacing
    if not (math.isfinite(row) and math.isfinite(column)) or min(row, column) <= 0:
        raise SlideError(f"{name} is not positive: export the slide with its resolution")
    if abs(row - column) > _SQUARE_TOLERANCE * max(row, column):
        raise SlideError(f"{name} is not square ({row} x {column} mm): export the slide with square pixels")
    mpp = 1000.0 * (row + column) / 2
    lowest, highest = READABLE_MPP
    if not lowest <= mpp <= highest:
        raise SlideError(
            f"{name} is {mpp:.4g} µm/px, cells are analysed between {lowest} and {highest} µm/px: "
            "correct the value (it is in mm) or scan at 40x to 100x"
        )
    return mpp


def _scale_warnings(base: InstanceHeader) -> list[str]:
    assert base.pixel_spacing is not None
    found = []
    mpp = 1000.0 * base.pixel_spacing[0]
    if not USUAL_MPP[0] <= mpp <= USUAL_MPP[1]:
        found.append(f"the slide's resolution, {mpp:.3g} µm/px, is outside the usual {USUAL_MPP[0]} to {USUAL_MPP[1]}")
    if base.imaged_volume is not None:
        columns, rows = _matrix(base)
        stated, expected = sum(base.imaged_volume), columns * base.pixel_spacing[1] + rows * base.pixel_spacing[0]
        if abs(stated - expected) > _FIELD_TOLERANCE * expected:  # the sum: some writers exchange the two
            found.append(
                f"ImagedVolumeWidth and Height add to {stated:.4g} mm, PixelSpacing gives {expected:.4g} mm: "
                "sizes may be wrong"
            )
    return found


def _acquired_at(ds: Dataset) -> datetime | None:
    """AcquisitionDateTime, else the content's; without an offset there or for the data set it is taken as UTC."""
    content = text(ds, "ContentDate") and text(ds, "ContentDate") + text(ds, "ContentTime")
    try:
        moment = DT(text(ds, "AcquisitionDateTime") or content or "")
        if moment is None:
            return None
        zone = datetime.strptime(text(ds, "TimezoneOffsetFromUTC") or "+0000", "%z").tzinfo
    except ValueError:
        return None
    plain = datetime.fromisoformat(moment.isoformat())
    return plain if plain.tzinfo else plain.replace(tzinfo=zone)
