"""Whether a set of instances is a whole slide: necessary conditions (PS3.3 A.32.8, C.8.12.4, C.7.6.16.2.2.4).

These checks never suffice alone: a level may still be on its way. The node combines them with the end of the
association and a quiet time.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dicom_io.contexts import WHOLE_SLIDE
from dicom_io.header import InstanceHeader

_SCALE_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """`base` is the instance to analyse; `problems` say what is missing or contradictory, and what to do."""

    complete: bool
    base: InstanceHeader | None
    problems: tuple[str, ...]


def volumes_of(headers: Iterable[InstanceHeader]) -> list[InstanceHeader]:
    """The pyramid: VOLUME instances of whole slide images, largest matrix first, parts in order."""
    volumes = [h for h in headers if h.sop_class_uid == WHOLE_SLIDE and h.flavor == "VOLUME"]
    return sorted(
        volumes,
        key=lambda h: (
            -h.total_pixel_matrix_columns * h.total_pixel_matrix_rows,
            h.resampled,
            h.concatenation_uid,
            h.in_concatenation_number,
            h.sop_instance_uid,
        ),
    )


def assess(headers: Sequence[InstanceHeader]) -> Completeness:
    """Check the geometry of one slide's instances.

    Parameters
    ----------
    headers : Sequence[InstanceHeader]
        Everything received for the slide; labels, overviews, annotations and other objects are passed over.
    """
    volumes = volumes_of(headers)
    if not volumes:
        return Completeness(complete=False, base=None, problems=(_no_volume(headers),))
    originals = [volume for volume in volumes if not volume.resampled]
    problems = [
        *_identity_problems(volumes),
        *_base_problems(volumes, originals),
        *_level_problems(volumes),
        *_concatenation_problems(volumes),
        *_duplicate_problems(volumes),
        *(problem for volume in volumes for problem in _frame_problems(volume)),
    ]
    base = originals[0] if originals else None
    return Completeness(complete=not problems, base=base, problems=tuple(problems))


def _no_volume(headers: Sequence[InstanceHeader]) -> str:
    slides = [header for header in headers if header.sop_class_uid == WHOLE_SLIDE]
    if slides:
        flavors = ", ".join(sorted({header.flavor or "none" for header in slides}))
        return f"no instance has ImageType value 3 VOLUME, only {flavors}: send the pyramid levels of the slide"
    modalities = ", ".join(sorted({header.modality or "none" for header in headers})) or "none"
    return f"no VL Whole Slide Microscopy Image among {len(headers)} instances (Modality {modalities}): send a slide"


def _identity_problems(volumes: Sequence[InstanceHeader]) -> Iterable[str]:
    for keyword, values in (
        ("StudyInstanceUID", {volume.study_instance_uid for volume in volumes}),
        ("ContainerIdentifier", {volume.container_identifier for volume in volumes}),
        ("PatientID", {volume.patient.patient_id for volume in volumes}),
    ):
        if len(values) > 1:
            yield f"{keyword} has {len(values)} values: these are instances of different slides; give one at a time"


def _base_problems(volumes: Sequence[InstanceHeader], originals: Sequence[InstanceHeader]) -> Iterable[str]:
    if not originals:
        yield "the base level is missing: every VOLUME has ImageType value 4 RESAMPLED; send the level that was scanned"
        return
    if _matrix(volumes[0]) != _matrix(originals[0]):
        yield (
            f"the base level is missing: a RESAMPLED level is larger ({_size(volumes[0])}) "
            f"than the largest scanned one ({_size(originals[0])})"
        )


def _level_problems(volumes: Sequence[InstanceHeader]) -> Iterable[str]:
    """Every level must show the same field at its own spacing."""
    base = volumes[0]
    if base.pixel_spacing is None or min(_matrix(base)) <= 0:
        return
    for volume in volumes[1:]:
        if volume.pixel_spacing is None or min(_matrix(volume)) <= 0:
            continue
        for axis, pixels, base_pixels in (
            (0, volume.total_pixel_matrix_rows, base.total_pixel_matrix_rows),
            (1, volume.total_pixel_matrix_columns, base.total_pixel_matrix_columns),
        ):
            length, base_length = pixels * volume.pixel_spacing[axis], base_pixels * base.pixel_spacing[axis]
            # one pixel of rounding at either level, and the tolerance
            slack = base_length * _SCALE_TOLERANCE + volume.pixel_spacing[axis] + base.pixel_spacing[axis]
            if abs(length - base_length) > slack:
                yield (
                    f"level {_size(volume)} shows a field of {length:.3f} mm, the base level {base_length:.3f} mm: "
                    "PixelSpacing and TotalPixelMatrix disagree, or it shows another part of the slide; "
                    "export one scanned area at a time"
                )
                break


def _concatenation_problems(volumes: Sequence[InstanceHeader]) -> Iterable[str]:
    parts: dict[str, list[InstanceHeader]] = defaultdict(list)
    for volume in volumes:
        if volume.concatenation_uid:
            parts[volume.concatenation_uid].append(volume)
    for group in parts.values():
        numbers = {part.in_concatenation_number for part in group}
        total = max(*numbers, *(part.in_concatenation_total_number for part in group))  # which may not be stated
        if len(numbers) < total:
            yield f"level {_size(group[0])}: {len(numbers)} of {total} concatenation parts are here; send the others"
        elif len(group) > len(numbers):
            yield f"level {_size(group[0])}: two instances are the same concatenation part; send one scan of the slide"
        elif group[0].dimension_organization_type == "TILED_FULL" and min(_tiles(group[0])) > 0:
            yield from _number_of_frames_problems(group[0], sum(part.number_of_frames for part in group))


def _duplicate_problems(volumes: Sequence[InstanceHeader]) -> Iterable[str]:
    """Instances of one size are parts, focal planes or optical paths of one image; else there are two images."""
    seen: dict[tuple[object, ...], str] = {}
    for volume in volumes:
        image = volume.concatenation_uid or volume.sop_instance_uid
        key = (*_matrix(volume), volume.optical_path_identifier, volume.z_offset_um)
        if seen.setdefault(key, image) != image:
            yield f"two different instances are level {_size(volume)}: send one scan of the slide"


def _frame_problems(volume: InstanceHeader) -> Iterable[str]:
    if min(_tiles(volume)) <= 0:
        yield f"{volume.sop_instance_uid}: Rows, Columns or TotalPixelMatrix is absent or 0"
    elif volume.dimension_organization_type == "TILED_FULL" and not volume.concatenation_uid:
        yield from _number_of_frames_problems(volume, volume.number_of_frames)


def _number_of_frames_problems(volume: InstanceHeader, found: int) -> Iterable[str]:
    """TILED_FULL has one frame for each tile, focal plane and optical path (C.7.6.17.3)."""
    across = math.ceil(volume.total_pixel_matrix_columns / volume.columns)
    down = math.ceil(volume.total_pixel_matrix_rows / volume.rows)
    frames = across * down * volume.total_pixel_matrix_focal_planes * volume.number_of_optical_paths
    if frames != found:
        yield f"level {_size(volume)}: NumberOfFrames is {found}, TILED_FULL needs {frames}; send the slide again"


def _tiles(volume: InstanceHeader) -> tuple[int, int, int, int]:
    """What a level is divided by and into."""
    return *_matrix(volume), volume.rows, volume.columns


def _matrix(volume: InstanceHeader) -> tuple[int, int]:
    return volume.total_pixel_matrix_columns, volume.total_pixel_matrix_rows


def _size(volume: InstanceHeader) -> str:
    return f"{volume.total_pixel_matrix_columns}x{volume.total_pixel_matrix_rows}"
