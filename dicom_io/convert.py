"""A vendor's slide → DICOM VL Whole Slide Microscopy Image, by wsidicomizer (the extra `convert`)."""

from pathlib import Path

from pydicom import config

from dicom_io.errors import SlideError


def convert_slide(file: Path, out: Path) -> tuple[Path, ...]:
    """Write a slide of openslide's or bioformats' kind as a DICOM pyramid; JPEG tiles are kept as they are.

    Label and overview are left out: they show the patient.

    Parameters
    ----------
    file : Path
        An svs, ndpi, mrxs, tif or another slide.
    out : Path
        Folder, made when absent.

    Raises
    ------
    SlideError
        wsidicomizer is not installed, or does not read the file.
    """
    try:
        from wsidicomizer import WsiDicomizer  # noqa: PLC0415 - an extra: absent in most installations
    except ImportError as exc:
        msg = "convert needs wsidicomizer: install it with pip install 'marrow-node[convert]'"
        raise SlideError(msg) from exc
    config.future_behavior(enable_future=False)  # its import turns this and the next on for the whole process
    config.enforce_valid_values = False
    out.mkdir(parents=True, exist_ok=True)
    try:
        written = WsiDicomizer.convert(file, out, include_label=False, include_overview=False, include_thumbnail=False)
    except Exception as exc:
        msg = f"{file.name} cannot be converted ({type(exc).__name__}: {exc}); give a slide that openslide reads"
        raise SlideError(msg) from exc
    return tuple(Path(path) for path in written)
