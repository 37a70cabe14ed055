"""Which order a slide belongs to (pure).

An order and a slide find each other by accession number, container or specimen, in the order the site names; then the
patient must agree. What is compared is trimmed and case-folded; a message names attributes, never their values.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.domain import Order, Patient

Key = Literal["accession", "container", "specimen"]
Keys = frozenset[tuple[Key, str]]

_UNSTATED_SEX = frozenset({"", "U", "O", "A", "N"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideIdentity:
    """What a slide says of itself that an order may name."""

    accession_number: str
    container_identifier: str
    specimen_identifier: str
    patient: Patient


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The order that was found, if any, and why a person must look, if so."""

    order_id: str | None = None
    problem: str = ""


def normalise(identifier: str) -> str:
    """An identifier as it is compared."""
    return unicodedata.normalize("NFKC", identifier).strip().casefold()


def order_keys(order: Order) -> Keys:
    """Everything an order can be found by."""
    named: dict[Key, tuple[str, ...]] = {
        "accession": (order.accession_number,),
        "container": order.container_ids,
        "specimen": order.specimen_ids,
    }
    return frozenset((key, normalise(value)) for key, values in named.items() for value in values if value.strip())


def slide_keys(slide: SlideIdentity) -> Keys:
    """Everything a slide can be found by; laboratories print the slide's barcode as container or as specimen."""
    named: dict[Key, tuple[str, ...]] = {
        "accession": (slide.accession_number,),
        "container": (slide.container_identifier, slide.specimen_identifier),
        "specimen": (slide.specimen_identifier,),
    }
    return frozenset((key, normalise(value)) for key, values in named.items() for value in values if value.strip())


def completed(slide: SlideIdentity, registered: Order | None) -> SlideIdentity:
    """The slide, with what its registration knows where the slide itself is silent: scanners read the barcode alone."""
    if registered is None:
        return slide
    return replace(
        slide,
        accession_number=slide.accession_number.strip() or registered.accession_number,
        patient=slide.patient if slide.patient.patient_id.strip() else registered.patient,
    )


def match(
    slide: SlideIdentity,
    candidates: Sequence[tuple[str, Order]],
    match_by: Sequence[Key],
    *,
    check_container: bool = True,
) -> Match:
    """Find the order of a slide among the open ones.

    Parameters
    ----------
    candidates : sequence of (order id, Order)
        Open orders, in any sequence.
    match_by : sequence of str
        The first key that any order answers to decides; further keys only break ties.
    check_container : bool
        An order that lists containers, the slide's not among them, is a mismatch.

    """
    wanted = slide_keys(slide)
    hits = list(candidates)
    decided = False
    for key in match_by:
        values = {value for kind, value in wanted if kind == key}
        found = [(name, order) for name, order in hits if any((key, value) in order_keys(order) for value in values)]
        if found:
            hits, decided = found, True
        if decided and len(hits) == 1:
            break
    if not decided:
        return Match()
    if len(hits) > 1:
        return Match(problem=f"{len(hits)} open orders name this slide; cancel the wrong ones or attach the right one")
    order_id, order = hits[0]
    problem = patient_problem(order.patient, slide.patient)
    if not problem and check_container:
        problem = container_problem(order, slide)
    return Match(order_id=order_id, problem=problem)


def names(order: Order, slide: Keys, match_by: Sequence[Key], *, check_container: bool = True) -> bool:
    """Whether an order names a slide of these keys, and no other container than the slide's."""
    if not any(kind in match_by for kind, _ in order_keys(order) & slide):
        return False
    return not (check_container and _other_container(order, slide))


def container_problem(order: Order, slide: SlideIdentity) -> str:
    """Why the slide's container contradicts the order; empty when it does not."""
    if _other_container(order, slide_keys(slide)):
        return "ContainerIdentifier (0040,0512) of the slide is not among the containers of its order"
    return ""


def _other_container(order: Order, slide: Keys) -> bool:
    ordered, scanned = ({value for kind, value in keys if kind == "container"} for keys in (order_keys(order), slide))
    return bool(ordered and scanned and not ordered & scanned)


def patient_problem(ordered: Patient, scanned: Patient, by: str = "order") -> str:
    """Why the patient of the order, or registration, is not surely that of the slide; empty when they agree."""
    if not scanned.patient_id.strip():
        return f"PatientID (0010,0020) of the slide is empty, so the patient cannot be compared with the {by}"
    if not ordered.patient_id.strip():
        return f"PID-3 of the {by} is empty, so the patient cannot be compared with the slide"
    differing = [name for name, differs in _differences(ordered, scanned).items() if differs]
    if differing:
        return f"the patient of the {by} and of the slide differ in {', '.join(differing)}"
    return ""


def _differences(ordered: Patient, scanned: Patient) -> dict[str, bool]:
    return {
        "PatientID (0010,0020)": normalise(ordered.patient_id) != normalise(scanned.patient_id),
        "IssuerOfPatientID (0010,0021)": _stated_and_different(normalise(ordered.issuer), normalise(scanned.issuer)),
        "PatientBirthDate (0010,0030)": bool(
            ordered.birth_date and scanned.birth_date and ordered.birth_date != scanned.birth_date
        ),
        "PatientSex (0010,0040)": {ordered.sex.upper(), scanned.sex.upper()}.isdisjoint(_UNSTATED_SEX)
        and ordered.sex.upper() != scanned.sex.upper(),
        "family name of PatientName (0010,0010)": _stated_and_different(_family(ordered), _family(scanned)),
    }


def _stated_and_different(one: str, other: str) -> bool:
    return bool(one and other and one != other)


def _family(patient: Patient) -> str:
    family = unicodedata.normalize("NFKD", patient.name.split("^")[0])
    return "".join(letter for letter in family if letter.isalnum()).casefold()
