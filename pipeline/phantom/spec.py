"""What a synthetic smear is made of: its seed, size, composition, centre and fault."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from pipeline.domain import CELL_CLASSES

Centre = Literal["a", "b", "varied"]  # two laboratories; another one for every seed
Fault = Literal["none", "blurred", "blank", "overstained", "h&e", "magnification"]

TILE_UM = 160.0  # side of a grid tile (Zhou et al. 2025: 1600 px at 0.1 µm/px)

NORMAL_MARROW: Mapping[str, float] = {
    "myeloblast": 0.015,
    "promyelocyte": 0.035,
    "intermediate neutrophilic myelocyte": 0.10,
    "late neutrophilic myelocyte": 0.12,
    "band neutrophil": 0.135,
    "segmented neutrophil": 0.14,
    "eosinophil": 0.03,
    "basophil": 0.008,
    "promonocyte": 0.008,
    "immature monocyte": 0.008,
    "monocyte": 0.02,
    "lymphocyte": 0.11,
    "plasma cell": 0.02,
    "early erythroblast": 0.025,
    "intermediate erythroblast": 0.09,
    "late erythroblast": 0.065,
    "prolymphocyte": 0.007,
    "atypical lymphocyte": 0.009,
    "immature lymphocyte": 0.008,
    "smudge cell": 0.02,
    "apoptotic cell": 0.01,
    "others": 0.012,
}
"""Fractions of a normal adult marrow (about the ICSH 2008 reference ranges), with every class present."""

EVEN_MARROW: Mapping[str, float] = dict.fromkeys(CELL_CLASSES, 1.0)
"""Every class alike: for training and contact sheets."""

MYELOMA_MARROW: Mapping[str, float] = {**EVEN_MARROW, "plasma cell": 15.0}
"""Plasma cells two of five: eccentric nuclei in wide cytoplasm, whose whole outline is the hardest to learn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomSpec:
    """One synthetic smear. Two equal specs give the same pixels.

    Parameters
    ----------
    seed : int
        Fixes layout, cells, stain jitter and noise.
    size : tuple[int, int]
        Width and height in level-0 pixels.
    mpp : float
        µm per level-0 pixel.
    centre : {"a", "b", "varied"}
        Stain protocol and scanner; "varied" draws both anew for every seed, to train on.
    composition : Mapping[str, float]
        Class to its share of the nucleated cells; normalised to 1.
    density : float
        Factor on the number of nucleated cells; 1 gives about 30 per countable tile.
    artefacts : float
        Factor on the number of areas that spoil tiles (out of focus, overstained, debris, aggregates).
    fault : Fault
        A whole-slide fault for quality control; "magnification" draws everything at 0.4 of its size, as a 20x scan
        that claims to be 50x; "h&e" is tissue, not a smear.

    Raises
    ------
    ValueError
        A field is out of range; the message names it.

    """

    seed: int
    size: tuple[int, int] = (12000, 8000)
    mpp: float = 0.25
    centre: Centre = "a"
    composition: Mapping[str, float] = field(default_factory=lambda: NORMAL_MARROW)
    density: float = 1.0
    artefacts: float = 1.0
    fault: Fault = "none"

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 63:
            raise ValueError(f"seed must be within 0..2^63, not {self.seed}")
        if min(self.size) < 1:
            raise ValueError(f"size must be positive, not {self.size}")
        if not 0.02 <= self.mpp <= 2.0:
            raise ValueError(f"mpp must be within 0.02..2 µm/px, not {self.mpp}")
        if self.centre not in get_args(Centre):
            raise ValueError(f"centre must be one of {', '.join(get_args(Centre))}, not {self.centre!r}")
        if unknown := set(self.composition) - set(CELL_CLASSES):
            raise ValueError(f"composition names unknown classes: {', '.join(sorted(unknown))}")
        if min(self.composition.values(), default=0.0) < 0 or sum(self.composition.values()) <= 0:
            raise ValueError("composition needs fractions >= 0 that do not all vanish")
        if not 0 < self.density <= 3:
            raise ValueError(f"density must be within 0..3, not {self.density}")
        if self.artefacts < 0:
            raise ValueError(f"artefacts must not be negative, not {self.artefacts}")

    @property
    def fractions(self) -> tuple[float, ...]:
        """Share of each of CELL_CLASSES, in their order; adds to 1."""
        total = sum(self.composition.values())
        return tuple(self.composition.get(name, 0.0) / total for name in CELL_CLASSES)

    @property
    def drawn_mpp(self) -> float:
        """µm per pixel the slide is drawn at; `mpp` is what it claims."""
        return self.mpp * 2.5 if self.fault == "magnification" else self.mpp

    @property
    def tile_px(self) -> int:
        """Side of a grid tile in level-0 pixels."""
        return round(TILE_UM / self.mpp)
