"""The process that owns the model: opens slides and counts them, one at a time."""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from dicom_io.completeness import volumes_of
from dicom_io.errors import InstanceRejected, SlideError
from dicom_io.header import InstanceHeader, parse_header
from dicom_io.slide import DicomSlide
from dicom_io.source import read_source
from node.settings import AnalysisSettings, BundleSettings
from pipeline import run
from pipeline.bundle import DEFAULT, load_bundle
from pipeline.domain import Analysis, BundleInfo, SlideInfo

DEVICE_LOST = 75  # EX_TEMPFAIL of sysexits.h

_log = structlog.get_logger(__name__)


class Inference:
    """Holds the bundle.

    Raises
    ------
    WeightsError
        A file of the bundle is missing, altered or of another shape.

    """

    def __init__(self, bundle: BundleSettings, analysis: AnalysisSettings) -> None:
        self._bundle = load_bundle(bundle_folder(bundle), device=bundle.device)
        self._settings = run.AnalysisSettings(**analysis.model_dump())
        self._one_at_a_time = threading.Lock()

    @property
    def info(self) -> BundleInfo:
        """Which bundle counts."""
        return self._bundle.info

    @property
    def field_um(self) -> float:
        """Side of the square that the classifier sees of a cell."""
        return self._bundle.classes.config.field_um

    def analyse(self, slide: DicomSlide, progress: Callable[[str, float], None]) -> Analysis:
        """Count a slide.

        Raises
        ------
        NoCountableRegion, TooFewCells
            It cannot be counted; trying again gives the same.
        OutOfMemory
            Trying again may help.

        A CUDA error, after which no process can use its device again, ends this one.

        """
        with self._one_at_a_time:
            try:
                return run.analyse(slide, self._bundle, self._settings, progress)
            except RuntimeError as exc:
                if "CUDA error" not in str(exc):
                    raise
                _log.critical("the GPU failed; this process cannot use it again and ends", error=str(exc))
                os._exit(DEVICE_LOST)  # the supervisor starts another, which takes the case up


def bundle_folder(bundle: BundleSettings) -> Path:
    """Where the site's bundle is."""
    return Path(bundle.path).expanduser() if bundle.path else DEFAULT


def describe(paths: Sequence[Path]) -> tuple[SlideInfo, tuple[str, ...], str]:
    """What a slide says of itself, its warnings, and why it cannot be read; the last is empty when it can.

    A slide that cannot be read is described by the header of its largest level, so that its result can say why.

    Raises
    ------
    SlideError
        Not even a header can be read.

    """
    try:
        with DicomSlide.open(paths) as slide:
            read_source(paths)  # what results need to refer to the slide is missed before it is counted
            return slide.info, slide.warnings, ""
    except SlideError as exc:
        return _from_header(paths, exc), (), str(exc)


def _from_header(paths: Sequence[Path], error: SlideError) -> SlideInfo:
    headers: list[InstanceHeader] = []
    for path in paths:
        try:
            headers.append(parse_header(path))
        except InstanceRejected:
            continue
    if not headers:
        raise error
    base = next(iter(volumes_of(headers)), headers[0])
    return SlideInfo(
        study_instance_uid=base.study_instance_uid,
        series_instance_uid=base.series_instance_uid,
        container_identifier=base.container_identifier,
        specimen_identifier=base.specimen_identifier,
        accession_number=base.accession_number,
        patient=base.patient,
        size=(base.total_pixel_matrix_columns, base.total_pixel_matrix_rows),
        mpp=base.pixel_spacing[0] * 1000 if base.pixel_spacing else 0.0,
    )
