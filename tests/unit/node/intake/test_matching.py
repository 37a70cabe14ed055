"""Which order a slide belongs to, and when a person must look."""

from datetime import date
from typing import Any

import pytest

from node.intake.matching import Match, SlideIdentity, match
from pipeline.domain import Order, Patient
from tests.builders import build_order, build_patient

KEYS = ("accession", "container", "specimen")


def build_identity(**changes: Any) -> SlideIdentity:
    values: dict[str, Any] = {
        "accession_number": "S26-00017",
        "container_identifier": "S26-00017-A-1",
        "specimen_identifier": "S26-00017-A",
        "patient": build_patient(),
        **changes,
    }
    return SlideIdentity(**values)


def find(slide: SlideIdentity, *orders: Order, **options: Any) -> Match:
    candidates = [(f"O{number}", order) for number, order in enumerate(orders)]
    return match(slide, candidates, KEYS, **options)


def test_nothing_matches_an_unknown_slide() -> None:
    slide = build_identity(accession_number="", container_identifier="X", specimen_identifier="")
    assert find(slide, build_order()) == Match()


def test_accession_decides() -> None:
    assert find(build_identity(container_identifier="", specimen_identifier=""), build_order()) == Match(order_id="O0")


@pytest.mark.parametrize("barcode", ["s26-00017-a-1", " S26-00017-A-1 ", "Ｓ26-00017-A-1"])
def test_identifiers_are_compared_without_case_space_and_width(barcode: str) -> None:
    slide = build_identity(accession_number="", container_identifier=barcode, specimen_identifier="")
    assert find(slide, build_order()).order_id == "O0"


def test_barcode_may_be_printed_as_specimen() -> None:
    slide = build_identity(accession_number="", container_identifier="", specimen_identifier="S26-00017-A-1")
    assert find(slide, build_order()).order_id == "O0"


def test_container_chooses_among_orders_of_one_accession() -> None:
    other = build_order(container_ids=("S26-00017-B-1",))
    assert find(build_identity(), other, build_order()).order_id == "O1"


def test_two_orders_that_cannot_be_told_apart_are_a_problem() -> None:
    found = find(build_identity(), build_order(), build_order())
    assert found.order_id is None
    assert "2 open orders" in found.problem


def test_container_outside_the_order_is_a_problem_unless_the_site_says_otherwise() -> None:
    slide = build_identity(container_identifier="S26-00017-C-9", specimen_identifier="")
    assert "ContainerIdentifier" in find(slide, build_order()).problem
    assert find(slide, build_order(), check_container=False) == Match(order_id="O0")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"patient_id": "OTHER"}, "PatientID"),
        ({"issuer": "ELSEWHERE"}, "IssuerOfPatientID"),
        ({"birth_date": date(1961, 4, 3)}, "PatientBirthDate"),
        ({"sex": "M"}, "PatientSex"),
        ({"name": "Anders^Maria"}, "PatientName"),
        ({"patient_id": ""}, "PatientID"),
    ],
)
def test_patient_must_agree(changes: dict[str, object], named: str) -> None:
    problem = find(build_identity(patient=build_patient(**changes)), build_order()).problem
    assert named in problem
    assert not any(str(value) in problem for value in changes.values() if value)


@pytest.mark.parametrize(
    "changes",
    [
        {"patient_id": " test-4711 "},
        {"issuer": ""},
        {"birth_date": None},
        {"sex": "O"},
        {"name": "MUSTER^Maria^Dr."},
        {"name": ""},
    ],
)
def test_what_is_not_stated_or_written_otherwise_agrees(changes: dict[str, object]) -> None:
    assert find(build_identity(patient=build_patient(**changes)), build_order()).problem == ""


def test_order_without_patient_is_a_problem() -> None:
    order = build_order(patient=Patient(patient_id=""))
    assert "PID-3" in find(build_identity(), order).problem
