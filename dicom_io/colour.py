"""The scanner's colours as sRGB (ICC.1, PS3.3 C.11.15 and C.8.12.5)."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms
from pydicom.dataset import Dataset

from pipeline.domain import RgbImage

NO_PROFILE = "ICCProfile (0028,2000) is absent: the colours are taken as sRGB"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BAD_PROFILE = "ICCProfile (0028,2000) cannot be used: the colours are taken as sRGB"


def to_srgb(ds: Dataset) -> tuple[Callable[[RgbImage], RgbImage] | None, str]:
    """How to bring the pixels of `ds` to sRGB.

    Returns
    -------
    tuple[Callable[[RgbImage], RgbImage] | None, str]
        The conversion, None where the pixels are sRGB or taken as such, and the warning in the latter case.
    """
    paths = ds.get("OpticalPathSequence") or [Dataset()]
    profile = paths[0].get("ICCProfile") or ds.get("ICCProfile")
    if not profile:
        return None, NO_PROFILE
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(bytes(profile)))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None, ""
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None, BAD_PROFILE
    return lambda pixels: _converted(pixels, transform), ""


def _converted(pixels: RgbImage, transform: ImageCms.ImageCmsTransform) -> RgbImage:
    image = ImageCms.applyTransform(Image.fromarray(pixels), transform)
    assert image is not None
    return np.asarray(image)
