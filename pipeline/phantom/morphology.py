"""What each of the 22 classes looks like: one readable table.

After ICSH (Lee et al. 2008; Palmer et al. 2015; Goasguen et al. 2009 for the monocytic line) and the haematology
atlases: sizes as on an air-dried Romanowsky smear. Dyes are amounts of (purple, blue, orange, haemoglobin).
A class with several faces has several rows; `weight` is how often each is drawn.
"""

from dataclasses import dataclass
from typing import Literal

NuclearShape = Literal["round", "indented", "folded", "band", "segmented", "fragments", "bare", "mitosis"]
Chromatin = Literal["fine", "granular", "coarse", "clumped", "blocky", "spoked", "smooth", "smear"]
Span = tuple[float, float]
DyeAmounts = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Granules:
    """Granules of one kind: which texture, how much dye, their size and cover, and how far they hide the nucleus."""

    texture: Literal["dust", "azurophil", "eosinophil", "basophil"]
    dyes: DyeAmounts
    scale: Span = (0.9, 1.15)
    cover: Span = (0.8, 1.0)
    over_nucleus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Ranges a cell of one class is drawn from.

    diameter_um is of the cell; ratio the nuclear area to the cell's; indentation the depth of the hilus over the
    nuclear radius; lobes how many; offset the nuclear displacement, 0 central, 1 at the edge, above 1 bulging out;
    chromatin a texture and its contrast; nucleus and cytoplasm dyes; nucleoli how many; mottle the grain of the
    cytoplasm, clouds its slower unevenness; rim the extra basophilia at the cell's border, negative where it fades; hof
    the pale zone beside the nucleus; irregular the roughness of the outline; pseudopods blebs; veil the opacity of the
    cytoplasm.
    """

    class_name: str
    weight: float = 1.0
    diameter_um: Span
    ratio: Span
    shape: NuclearShape = "round"
    indentation: Span = (0.0, 0.0)
    lobes: tuple[int, int] = (1, 1)
    elongation: Span = (1.0, 1.18)
    offset: Span = (0.1, 0.5)
    chromatin: Chromatin = "granular"
    contrast: Span = (0.12, 0.2)
    nucleus: DyeAmounts = (1.0, 0.1, 0.0, 0.0)
    nucleoli: tuple[int, int] = (0, 0)
    cytoplasm: DyeAmounts = (0.1, 0.2, 0.1, 0.0)
    tint: Span = (0.8, 1.2)
    mottle: float = 0.12
    clouds: float = 0.0
    rim: float = 0.0
    hof: Span = (0.0, 0.0)
    granules: tuple[Granules, ...] = ()
    vacuoles: tuple[int, int] = (0, 0)
    irregular: Span = (0.01, 0.03)
    pseudopods: float = 0.0
    veil: float = 1.0


_PRIMARY = Granules(texture="azurophil", dyes=(0.68, 0.0, 0.06, 0.0), over_nucleus=0.45, cover=(0.6, 1.2))
_FEW_PRIMARY = Granules(texture="azurophil", dyes=(0.32, 0.0, 0.05, 0.0), cover=(0.2, 0.6), over_nucleus=0.15)
_SECONDARY = Granules(texture="dust", dyes=(0.2, 0.0, 0.12, 0.0), scale=(0.8, 1.3), cover=(0.6, 1.4))
_EOSINOPHIL = Granules(texture="eosinophil", dyes=(0.08, 0.10, 0.48, 0.0), scale=(0.8, 1.1), cover=(0.7, 1.2))
_BASOPHIL = Granules(texture="basophil", dyes=(0.95, 0.30, 0.0, 0.0), over_nucleus=0.65, cover=(0.7, 1.1))
_MONOCYTIC = Granules(texture="dust", dyes=(0.16, 0.02, 0.04, 0.0), scale=(0.7, 0.9))

LOOKS: tuple[Look, ...] = (
    Look(
        class_name="myeloblast", diameter_um=(13.0, 17.5), ratio=(0.66, 0.84), chromatin="fine",
        contrast=(0.06, 0.11), nucleus=(1.02, 0.18, 0.0, 0.0), nucleoli=(2, 4), cytoplasm=(0.10, 0.48, 0.0, 0.0),
        rim=0.25, offset=(0.1, 0.7), irregular=(0.015, 0.04),
    ),
    Look(
        class_name="promyelocyte", diameter_um=(16.0, 22.0), ratio=(0.42, 0.60), offset=(0.45, 0.9),
        chromatin="fine", contrast=(0.08, 0.13), nucleus=(1.02, 0.14, 0.0, 0.0), nucleoli=(0, 2),
        cytoplasm=(0.16, 0.36, 0.0, 0.0), hof=(0.25, 0.6), rim=0.2, granules=(_PRIMARY,),
    ),
    Look(
        class_name="intermediate neutrophilic myelocyte", diameter_um=(13.0, 17.0), ratio=(0.36, 0.50),
        offset=(0.45, 0.95), elongation=(1.05, 1.35), chromatin="coarse", contrast=(0.10, 0.16),
        nucleus=(0.96, 0.10, 0.0, 0.0), cytoplasm=(0.12, 0.17, 0.08, 0.0), hof=(0.1, 0.35),
        granules=(_SECONDARY, _FEW_PRIMARY),
    ),
    Look(
        class_name="late neutrophilic myelocyte", diameter_um=(12.5, 15.5), ratio=(0.32, 0.44), shape="indented",
        indentation=(0.26, 0.5), offset=(0.4, 0.85), elongation=(1.25, 1.55), chromatin="coarse",
        contrast=(0.13, 0.2), nucleus=(1.04, 0.10, 0.0, 0.0), cytoplasm=(0.10, 0.05, 0.10, 0.0),
        granules=(_SECONDARY,),
    ),
    Look(
        class_name="band neutrophil", diameter_um=(11.5, 14.5), ratio=(0.33, 0.42), shape="band", offset=(0.1, 0.5),
        chromatin="clumped", contrast=(0.14, 0.22), nucleus=(1.12, 0.12, 0.0, 0.0),
        cytoplasm=(0.09, 0.02, 0.10, 0.0), granules=(_SECONDARY,),
    ),
    Look(
        class_name="segmented neutrophil", diameter_um=(11.0, 14.5), ratio=(0.32, 0.42), shape="segmented",
        lobes=(3, 5), offset=(0.0, 0.4), chromatin="clumped", contrast=(0.14, 0.22), nucleus=(1.12, 0.14, 0.0, 0.0),
        cytoplasm=(0.08, 0.0, 0.10, 0.0), granules=(_SECONDARY,),
    ),
    Look(
        class_name="eosinophil", weight=0.75, diameter_um=(12.5, 16.5), ratio=(0.30, 0.40), shape="segmented",
        lobes=(2, 3), offset=(0.3, 0.9), chromatin="clumped", contrast=(0.12, 0.2), nucleus=(1.08, 0.10, 0.0, 0.0),
        cytoplasm=(0.05, 0.06, 0.34, 0.0), granules=(_EOSINOPHIL,),
    ),
    Look(
        class_name="eosinophil", weight=0.25, diameter_um=(13.0, 18.0), ratio=(0.36, 0.5), shape="indented",
        indentation=(0.0, 0.35), offset=(0.4, 0.9), elongation=(1.05, 1.4), chromatin="coarse", contrast=(0.1, 0.16),
        nucleus=(0.96, 0.10, 0.0, 0.0), cytoplasm=(0.10, 0.20, 0.16, 0.0), granules=(_EOSINOPHIL,),
    ),
    Look(
        class_name="basophil", diameter_um=(10.5, 14.0), ratio=(0.36, 0.52), shape="segmented", lobes=(2, 3),
        offset=(0.0, 0.4), chromatin="smooth", contrast=(0.06, 0.12), nucleus=(0.85, 0.08, 0.0, 0.0),
        cytoplasm=(0.30, 0.06, 0.06, 0.0), granules=(_BASOPHIL,),
    ),
    Look(
        class_name="promonocyte", diameter_um=(15.0, 20.0), ratio=(0.60, 0.76), shape="folded",
        indentation=(0.10, 0.26), chromatin="fine", contrast=(0.07, 0.12), nucleus=(0.94, 0.18, 0.0, 0.0),
        nucleoli=(1, 2), cytoplasm=(0.12, 0.42, 0.0, 0.0), granules=(_MONOCYTIC,), irregular=(0.02, 0.05),
        pseudopods=0.4,
    ),
    Look(
        class_name="immature monocyte", diameter_um=(14.5, 19.0), ratio=(0.50, 0.62), shape="folded",
        indentation=(0.26, 0.46), chromatin="granular", contrast=(0.10, 0.16), nucleus=(1.0, 0.16, 0.0, 0.0),
        cytoplasm=(0.13, 0.31, 0.02, 0.0), granules=(_MONOCYTIC,), irregular=(0.02, 0.05), pseudopods=0.5,
    ),
    Look(
        class_name="monocyte", diameter_um=(14.0, 20.0), ratio=(0.42, 0.56), shape="folded",
        indentation=(0.42, 0.66), elongation=(1.2, 1.55), chromatin="coarse", contrast=(0.12, 0.2),
        nucleus=(0.98, 0.14, 0.0, 0.0), cytoplasm=(0.11, 0.22, 0.03, 0.0), granules=(_MONOCYTIC,), vacuoles=(0, 6),
        irregular=(0.03, 0.06), pseudopods=0.8,
    ),
    Look(
        class_name="lymphocyte", diameter_um=(8.0, 10.8), ratio=(0.72, 0.90), shape="indented",
        indentation=(0.0, 0.12), chromatin="blocky", contrast=(0.09, 0.15), nucleus=(1.22, 0.20, 0.0, 0.0),
        cytoplasm=(0.06, 0.42, 0.0, 0.0), offset=(0.2, 1.0), irregular=(0.015, 0.04), pseudopods=0.2,
    ),
    Look(
        class_name="plasma cell", weight=0.3, diameter_um=(12.5, 18.0), ratio=(0.24, 0.44), offset=(0.85, 1.2),
        chromatin="blocky", contrast=(0.16, 0.26), nucleus=(0.98, 0.10, 0.0, 0.0), cytoplasm=(0.16, 0.66, 0.06, 0.0),
        hof=(0.35, 0.8), rim=0.2, vacuoles=(0, 3), elongation=(1.0, 1.25), mottle=0.08, clouds=0.12,
        irregular=(0.015, 0.045), tint=(0.5, 1.2),
    ),
    Look(  # pale, as many of a myeloma are
        class_name="plasma cell", weight=0.45, diameter_um=(12.0, 18.5), ratio=(0.30, 0.54), offset=(0.9, 1.5),
        chromatin="spoked", contrast=(0.15, 0.28), nucleus=(0.76, 0.05, 0.04, 0.0), nucleoli=(0, 1),
        cytoplasm=(0.12, 0.34, 0.20, 0.0), hof=(0.1, 0.7), rim=-0.35, vacuoles=(0, 3), elongation=(1.0, 1.3),
        mottle=0.08, clouds=0.22, irregular=(0.02, 0.06), pseudopods=0.4, tint=(0.3, 1.0),
    ),
    Look(  # immature
        class_name="plasma cell", weight=0.25, diameter_um=(13.0, 19.0), ratio=(0.34, 0.58), offset=(0.7, 1.4),
        chromatin="spoked", contrast=(0.12, 0.24), nucleus=(0.86, 0.08, 0.02, 0.0), nucleoli=(0, 2),
        cytoplasm=(0.20, 0.34, 0.12, 0.0), hof=(0.1, 0.6), vacuoles=(0, 2), elongation=(1.0, 1.4), mottle=0.1,
        clouds=0.16, irregular=(0.02, 0.06), pseudopods=0.4, tint=(0.4, 1.1),
    ),
    Look(
        class_name="early erythroblast", diameter_um=(13.0, 18.5), ratio=(0.62, 0.78), chromatin="granular",
        contrast=(0.12, 0.18), nucleus=(0.98, 0.22, 0.0, 0.0), nucleoli=(0, 2), cytoplasm=(0.20, 0.95, 0.0, 0.0),
        rim=0.2, offset=(0.0, 0.4), hof=(0.0, 0.2), mottle=0.16, pseudopods=0.3, irregular=(0.015, 0.04),
    ),
    Look(
        class_name="intermediate erythroblast", diameter_um=(10.0, 13.0), ratio=(0.40, 0.56), chromatin="blocky",
        contrast=(0.16, 0.24), nucleus=(1.18, 0.24, 0.0, 0.0), cytoplasm=(0.08, 0.40, 0.0, 0.35), offset=(0.0, 0.35),
        elongation=(1.0, 1.1),
    ),
    Look(
        class_name="late erythroblast", diameter_um=(8.5, 10.8), ratio=(0.20, 0.34), chromatin="smooth",
        contrast=(0.03, 0.08), nucleus=(1.5, 0.42, 0.0, 0.0), cytoplasm=(0.02, 0.14, 0.0, 0.85), offset=(0.2, 0.9),
        elongation=(1.0, 1.1),
    ),
    Look(
        class_name="prolymphocyte", diameter_um=(11.0, 14.0), ratio=(0.56, 0.70), chromatin="clumped",
        contrast=(0.11, 0.17), nucleus=(1.0, 0.18, 0.0, 0.0), nucleoli=(1, 1), cytoplasm=(0.06, 0.36, 0.0, 0.0),
        offset=(0.1, 0.5),
    ),
    Look(
        class_name="atypical lymphocyte", diameter_um=(14.0, 20.0), ratio=(0.34, 0.48), shape="indented",
        indentation=(0.05, 0.25), chromatin="coarse", contrast=(0.12, 0.18), nucleus=(1.02, 0.18, 0.0, 0.0),
        cytoplasm=(0.05, 0.38, 0.0, 0.0), rim=0.7, irregular=(0.03, 0.07), pseudopods=1.0, offset=(0.3, 0.8),
        elongation=(1.1, 1.4),
    ),
    Look(
        class_name="immature lymphocyte", diameter_um=(10.0, 13.5), ratio=(0.82, 0.94), shape="indented",
        indentation=(0.02, 0.18), chromatin="smooth", contrast=(0.06, 0.1), nucleus=(0.96, 0.2, 0.0, 0.0),
        nucleoli=(0, 1), cytoplasm=(0.08, 0.55, 0.0, 0.0), offset=(0.2, 0.9), irregular=(0.015, 0.04),
    ),
    Look(
        class_name="smudge cell", diameter_um=(14.0, 23.0), ratio=(0.80, 0.95), shape="bare", chromatin="smear",
        contrast=(0.16, 0.32), nucleus=(0.62, 0.0, 0.06, 0.0), cytoplasm=(0.12, 0.0, 0.03, 0.0), irregular=(0.07, 0.16),
        veil=0.4, mottle=0.35, pseudopods=1.5,
    ),
    Look(
        class_name="apoptotic cell", diameter_um=(8.0, 11.5), ratio=(0.22, 0.38), shape="fragments", lobes=(2, 6),
        chromatin="smooth", contrast=(0.02, 0.06), nucleus=(1.65, 0.42, 0.0, 0.0), cytoplasm=(0.16, 0.22, 0.12, 0.0),
        vacuoles=(0, 3), irregular=(0.03, 0.08), offset=(0.0, 0.2),
    ),
    Look(  # a cell in mitosis
        class_name="others", weight=0.25, diameter_um=(14.0, 19.0), ratio=(0.2, 0.3), shape="mitosis",
        chromatin="smooth", contrast=(0.05, 0.1), nucleus=(1.4, 0.34, 0.0, 0.0), cytoplasm=(0.10, 0.32, 0.02, 0.0),
        offset=(0.0, 0.1), mottle=0.2,
    ),
    Look(  # shrunken, too dark to be told
        class_name="others", weight=0.35, diameter_um=(8.0, 15.0), ratio=(0.84, 0.96), chromatin="smooth",
        contrast=(0.02, 0.05), nucleus=(1.5, 0.6, 0.0, 0.0), cytoplasm=(0.3, 0.6, 0.0, 0.0), irregular=(0.05, 0.11),
        elongation=(1.0, 1.6),
    ),
    Look(  # a damaged cell that spills its granules
        class_name="others", weight=0.25, diameter_um=(15.0, 21.0), ratio=(0.36, 0.5), shape="folded",
        indentation=(0.1, 0.4), chromatin="smear", contrast=(0.12, 0.2), nucleus=(0.72, 0.04, 0.03, 0.0),
        cytoplasm=(0.06, 0.06, 0.02, 0.0), irregular=(0.08, 0.15), pseudopods=2.0, granules=(_FEW_PRIMARY,), veil=0.5,
    ),
    Look(  # a small megakaryocyte
        class_name="others", weight=0.15, diameter_um=(24.0, 30.0), ratio=(0.34, 0.5), shape="folded",
        indentation=(0.3, 0.5), chromatin="clumped", contrast=(0.14, 0.2), nucleus=(1.05, 0.12, 0.0, 0.0),
        cytoplasm=(0.16, 0.1, 0.06, 0.0), granules=(_SECONDARY,), irregular=(0.03, 0.07), pseudopods=1.0,
    ),
)  # fmt: skip

TISSUE = Look(
    class_name="others", diameter_um=(7.0, 12.0), ratio=(0.8, 0.95), elongation=(1.1, 2.2), chromatin="coarse",
    contrast=(0.12, 0.2), nucleus=(0.7, 0.5, 0.0, 0.0), cytoplasm=(0.1, 0.2, 0.4, 0.0),
)  # fmt: skip
"""A nucleus of tissue, for the wrong stain (H&E)."""
