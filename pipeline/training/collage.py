"""Countable tiles pieced together from real crops of single cells.

Synthetic tiles alone do not teach what real stain, background, clumps and red cells look like at a tile's scale. Every
crop is brought to optical density with its own background at 0, so that pieces of different light lie on one ground
without a seam: where they meet, the denser one shows.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.phantom.faults import optical_density, transmitted, with_red_cells
from pipeline.phantom.textures import repeat, tiled
from pipeline.tiles import TILE_UM, TilesConfig
from pipeline.training.datasets import CROP_MPP, STORED_SIDE, Crops
from pipeline.training.synthetic import Tiles, nowhere_unfit

TILE_MPP = TILE_UM / TilesConfig().side
PIECE = round(STORED_SIDE * CROP_MPP / TILE_MPP)
DARKEST_GROUND = 1.1  # the optical density a crop without background exceeds everywhere
NEIGHBOURS = 120
JOINED = 0.5  # this share of tiles is joined from several
_ANGLES = 8


def collage(cells: Crops, count: int, seed: int) -> Tiles:
    """`count` countable tiles, each of crops of one data set and of similar stain.

    Sparse to dense, evenly spread or in clusters, with vacuoles and lakes of red cells; film, light and grain differ
    between tiles. Some are joined from several, as where a scanner's fields of different light meet.
    """
    random = np.random.default_rng(seed)
    pieces, grounds = _pieces(cells)
    sources = np.array(cells.sources)
    usable = np.flatnonzero(grounds.max(axis=1) < DARKEST_GROUND)
    stain = pieces.mean(axis=(1, 2))  # (N, 3)

    def alike() -> NDArray[np.intp]:
        like = random.choice(usable)
        same = usable[sources[usable] == sources[like]]
        return np.asarray(same[np.argsort(np.abs(stain[same] - stain[like]).sum(axis=1))[:NEIGHBOURS]])

    images = []
    for _ in range(count):
        tile = _tile(pieces, alike(), random)
        if random.random() < JOINED:
            for _ in range(int(random.integers(1, 5))):
                x0, y0 = random.integers(-60, tile.shape[0] - 30, 2)
                window = np.s_[max(y0, 0) : y0 + 90, max(x0, 0) : x0 + 120]
                tile[window] = _tile(pieces, alike(), random)[window]
        images.append(tile)
    countable = np.ones(count, dtype=bool)
    return Tiles(
        images=np.stack(images), countable=countable, slides=np.full(count, seed), unfit=nowhere_unfit(countable)
    )


def _pieces(cells: Crops) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N, P, P, 3) optical density above each crop's ground at the tile's scale, and (N, 3) the grounds."""
    small = np.stack([cv2.resize(image, (PIECE, PIECE), interpolation=cv2.INTER_AREA) for image in cells.images])
    density = optical_density(small)
    grounds = np.percentile(density.reshape(len(density), -1, 3), 10, axis=1).astype(np.float32)
    return np.maximum(density - grounds[:, None, None], 0), grounds


def _tile(pieces: NDArray[np.float32], near: NDArray[np.intp], random: np.random.Generator) -> NDArray[np.uint8]:
    side = TilesConfig().side
    density = np.zeros((side, side, 3), dtype=np.float32)
    for x, y in _places(side, random):
        piece = np.rot90(pieces[random.choice(near)], int(random.integers(4)))
        reach = random.uniform(0.30, 0.5) * PIECE
        _lay(density, piece * _soft_disc(reach, random)[..., None], x, y)
    density *= random.uniform(0.8, 1.25)
    if random.random() < 0.6:
        density = optical_density(with_red_cells(transmitted(density), TILE_MPP, random.uniform(60, 400), random))
    if random.random() < 0.5:
        density += _lakes(side, random)
    density += _film(side, random)
    for _ in range(int(random.integers(0, 6))):
        _vacuole(density, random)
    light = random.uniform(0.6, 1.0) * random.uniform([0.85, 0.8, 0.85], [1.0, 1.0, 1.0])
    image = transmitted((density - np.log(light)).astype(np.float32))
    grain = random.normal(0, random.uniform(0.5, 4), image.shape)
    return np.asarray((image + grain).clip(0, 255).astype(np.uint8))


def _film(side: int, random: np.random.Generator) -> NDArray[np.float32]:
    """(S, S, 3) dried plasma between the cells, faint to strong, grey to pink."""
    mottle = _noise(side, random.uniform(1.5, 4.0), random)
    strength = random.uniform(0.0, 0.3) if random.random() < 0.7 else 0.0
    tint = random.uniform([0.7, 0.9, 0.6], [1.0, 1.3, 1.1])
    return np.asarray((strength + random.uniform(0.0, 0.04) * mottle) * tint, dtype=np.float32)


def _lakes(side: int, random: np.random.Generator) -> NDArray[np.float32]:
    """(S, S, 3) red cells that run together in patches, pale, grey to red."""
    white = np.full((side, side, 3), 255, dtype=np.uint8)
    red = optical_density(with_red_cells(white, TILE_MPP, random.uniform(16, 45), random))
    grey = red.mean(axis=2, keepdims=True)
    patches = np.clip((_noise(side, random.uniform(2.0, 7.0), random) - random.uniform(0.2, 1.4)) * 4, 0, 1)
    pale = random.uniform(0.2, 0.8) * (grey + random.uniform(0.1, 0.9) * (red - grey))
    return np.asarray(pale * patches, dtype=np.float32)


def _noise(side: int, scale: float, random: np.random.Generator) -> NDArray[np.float32]:
    """(S, S, 1) some window of a cloudy texture, mean 0 and spread 1 over the whole."""
    return repeat(tiled("film", TILE_MPP, scale), int(random.integers(500)), int(random.integers(500)), side, side)[
        ..., None
    ]


def _places(side: int, random: np.random.Generator) -> NDArray[np.intp]:
    """(N, 2) middles of pieces: a jittered lattice of some pitch, thinned evenly or in patches."""
    pitch = random.uniform(0.42, 1.15) * PIECE
    steps = np.arange(0, side + pitch, pitch)
    x, y = (axis.ravel() + random.uniform(-0.45, 0.45, axis.size) * pitch for axis in np.meshgrid(steps, steps))
    kept = random.random(x.size) < random.uniform(0.5, 1.0)
    if random.random() < 0.5:  # clusters: only near a few middles
        middles = random.uniform(0, side, (int(random.integers(2, 7)), 2))
        gaps = np.hypot(x[:, None] - middles[:, 0], y[:, None] - middles[:, 1]).min(axis=1)
        kept &= gaps < random.uniform(0.2, 0.5) * side
    places = np.round(np.stack([x, y], axis=1)[kept if kept.any() else slice(None)])
    return np.asarray(places, dtype=np.intp)


def _soft_disc(reach: float, random: np.random.Generator) -> NDArray[np.float32]:
    """(P, P) weight, 1 inside about `reach` px and falling to 0 over 4 px, its border uneven."""
    steps = np.arange(PIECE) - (PIECE - 1) / 2
    x, y = np.meshgrid(steps, steps)
    waves = np.append(profile := random.normal(0, 1.2, _ANGLES), profile[0])
    turn = (np.arctan2(y, x) / (2 * np.pi) % 1) * _ANGLES
    edge = reach + np.interp(turn, np.arange(_ANGLES + 1), waves)
    return np.asarray(np.clip((edge - np.hypot(x, y)) / 4 + 1, 0, 1), dtype=np.float32)


def _lay(density: NDArray[np.float32], piece: NDArray[np.float32], x: int, y: int) -> None:
    """Lay a piece over a tile in place, its middle at (x, y); the denser one shows."""
    left, top = x - PIECE // 2, y - PIECE // 2
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + PIECE, density.shape[1]), min(top + PIECE, density.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = density[y0:y1, x0:x1]
    np.maximum(part, piece[y0 - top : y1 - top, x0 - left : x1 - left], out=part)


def _vacuole(density: NDArray[np.float32], random: np.random.Generator) -> None:
    """A round hole that fat left, in place."""
    side = density.shape[0]
    middle, radius = random.uniform(0, side, 2), 2 + 38 * random.random() ** 2
    y, x = np.ogrid[:side, :side]
    hole = np.clip(radius - np.hypot(x - middle[0], y - middle[1]) + 0.5, 0, 1)
    density *= (1 - hole[..., None]).astype(np.float32)
