"""Small slide instances for tests, each attribute open to change."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

TILE = 64


def picture(width: int, height: int) -> np.ndarray:
    """A smooth RGB picture: lossy codecs come close to it."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    planes = (np.sin(x / 25), np.cos(y / 31), np.sin((x + y) / 37))
    return np.stack([127.5 + 90 * plane for plane in planes], axis=-1).astype(np.uint8)


def tiles_of(image: np.ndarray, tile: int = TILE) -> list[np.ndarray]:
    """Row by row, the last ones filled up with white."""
    height, width = image.shape[:2]
    tiles = []
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            part = np.full((tile, tile, 3), 255, np.uint8)
            piece = image[top : top + tile, left : left + tile]
            part[: piece.shape[0], : piece.shape[1]] = piece
            tiles.append(part)
    return tiles


def jpeg(tile: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "JPEG", **{"quality": 95, "subsampling": 0, **options})
    return buffer.getvalue()


def slide_dataset(size: tuple[int, int], uid: str = "2.25.1", **changes: Any) -> Dataset:
    """One TILED_FULL VOLUME level at 0.2 µm/px without pixel data; `changes` set or (None) delete attributes."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    ds.SOPInstanceUID = uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "2.25.10", "2.25.11", "2.25.12"
    ds.Modality = "SM"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.PatientID, ds.PatientName = "P-1", "Geheim^Greta"
    ds.ContainerIdentifier, ds.AccessionNumber = "S26-1-A", "S26-1"
    ds.Rows = ds.Columns = TILE
    ds.TotalPixelMatrixColumns, ds.TotalPixelMatrixRows = size
    ds.NumberOfFrames = -(-size[0] // TILE) * -(-size[1] // TILE)
    ds.DimensionOrganizationType = "TILED_FULL"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.ImagedVolumeWidth, ds.ImagedVolumeHeight = size[0] * 0.0002, size[1] * 0.0002
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [0.0002, 0.0002]
    shared.PixelMeasuresSequence = [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def spaced(row: float, column: float) -> list[Dataset]:
    """A Shared Functional Groups Sequence with this PixelSpacing in mm."""
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [row, column]
    shared.PixelMeasuresSequence = [measures]
    return [shared]


def save(ds: Dataset, path: Path, frames: Sequence[bytes], *, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write with encoded `frames`, encapsulated where the syntax says so."""
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate(list(frames)) if ds.file_meta.TransferSyntaxUID.is_encapsulated else b"".join(frames)
    ds["PixelData"].VR = "OB"
    ds.save_as(path, enforce_file_format=True)
    return path


def save_level(folder: Path, name: str, image: np.ndarray, uid: str, **changes: Any) -> Path:
    """An uncompressed level showing `image`."""
    ds = slide_dataset((image.shape[1], image.shape[0]), uid, **changes)
    return save(ds, folder / f"{name}.dcm", [tile.tobytes() for tile in tiles_of(image)])


def save_jpeg_level(folder: Path, name: str, image: np.ndarray, uid: str, **changes: Any) -> Path:
    """A JPEG baseline level showing `image`."""
    ds = slide_dataset((image.shape[1], image.shape[0]), uid, PhotometricInterpretation="YBR_FULL_422", **changes)
    return save(ds, folder / f"{name}.dcm", [jpeg(tile) for tile in tiles_of(image)], syntax=JPEGBaseline8Bit)


def plane_positions(places: Iterable[tuple[int, int]]) -> list[Dataset]:
    """Per-frame groups for tiles at (column, row) of the tile grid."""
    items = []
    for column, row in places:
        position, item = Dataset(), Dataset()
        position.ColumnPositionInTotalImagePixelMatrix = column * TILE + 1
        position.RowPositionInTotalImagePixelMatrix = row * TILE + 1
        position.XOffsetInSlideCoordinateSystem = "20"
        position.YOffsetInSlideCoordinateSystem = "40"
        position.ZOffsetInSlideCoordinateSystem = "0"
        item.PlanePositionSlideSequence = [position]
        items.append(item)
    return items
