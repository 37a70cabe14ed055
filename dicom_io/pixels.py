"""One encoded frame → RGB (PS3.5 section 8.2, PS3.3 C.7.6.3.1.2).

The photometric interpretation and the compressed stream may disagree about colour; the rules here follow the stream
where it is explicit and the attribute where it is not.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
)

from dicom_io.errors import SlideError
from pipeline.domain import RgbImage

_JPEG_2000 = (JPEG2000, JPEG2000Lossless, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL)
_YCBCR = ("YBR_FULL", "YBR_FULL_422")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFormat:
    """How the frames of one instance are encoded; 8 bits a sample, 3 samples a pixel."""

    transfer_syntax_uid: str
    photometric_interpretation: str
    rows: int
    columns: int
    planar_configuration: int = 0

    def decode(self, frame: bytes) -> RgbImage:
        """The pixels of one frame, (rows, columns, 3).

        Raises
        ------
        SlideError
            The frame is damaged or has another size than Rows and Columns say.
        """
        try:
            image = self._decode(frame)
        except Exception as exc:  # every codec has its own errors
            raise SlideError(f"a frame cannot be decoded ({UID(self.transfer_syntax_uid).name}): {exc}") from exc
        if image.shape != (self.rows, self.columns, 3):
            raise SlideError(f"a frame has shape {image.shape}, Rows and Columns say {self.rows} x {self.columns}")
        return image

    def _decode(self, frame: bytes) -> RgbImage:
        if self.transfer_syntax_uid == JPEGBaseline8Bit:
            return _decode_jpeg(frame, rgb=self.photometric_interpretation == "RGB")
        if self.transfer_syntax_uid in _JPEG_2000:
            image: Image.Image = Image.open(io.BytesIO(frame), formats=("JPEG2000",))
            if self.photometric_interpretation in _YCBCR and image.mode == "RGB":
                image = Image.frombytes("YCbCr", image.size, image.tobytes())  # no transform inside the stream
            return np.asarray(image.convert("RGB"))
        return self._decode_with_pydicom(frame)

    def _decode_with_pydicom(self, frame: bytes) -> RgbImage:
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = UID(self.transfer_syntax_uid)
        ds.Rows, ds.Columns = self.rows, self.columns
        ds.SamplesPerPixel, ds.PixelRepresentation = 3, 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
        ds.PhotometricInterpretation = self.photometric_interpretation
        ds.PlanarConfiguration = self.planar_configuration
        ds.PixelData = encapsulate([frame], has_bot=False) if ds.file_meta.TransferSyntaxUID.is_encapsulated else frame
        pixels, _ = get_decoder(ds.file_meta.TransferSyntaxUID).as_array(ds, raw=False)
        return np.asarray(pixels, dtype=np.uint8)


def _decode_jpeg(frame: bytes, *, rgb: bool) -> RgbImage:
    """A baseline JPEG.

    JFIF and Adobe markers and chroma subsampling say YCbCr or RGB by themselves, and libjpeg heeds them. Without any
    of them libjpeg guesses YCbCr; then PhotometricInterpretation RGB means that the components are RGB as they are.
    """
    image = Image.open(io.BytesIO(frame), formats=("JPEG",))
    explicit = "jfif" in image.info or "adobe_transform" in image.info
    components: list[tuple[int, int, int, int]] = getattr(image, "layer", [])  # id, sampling across and down, table
    subsampled = len({(across, down) for _, across, down, _ in components}) > 1
    if rgb and not explicit and not subsampled and bytes(number for number, *_ in components) != b"RGB":
        image.draft("YCbCr", image.size)
        return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, 3)
    return np.asarray(image.convert("RGB"))
