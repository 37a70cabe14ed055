"""schemathesis asks everything that `/api/openapi.json` offers, in every way it allows and in some it does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from requests import Session
from schemathesis.checks import not_a_server_error

from tests.serving import serving
from tests.stored_cases import Site, reported_case

BOUNDED = settings(
    max_examples=15, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
ENDLESS = "/api/events"  # server-sent events


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    """What really is there, by the names of the parameters in the addresses; filled when the site is made."""
    return {}


@pytest.fixture(scope="module")
def described(
    shared: Path, known: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[schemathesis.BaseSchema]:
    """The description a node with a case and a slide gives of itself."""
    home = tmp_path_factory.mktemp("schemathesis")
    with Site.at(home) as site:
        header = site.receive(shared / "dicom" / "highdicom-sm_image.dcm")
        known |= {
            "case_id": reported_case(site),
            "name": "result.json",
            "study": header.study_instance_uid,
            "series": header.series_instance_uid,
            "instance": header.sop_instance_uid,
        }
        with serving(site, home / "cache") as address:
            yield schemathesis.openapi.from_url(f"{address}/api/openapi.json").exclude(path=ENDLESS)


@pytest.fixture(scope="module")
def client() -> Iterator[Session]:
    """Who asks."""
    with Session() as session:
        yield session


def test_nothing_asked_breaks_the_node(
    described: schemathesis.BaseSchema, client: Session, known: dict[str, str]
) -> None:
    """Each request is made as generated, and again for what is there."""

    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(session=client, checks=[not_a_server_error])
        there = {name: known[name] for name in case.path_parameters if name in known}
        if there:
            case.path_parameters.update(there)
            case.call_and_validate(session=client, checks=[not_a_server_error])

    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        BOUNDED(given(operation.as_strategy())(ask))()
