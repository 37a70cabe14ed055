"""Stain, light and scanner: from dye concentration to 8-bit RGB, by centre.

Dyes absorb by Beer and Lambert: I = I0 * exp(-sum of concentration * absorbance), per channel. Three dyes span the
Romanowsky colours: azure-eosin complex (purple chromatin and azurophilic granules), azure B (blue cytoplasm) and
eosin (pink red cells and eosinophilic granules). Two centres differ in dye balance, light, focus, noise and JPEG.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.domain import RgbImage
from pipeline.phantom.chance import generator
from pipeline.phantom.spec import PhantomSpec

Concentrations = NDArray[np.float32]  # (H, W, 3): purple, blue, pink

PURPLE, BLUE, PINK = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Optics:
    """One slide's stain and one scanner.

    `absorbance` is (3 dyes, 3 channels) in natural-log optical density per unit; `light` is the empty slide's RGB.
    """

    absorbance: NDArray[np.float32]
    light: NDArray[np.float32]
    blur_um: float
    noise: float
    shading: float
    jpeg_quality: int
    sharpen: float


_CENTRES = {
    "a": Optics(
        absorbance=np.array([[1.08, 1.72, 0.50], [1.05, 0.74, 0.20], [0.16, 0.47, 0.36]], dtype=np.float32),
        light=np.array([236, 230, 240], dtype=np.float32),
        blur_um=0.13,
        noise=2.2,
        shading=0.03,
        jpeg_quality=88,
        sharpen=0.3,
    ),
    "b": Optics(
        absorbance=np.array([[0.98, 1.46, 0.62], [1.12, 0.86, 0.34], [0.10, 0.44, 0.40]], dtype=np.float32),
        light=np.array([246, 227, 207], dtype=np.float32),
        blur_um=0.19,
        noise=3.2,
        shading=0.06,
        jpeg_quality=78,
        sharpen=0.0,
    ),
}
_HAEMATOXYLIN_EOSIN = np.array([[0.95, 1.05, 0.45], [0.80, 0.85, 0.40], [0.12, 0.72, 0.38]], dtype=np.float32)


def optics(spec: PhantomSpec) -> Optics:
    """The centre's optics with this slide's jitter of hue, intensity and light."""
    base = _CENTRES[spec.centre]
    rng = generator(spec.seed, 101)
    dyes = base.absorbance if spec.fault != "h&e" else _HAEMATOXYLIN_EOSIN
    absorbance = dyes * rng.uniform(0.93, 1.07, (3, 3)) * rng.uniform(0.88, 1.12, (3, 1))
    light = base.light * rng.uniform(0.95, 1.0) * rng.uniform(0.985, 1.015, 3)
    if spec.fault == "overstained":
        absorbance = absorbance * 2.6
    return Optics(
        absorbance=absorbance.astype(np.float32),
        light=np.minimum(light, 252).astype(np.float32),
        blur_um=base.blur_um + (2.2 if spec.fault == "blurred" else 0.0),
        noise=base.noise,
        shading=base.shading,
        jpeg_quality=base.jpeg_quality,
        sharpen=base.sharpen,
    )


def expose(concentrations: Concentrations, optics: Optics) -> NDArray[np.float32]:
    """Transmitted light, (H, W, 3) in 0..255, before the scanner."""
    density = concentrations.reshape(-1, 3) @ -optics.absorbance
    transmitted = np.exp(density, out=density).reshape(concentrations.shape)
    transmitted *= optics.light
    return np.asarray(transmitted)


def blur(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """Gaussian blur; below a fifth of a pixel the image itself."""
    if sigma_px < 0.2:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigmaX=sigma_px, borderType=cv2.BORDER_REFLECT))


def digitise(image: NDArray[np.float32], optics: Optics, noise: NDArray[np.float32], jpeg: bool) -> RgbImage:
    """Sensor noise, rounding and the scanner's own JPEG; `noise` is (H, W, 3), unit variance."""
    image += noise * optics.noise
    pixels = np.clip(image, 0, 255, out=image).astype(np.uint8)
    if not jpeg:
        return pixels
    flags = [cv2.IMWRITE_JPEG_QUALITY, optics.jpeg_quality]
    _, stream = cv2.imencode(".jpg", pixels[..., ::-1], flags)
    return np.ascontiguousarray(np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR))[..., ::-1])
