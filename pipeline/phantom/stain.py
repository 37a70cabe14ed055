"""Stain, light and scanner: from dye amounts to 8-bit RGB, by centre.

Dyes absorb by Beer and Lambert: I = I0 * exp(-sum of amount * absorbance), per channel. Four span the Romanowsky
colours: the azure-eosin complex (purple chromatin and azurophilic granules), azure B (blue cytoplasm), eosin (orange
granules) and stained haemoglobin (red cells). Two centres differ in dye, light, focus, noise and JPEG; beside them
stands a centre that is another for every seed, for what is trained should know the range of laboratories, not one.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.domain import RgbImage
from pipeline.phantom.chance import generator
from pipeline.phantom.spec import PhantomSpec
from pipeline.phantom.textures import Plane

Dyes = NDArray[np.float32]  # (4, H, W): purple, blue, orange, haemoglobin

PURPLE, BLUE, ORANGE, HAEM = range(4)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Optics:
    """One slide's stain and one scanner.

    `absorbance` is (4 dyes, 3 channels) in natural-log optical density per unit; `light` the empty slide's RGB and
    `exposure` the range of factors on it; `film` how much dried plasma stains; `pallor` how hollow the red cells look;
    `relief` scales the contrast of chromatin; `hue` is the range of factors on the purple dye's blue absorbance, from
    violet to magenta.
    """

    absorbance: NDArray[np.float32]
    light: NDArray[np.float32]
    exposure: tuple[float, float]
    film: float
    pallor: float
    relief: float
    hue: tuple[float, float]
    blur_um: float
    noise: float
    shading: float
    jpeg_quality: int
    sharpen: float


def _matrix(*rows: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


_CENTRES = {
    "a": Optics(
        absorbance=_matrix((1.00, 1.98, 0.31), (1.08, 0.86, 0.13), (0.22, 0.80, 0.58), (0.27, 0.33, 0.34)),
        light=np.array([238, 235, 244], dtype=np.float32),
        exposure=(0.76, 1.04),
        film=1.0,
        pallor=0.55,
        relief=1.15,
        hue=(0.85, 1.9),
        blur_um=0.15,
        noise=2.4,
        shading=0.03,
        jpeg_quality=88,
        sharpen=0.35,
    ),
    "b": Optics(
        absorbance=_matrix((1.02, 1.76, 0.36), (1.10, 0.92, 0.30), (0.12, 0.72, 0.50), (0.24, 0.37, 0.27)),
        light=np.array([254, 231, 207], dtype=np.float32),
        exposure=(0.95, 1.01),
        film=0.3,
        pallor=1.5,
        relief=1.7,
        hue=(0.8, 1.25),
        blur_um=0.17,
        noise=1.4,
        shading=0.04,
        jpeg_quality=82,
        sharpen=0.9,
    ),
}
_VARIED_DYES = _matrix((1.00, 1.85, 0.42), (1.08, 0.90, 0.25), (0.20, 0.76, 0.54), (0.26, 0.36, 0.32))
_HAEMATOXYLIN_EOSIN = _matrix((0.95, 1.05, 0.45), (0.80, 0.85, 0.40), (0.12, 0.72, 0.38), (0.10, 0.60, 0.36))


def optics(spec: PhantomSpec) -> Optics:
    """The centre's optics with this slide's jitter of hue, intensity and light."""
    base = _varied(spec.seed) if spec.centre == "varied" else _CENTRES[spec.centre]
    rng = generator(spec.seed, 101)
    dyes = base.absorbance if spec.fault != "h&e" else _HAEMATOXYLIN_EOSIN
    absorbance = dyes * rng.uniform(0.93, 1.07, (4, 3)) * rng.uniform(0.86, 1.14, (4, 1))
    absorbance[PURPLE, 2] *= rng.uniform(*base.hue)
    absorbance[HAEM] *= rng.uniform(0.85, 1.15, 3)
    light = base.light * rng.uniform(0.975, 1.025, 3) * rng.uniform(*base.exposure)
    if spec.fault == "overstained":
        absorbance = absorbance * 2.6
    return Optics(
        absorbance=absorbance.astype(np.float32),
        light=np.minimum(light, 254).astype(np.float32),
        exposure=base.exposure,
        film=base.film * rng.uniform(0.6, 1.5),
        pallor=base.pallor * rng.uniform(0.6, 1.2),
        relief=base.relief * rng.uniform(0.8, 1.2),
        hue=base.hue,
        blur_um=base.blur_um + (2.2 if spec.fault == "blurred" else 0.0),
        noise=base.noise * rng.uniform(0.7, 1.3),
        shading=base.shading,
        jpeg_quality=base.jpeg_quality,
        sharpen=base.sharpen,
    )


def _varied(seed: int) -> Optics:
    """Some laboratory: each dye's absorbance, the light and the scanner from wide ranges."""
    rng = generator(seed, 102)
    absorbance = _VARIED_DYES * rng.uniform(0.75, 1.25, (4, 3)) * rng.uniform(0.85, 1.15, (4, 1))
    light = rng.uniform((225, 215, 195), (254, 250, 250))
    return Optics(
        absorbance=absorbance.astype(np.float32),
        light=light.astype(np.float32),
        exposure=(0.76, 1.04),
        film=rng.uniform(0.2, 1.2),
        pallor=rng.uniform(0.4, 1.7),
        relief=rng.uniform(0.9, 1.9),
        hue=(0.8, 1.5),
        blur_um=rng.uniform(0.12, 0.3),
        noise=rng.uniform(1.0, 3.0),
        shading=rng.uniform(0.02, 0.05),
        jpeg_quality=int(rng.integers(75, 93)),
        sharpen=rng.uniform(0.0, 1.0),
    )


def expose(dyes: Dyes, optics: Optics) -> NDArray[np.float32]:
    """Transmitted light, (H, W, 3) in 0..255, before the scanner."""
    density = -optics.absorbance.T @ dyes.reshape(4, -1)  # (3, H*W)
    np.exp(density, out=density)
    density *= optics.light[:, None]
    return np.asarray(cv2.merge(list(density.reshape(3, *dyes.shape[1:]))))


def blur(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """Gaussian blur; below a fifth of a pixel the image itself."""
    if sigma_px < 0.2:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigmaX=sigma_px, borderType=cv2.BORDER_REFLECT))


def digitise(image: NDArray[np.float32], optics: Optics, noise: NDArray[np.float32] | Plane, *, jpeg: bool) -> RgbImage:
    """Sensor noise, rounding and the scanner's own JPEG; `noise` is (H, W, 3), unit variance. Changes `image`."""
    image += noise * np.float32(optics.noise)
    pixels = np.clip(image, 0, 255, out=image).astype(np.uint8)
    if not jpeg:
        return pixels
    flags = [cv2.IMWRITE_JPEG_QUALITY, optics.jpeg_quality]
    _, stream = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), flags)
    return np.asarray(cv2.cvtColor(np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB))
