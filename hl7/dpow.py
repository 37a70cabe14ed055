"""OML^O21 that is no order: IHE PaLM Digital Pathology Workflow (DPOW, draft of 2026), told by MSH-21.

LAB-100 registers a specimen, block or slide; LAB-104 says that the image of a slide is in the archive, or no longer.
"""

from dataclasses import dataclass
from enum import StrEnum

from hl7.errors import ParseError
from hl7.groups import OrderGroup
from hl7.messages import Header

_STUDY = frozenset({"StudyInstanceUID", "110180"})  # OBX-3.1, by name or by DCM code
_SERIES = frozenset({"SeriesInstanceUID", "112002"})


class Kind(StrEnum):
    """What an order message is for."""

    ORDER = "order"
    REGISTRATION = "LAB-100"
    IMAGE = "LAB-104"


_PROFILES = {
    "DPOW-SPECIMEN": Kind.REGISTRATION,
    "DPOW-BLOCK": Kind.REGISTRATION,
    "DPOW-SLIDE": Kind.REGISTRATION,
    "DPOW-IMAGE-NOTIF": Kind.IMAGE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNotice:
    """Which images are in the archive (`available`) or have been withdrawn."""

    available: bool
    study_instance_uids: tuple[str, ...] = ()
    series_instance_uids: tuple[str, ...] = ()


def kind_of(header: Header) -> Kind:
    """What MSH-21 says the message is for."""
    names = (profile.split(header.separators.component)[0].strip().upper() for profile in header.profiles)
    return next((_PROFILES[name] for name in names if name in _PROFILES), Kind.ORDER)


def read_notice(group: OrderGroup) -> ImageNotice:
    """The notice of a LAB-104.

    Raises
    ------
    ParseError
        SPM-20 says neither Y nor N.
    """
    states = {specimen.spm.value(20) for specimen in group.specimens if specimen.spm is not None}
    if states not in ({"Y"}, {"N"}):
        raise ParseError(
            "SPM-20 must be Y (the image is available) or N (it is withdrawn), the same for each SPM",
            code=101 if states <= {""} else 103,
            location="SPM^1^20",
        )
    return ImageNotice(
        available=states == {"Y"},
        study_instance_uids=_uids(group, _STUDY),
        series_instance_uids=_uids(group, _SERIES),
    )


def _uids(group: OrderGroup, names: frozenset[str]) -> tuple[str, ...]:
    return tuple(obx.value(5) for obx in group.observations if obx.value(3) in names and obx.value(5))
