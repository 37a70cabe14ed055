"""Coded concepts of the result objects (PS3.16), who gave them (TID 4019), and the colour of each class.

Cells are named by SNOMED CT where `config/cell_types.csv` has a verified code, else by the node's own scheme 99BMA.
"""

from highdicom import AlgorithmIdentificationSequence
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.color import CIELabColor
from highdicom.sr import AlgorithmIdentification, CodedConcept
from pydicom.sr.codedict import codes

from pipeline.domain import BundleInfo, CellCode

MANUFACTURER = "Marrow Node"
LOCAL_SCHEME = "99BMA"

# Names of measurements. 99BMA carries what PS3.16 and LOINC have no concept for.
PROBABILITY = CodedConcept("122157", "DCM", "Probability")
AREA = CodedConcept("42798000", "SCT", "Area")
COMMENT = CodedConcept("121106", "DCM", "Comment")
QUALITY_ASSESSMENT = CodedConcept("111050", "DCM", "Quality Assessment")
TOTAL_CELLS = CodedConcept("38257-2", "LN", "Cells Counted Total [#] in Bone marrow")
ME_RATIO = CodedConcept("11138-5", "LN", "Myeloid cells/Erythroid cells [# Ratio] in Bone marrow")
CELL_COUNT = CodedConcept("COUNT", LOCAL_SCHEME, "Number of cells")
CELL_PERCENT = CodedConcept("PERCENT", LOCAL_SCHEME, "Percentage of the counted nucleated cells")
LIMIT_LOW = CodedConcept("CI95_LOW", LOCAL_SCHEME, "Lower 95 % confidence limit")
LIMIT_HIGH = CodedConcept("CI95_HIGH", LOCAL_SCHEME, "Upper 95 % confidence limit")
CELL_NUMBER = CodedConcept("CELL_ID", LOCAL_SCHEME, "Number of the cell in the analysis")

DOCUMENT_TITLE = CodedConcept("48807-2", "LN", "Bone marrow aspiration report")
WRONG_ORDER = CodedConcept("113038", "DCM", "Incorrect Modality Worklist Entry")
REJECTED_FOR_QUALITY = CodedConcept("113001", "DCM", "Rejected for Quality Reasons")
REJECTED_FOR_SAFETY = CodedConcept("113037", "DCM", "Rejected for Patient Safety Reasons")
PROCEDURE = CodedConcept("47286-0", "LN", "Differential panel - Bone marrow")
BONE_MARROW_SPECIMEN = CodedConcept("119359002", "SCT", "Bone marrow specimen")
BONE_MARROW = CodedConcept("14016003", "SCT", "Bone marrow structure")
COUNTABLE_REGION = CodedConcept("COUNTABLE", LOCAL_SCHEME, "Countable region (body-tail junction)")

PERCENT, COUNTS, RATIO, NO_UNITS = codes.UCUM.Percent, codes.UCUM.Counts, codes.UCUM.Ratio, codes.UCUM.NoUnits
SQUARE_UM, SQUARE_MM = codes.UCUM.SquareMicrometer, codes.UCUM.SquareMillimeter

# Quality (PS3.16 CID 6135): the slide meets the standard, is usable although it does not, cannot be used.
QUALITY_MET = CodedConcept("111237", "DCM", "Usable - Meets the quality control standard")
QUALITY_USABLE = CodedConcept("111236", "DCM", "Usable - Does not meet the quality control standard")
QUALITY_UNUSABLE = CodedConcept("111235", "DCM", "Unusable - Quality renders image unusable")

# Categories (PS3.16 CID 7150) as the IDC conversion of the bone marrow collections has them, so that its filters work.
CATEGORY_CELL = codes.SCT.AnatomicalStructure
CATEGORY_DAMAGED = codes.SCT.MorphologicallyAbnormalStructure
CATEGORY_REGION = codes.SCT.SpatialAndRelationalConcept
_DAMAGED = ("smudge cell", "apoptotic cell")

# NCI Thesaurus names of classes that SNOMED CT has no concept for.
_NCIT = {
    "immature monocyte": CodedConcept("C13120", "NCIt", "Immature Monocyte"),
    "atypical lymphocyte": CodedConcept("C12847", "NCIt", "Reactive Lymphocyte"),
}

# One hue per lineage, lighter with maturity; blasts are the only red. Within that, moved apart until any two classes
# differ by 28 in CIELab, and by 14 as seen with protanopia, deuteranopia or tritanopia.
_COLORS = {
    "myeloblast": (195, 34, 1),
    "promyelocyte": (5, 30, 125),
    "intermediate neutrophilic myelocyte": (17, 45, 204),
    "late neutrophilic myelocyte": (19, 121, 227),
    "band neutrophil": (104, 186, 255),
    "segmented neutrophil": (165, 255, 255),
    "eosinophil": (217, 117, 75),
    "basophil": (121, 35, 0),
    "promonocyte": (0, 41, 11),
    "immature monocyte": (13, 111, 85),
    "monocyte": (79, 231, 168),
    "lymphocyte": (239, 248, 50),
    "plasma cell": (158, 147, 0),
    "early erythroblast": (97, 27, 86),
    "intermediate erythroblast": (165, 64, 171),
    "late erythroblast": (218, 156, 209),
    "prolymphocyte": (201, 186, 120),
    "atypical lymphocyte": (255, 179, 62),
    "immature lymphocyte": (126, 89, 50),
    "smudge cell": (58, 58, 58),
    "apoptotic cell": (131, 131, 131),
    "others": (208, 208, 208),
}
REGION_COLOR = (0, 200, 200)


def coding_schemes() -> list[CodingSchemeIdentificationItem]:
    """What the private designator 99BMA means (PS3.3 C.12.1)."""
    return [
        CodingSchemeIdentificationItem(
            designator=LOCAL_SCHEME, name="Bone marrow analysis", responsible_organization=MANUFACTURER
        )
    ]


def cell_concept(code: CellCode) -> CodedConcept:
    """What a cell is: SNOMED CT, else NCI Thesaurus, else the local code."""
    if code.sct_code:
        return CodedConcept(code.sct_code, "SCT", code.sct_meaning or code.name)
    return _NCIT.get(code.name) or CodedConcept(code.local_code, LOCAL_SCHEME, code.name)


def cell_category(code: CellCode) -> CodedConcept:
    """The property category of a class: an anatomical structure, or a morphologically abnormal one when damaged."""
    return CATEGORY_DAMAGED if code.name in _DAMAGED else CATEGORY_CELL


def class_color(name: str) -> tuple[int, int, int]:
    """The sRGB colour of a class in every overlay, legend and picture.

    Raises
    ------
    KeyError
        If `name` is not one of CELL_CLASSES.
    """
    return _COLORS[name]


def display_color(rgb: tuple[int, int, int]) -> CIELabColor:
    """A colour as RecommendedDisplayCIELabValue (PS3.3 C.10.7.1.1)."""
    return CIELabColor.from_rgb(*rgb)


def algorithm_sequence(bundle: BundleInfo) -> AlgorithmIdentificationSequence:
    """Which locked model made a segment or a group of annotations (PS3.3 table 10-19)."""
    return AlgorithmIdentificationSequence(
        name=bundle.name[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=bundle.version[:64],
        source=MANUFACTURER,
        parameters={"bundle sha-256": bundle.digest},
    )


def algorithm_content(bundle: BundleInfo) -> AlgorithmIdentification:
    """The same in a structured report (TID 4019)."""
    return AlgorithmIdentification(
        name=bundle.name,
        version=bundle.version,
        parameters=[f"bundle sha-256: {bundle.digest}"],
        manufacturer=MANUFACTURER,
        family=codes.DCM.ArtificialIntelligence,
    )
