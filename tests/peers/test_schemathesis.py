"""schemathesis asks everything that `/api/openapi.json` offers, in every way it allows and in some it does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from requests import Session
from schemathesis.checks import not_a_server_error

from node.people.accounts import Role
from node.web.identity import COOKIE
from tests.serving import serving
from tests.stored_cases import Site, reported_case

BOUNDED = settings(
    max_examples=15, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
ENDLESS = "/api/events"  # server-sent events


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site.at(tmp_path_factory.mktemp("schemathesis")) as site:
        yield site


@pytest.fixture(scope="module")
def known(site: Site, shared: Path) -> dict[str, str]:
    """What really is there, by the names of the parameters in the addresses."""
    header = site.receive(shared / "dicom" / "highdicom-sm_image.dcm")
    return {
        "case_id": reported_case(site),
        "name": "result.json",
        "study": header.study_instance_uid,
        "series": header.series_instance_uid,
        "instance": header.sop_instance_uid,
    }


@pytest.fixture(scope="module")
def described(site: Site) -> Iterator[schemathesis.BaseSchema]:
    """The description a node gives of itself to who has signed in."""
    with serving(site) as address:
        headers = {"Cookie": f"{COOKIE}={site.sign_in()}"}
        schema = schemathesis.openapi.from_url(f"{address}/api/openapi.json", headers=headers)
        yield schema.exclude(path=ENDLESS)


def test_nothing_asked_breaks_the_node(described: schemathesis.BaseSchema, site: Site, known: dict[str, str]) -> None:
    """Each request is made as generated, and again for what is there, by someone who may do everything."""
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 20
    with Session() as client:

        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(session=client, checks=[not_a_server_error])
            there = {name: known[name] for name in case.path_parameters if name in known}
            if there:
                case.path_parameters.update(there)
                case.call_and_validate(session=client, checks=[not_a_server_error])

        for operation in operations:
            client.cookies.set(COOKIE, site.sign_in(Role.ADMIN))  # an operation may have signed out
            BOUNDED(given(operation.as_strategy())(ask))()
