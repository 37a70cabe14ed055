"""What each of the 22 classes looks like: one readable table.

After ICSH (Lee et al. 2008; Palmer et al. 2015; Goasguen et al. 2009 for the monocytic line) and the haematology
atlases: sizes as on an air-dried Romanowsky smear. Dye triples are (purple, blue, pink) concentrations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

NuclearShape = Literal["round", "indented", "folded", "band", "segmented", "fragments", "bare", "mitosis"]
Span = tuple[float, float]
Dyes = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Granules:
    """Granules of one kind: which texture, how strongly, how much of the cytoplasm, over the nucleus too?"""

    texture: Literal["dust", "azurophil", "eosinophil", "basophil"]
    dyes: Dyes
    scale: Span = (0.9, 1.15)
    cover: Span = (0.8, 1.0)
    over_nucleus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Morphology:
    """Ranges a cell of one class is drawn from.

    diameter_um: of the cell. ratio: nuclear area to cell area. shape and its bend/lobes: `indentation` is the depth
    of the hilus over the nuclear radius, `lobes` a count. offset: nuclear displacement, 0 central, 1 at the edge.
    chromatin: texture, its contrast and the mean dye. nucleoli: how many and how pale. rim: extra basophilia at the
    cell border. hof: pale zone beside the nucleus. irregular: roughness of the outline. pseudopods: blebs and veils.
    """

    diameter_um: Span
    ratio: Span
    shape: NuclearShape = "round"
    indentation: Span = (0.0, 0.0)
    lobes: tuple[int, int] = (1, 1)
    elongation: Span = (1.0, 1.15)
    offset: Span = (0.1, 0.5)
    chromatin: Literal["fine", "granular", "coarse", "clumped", "blocky", "smooth"] = "granular"
    contrast: Span = (0.2, 0.3)
    nucleus: Dyes = (1.1, 0.1, 0.0)
    nucleoli: tuple[int, int] = (0, 0)
    cytoplasm: Dyes = (0.1, 0.2, 0.1)
    tint: Span = (0.85, 1.15)
    mottle: float = 0.12
    rim: float = 0.0
    hof: Span = (0.0, 0.0)
    granules: tuple[Granules, ...] = ()
    vacuoles: tuple[int, int] = (0, 0)
    irregular: Span = (0.01, 0.03)
    pseudopods: float = 0.0
    cytoplasm_opacity: float = 1.0


_AZUROPHIL = Granules(texture="azurophil", dyes=(0.55, 0.0, 0.1), over_nucleus=0.45, cover=(0.75, 1.0))
_FEW_AZUROPHIL = Granules(texture="azurophil", dyes=(0.35, 0.0, 0.1), cover=(0.25, 0.5), over_nucleus=0.1)
_NEUTROPHIL = Granules(texture="dust", dyes=(0.2, 0.0, 0.2), scale=(0.8, 1.1))
_EOSINOPHIL = Granules(texture="eosinophil", dyes=(0.02, 0.1, 1.15), cover=(0.92, 1.0))
_BASOPHIL = Granules(texture="basophil", dyes=(1.15, 0.25, 0.0), over_nucleus=0.9, cover=(0.7, 1.0))
_MONO_DUST = Granules(texture="dust", dyes=(0.18, 0.02, 0.06), scale=(0.7, 0.9))

MORPHOLOGY: Mapping[str, Morphology] = MappingProxyType(
    {
        "myeloblast": Morphology(
            diameter_um=(13.0, 17.0), ratio=(0.68, 0.82), chromatin="fine", contrast=(0.10, 0.16),
            nucleus=(0.86, 0.12, 0.0), nucleoli=(2, 4), cytoplasm=(0.16, 0.55, 0.0), rim=0.25, offset=(0.1, 0.6),
        ),
        "promyelocyte": Morphology(
            diameter_um=(16.0, 21.0), ratio=(0.46, 0.60), offset=(0.45, 0.85), chromatin="fine", contrast=(0.14, 0.2),
            nucleus=(0.92, 0.10, 0.0), nucleoli=(1, 3), cytoplasm=(0.20, 0.42, 0.0), hof=(0.25, 0.55), rim=0.2,
            granules=(_AZUROPHIL,),
        ),
        "intermediate neutrophilic myelocyte": Morphology(
            diameter_um=(13.0, 17.0), ratio=(0.38, 0.50), offset=(0.45, 0.9), elongation=(1.05, 1.3),
            chromatin="coarse", contrast=(0.18, 0.26), nucleus=(1.0, 0.08, 0.0), cytoplasm=(0.14, 0.20, 0.14),
            hof=(0.1, 0.3), granules=(_NEUTROPHIL, _FEW_AZUROPHIL),
        ),
        "late neutrophilic myelocyte": Morphology(
            diameter_um=(12.5, 15.5), ratio=(0.34, 0.44), shape="indented", indentation=(0.28, 0.5),
            offset=(0.4, 0.8), elongation=(1.25, 1.5), chromatin="coarse", contrast=(0.22, 0.3),
            nucleus=(1.08, 0.08, 0.0), cytoplasm=(0.11, 0.06, 0.20), granules=(_NEUTROPHIL,),
        ),
        "band neutrophil": Morphology(
            diameter_um=(11.5, 14.0), ratio=(0.26, 0.34), shape="band", offset=(0.1, 0.4), chromatin="clumped",
            contrast=(0.22, 0.3), nucleus=(1.18, 0.08, 0.0), cytoplasm=(0.10, 0.02, 0.22), granules=(_NEUTROPHIL,),
        ),
        "segmented neutrophil": Morphology(
            diameter_um=(11.0, 13.5), ratio=(0.24, 0.32), shape="segmented", lobes=(3, 5), offset=(0.0, 0.3),
            chromatin="clumped", contrast=(0.22, 0.3), nucleus=(1.28, 0.10, 0.0), cytoplasm=(0.09, 0.0, 0.22),
            granules=(_NEUTROPHIL,),
        ),
        "eosinophil": Morphology(
            diameter_um=(12.5, 16.0), ratio=(0.24, 0.36), shape="segmented", lobes=(2, 2), offset=(0.2, 0.7),
            chromatin="clumped", contrast=(0.18, 0.26), nucleus=(1.12, 0.08, 0.0), cytoplasm=(0.08, 0.10, 0.35),
            granules=(_EOSINOPHIL,),
        ),
        "basophil": Morphology(
            diameter_um=(10.5, 13.5), ratio=(0.36, 0.50), shape="segmented", lobes=(2, 3), offset=(0.0, 0.3),
            chromatin="smooth", contrast=(0.1, 0.18), nucleus=(0.85, 0.08, 0.1), cytoplasm=(0.18, 0.04, 0.18),
            granules=(_BASOPHIL,),
        ),
        "promonocyte": Morphology(
            diameter_um=(15.0, 19.0), ratio=(0.60, 0.74), shape="folded", indentation=(0.12, 0.28), chromatin="fine",
            contrast=(0.12, 0.18), nucleus=(0.80, 0.14, 0.0), nucleoli=(1, 2), cytoplasm=(0.14, 0.46, 0.0),
            granules=(_MONO_DUST,), irregular=(0.03, 0.06), pseudopods=0.4,
        ),
        "immature monocyte": Morphology(
            diameter_um=(14.5, 18.5), ratio=(0.50, 0.62), shape="folded", indentation=(0.28, 0.48),
            chromatin="granular", contrast=(0.16, 0.24), nucleus=(0.92, 0.12, 0.0), cytoplasm=(0.16, 0.34, 0.03),
            granules=(_MONO_DUST,), irregular=(0.03, 0.06), pseudopods=0.4,
        ),
        "monocyte": Morphology(
            diameter_um=(14.0, 19.0), ratio=(0.36, 0.48), shape="folded", indentation=(0.42, 0.66),
            elongation=(1.2, 1.5), chromatin="coarse", contrast=(0.2, 0.3), nucleus=(1.0, 0.12, 0.0),
            cytoplasm=(0.14, 0.24, 0.05), granules=(_MONO_DUST,), vacuoles=(0, 6), irregular=(0.04, 0.08),
            pseudopods=0.7,
        ),
        "lymphocyte": Morphology(
            diameter_um=(8.0, 10.5), ratio=(0.74, 0.90), chromatin="blocky", contrast=(0.14, 0.22),
            nucleus=(1.25, 0.14, 0.0), cytoplasm=(0.10, 0.46, 0.0), offset=(0.2, 0.9), indentation=(0.0, 0.1),
            shape="indented",
        ),
        "plasma cell": Morphology(
            diameter_um=(12.5, 18.0), ratio=(0.22, 0.34), offset=(0.85, 1.0), chromatin="blocky",
            contrast=(0.26, 0.36), nucleus=(1.10, 0.12, 0.0), cytoplasm=(0.22, 0.85, 0.0), hof=(0.55, 0.85),
            rim=0.15, vacuoles=(0, 3), elongation=(1.0, 1.2), mottle=0.16,
        ),
        "early erythroblast": Morphology(
            diameter_um=(13.0, 17.5), ratio=(0.62, 0.76), chromatin="granular", contrast=(0.2, 0.28),
            nucleus=(1.0, 0.20, 0.0), nucleoli=(0, 2), cytoplasm=(0.26, 1.05, 0.0), rim=0.2, offset=(0.0, 0.3),
            hof=(0.0, 0.2), mottle=0.16,
        ),
        "intermediate erythroblast": Morphology(
            diameter_um=(10.0, 13.0), ratio=(0.40, 0.54), chromatin="blocky", contrast=(0.26, 0.36),
            nucleus=(1.22, 0.22, 0.0), cytoplasm=(0.12, 0.42, 0.22), offset=(0.0, 0.3), elongation=(1.0, 1.08),
        ),
        "late erythroblast": Morphology(
            diameter_um=(8.5, 10.5), ratio=(0.20, 0.32), chromatin="smooth", contrast=(0.04, 0.1),
            nucleus=(1.55, 0.35, 0.0), cytoplasm=(0.04, 0.22, 0.48), offset=(0.2, 0.8), elongation=(1.0, 1.08),
        ),
        "prolymphocyte": Morphology(
            diameter_um=(11.0, 14.0), ratio=(0.56, 0.68), chromatin="clumped", contrast=(0.18, 0.26),
            nucleus=(1.05, 0.14, 0.0), nucleoli=(1, 1), cytoplasm=(0.10, 0.42, 0.0), offset=(0.1, 0.4),
        ),
        "atypical lymphocyte": Morphology(
            diameter_um=(14.0, 20.0), ratio=(0.34, 0.46), shape="indented", indentation=(0.05, 0.25),
            chromatin="coarse", contrast=(0.2, 0.28), nucleus=(1.05, 0.14, 0.0), cytoplasm=(0.08, 0.48, 0.0),
            rim=0.55, irregular=(0.04, 0.09), pseudopods=0.8, offset=(0.3, 0.8), elongation=(1.1, 1.4),
        ),
        "immature lymphocyte": Morphology(
            diameter_um=(10.0, 13.5), ratio=(0.82, 0.93), shape="indented", indentation=(0.02, 0.16),
            chromatin="smooth", contrast=(0.1, 0.16), nucleus=(0.98, 0.16, 0.0), nucleoli=(0, 1),
            cytoplasm=(0.12, 0.60, 0.0), offset=(0.2, 0.8),
        ),
        "smudge cell": Morphology(
            diameter_um=(15.0, 24.0), ratio=(0.80, 0.95), shape="bare", chromatin="coarse", contrast=(0.3, 0.45),
            nucleus=(0.55, 0.02, 0.12), cytoplasm=(0.10, 0.02, 0.06), irregular=(0.10, 0.2), cytoplasm_opacity=0.5,
        ),
        "apoptotic cell": Morphology(
            diameter_um=(8.0, 11.0), ratio=(0.22, 0.36), shape="fragments", lobes=(2, 6), chromatin="smooth",
            contrast=(0.03, 0.08), nucleus=(1.75, 0.35, 0.0), cytoplasm=(0.18, 0.25, 0.34), vacuoles=(0, 3),
            irregular=(0.03, 0.08), offset=(0.0, 0.2),
        ),
        "others": Morphology(
            diameter_um=(14.0, 20.0), ratio=(0.2, 0.3), shape="mitosis", chromatin="smooth", contrast=(0.1, 0.2),
            nucleus=(1.5, 0.3, 0.0), cytoplasm=(0.12, 0.34, 0.04), offset=(0.0, 0.1), mottle=0.2,
        ),
    }
)  # fmt: skip
