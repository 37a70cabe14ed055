"""Class codes of public data sets → our 22 classes, and the split every training and evaluation shares.

Codes are those of the MLL/Helmholtz/Fraunhofer set (Matek et al. 2021, doi 10.7937/TCIA.AXH3-T579); PLT is
Acevedo et al. 2020 (doi 10.17632/snkd93bnjr). A code coarser than our classes (EBO: any erythroblast) names all of
them; training then asks only that the sum of their probabilities be high.
"""

import hashlib
from collections.abc import Mapping
from typing import Literal

from pipeline.domain import CELL_CLASSES

Split = Literal["train", "validation", "test"]

CODES: Mapping[str, tuple[str, ...]] = {
    "BLA": ("myeloblast",),
    "PMO": ("promyelocyte",),
    "MYB": ("intermediate neutrophilic myelocyte",),
    "MMZ": ("late neutrophilic myelocyte",),
    "NGB": ("band neutrophil",),
    "NGS": ("segmented neutrophil",),
    "EOS": ("eosinophil",),
    "ABE": ("eosinophil",),
    "BAS": ("basophil",),
    "MON": ("monocyte",),
    "LYT": ("lymphocyte",),
    "LYI": ("immature lymphocyte",),
    "PLM": ("plasma cell",),
    "PEB": ("early erythroblast",),
    "EBO": ("early erythroblast", "intermediate erythroblast", "late erythroblast"),
    "FGC": ("promyelocyte",),
    "HAC": ("atypical lymphocyte",),
    "KSC": ("smudge cell",),
    "OTH": ("others",),
    "NIF": ("others",),
    "ART": ("others",),
    "PLT": ("others",),
}


def classes_of(folder_name: str) -> tuple[str, ...]:
    """Our classes for a folder called by a code above or by one of our names; empty when it is neither."""
    name = folder_name.strip()
    if name.upper() in CODES:
        return CODES[name.upper()]
    plain = name.lower().replace("_", " ")
    return (plain,) if plain in CELL_CLASSES else ()


def split_of(name: str, *, test: float = 0.25, validation: float = 0.08) -> Split:
    """The part a cell belongs to, by the SHA-256 of its file's name: the same on every machine and in every run.

    What precedes a `#` names the image or slide that several cells come from; they never fall on both sides.
    """
    name = name.partition("#")[0]
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"
