"""A real node between real peers, on loopback and free ports: Orthanc as PACS, an MLLP receiver as LIS, dcmsend."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.spec import PhantomSpec
from tests.system.lis import Lis
from tests.system.orthanc import Orthanc
from tests.system.running_node import RunningNode
from tests.system.scans import Scan, write_scan
from tests.system.site import Site


@pytest.fixture(scope="session")
def smear() -> PhantomSlide:
    """A synthetic smear of one tile, quick to count."""
    return PhantomSlide(PhantomSpec(seed=5, size=(700, 660), mpp=0.25, artefacts=0.0))


@pytest.fixture(scope="session")
def scan(smear: PhantomSlide, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Scan]:
    """`scan("S26-1")` is the smear scanned under that accession number, each with its own UIDs."""
    folder = tmp_path_factory.mktemp("scans")
    made: dict[str, Scan] = {}

    def make(accession: str) -> Scan:
        if accession not in made:
            made[accession] = write_scan(smear, folder / accession, accession)
        return made[accession]

    return make


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    with Orthanc(tmp_path / "orthanc") as running:
        yield running


@pytest.fixture
def lis() -> Iterator[Lis]:
    with Lis() as running:
        yield running


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One node with its PACS and LIS for every test that needs no configuration of its own."""
    folder = tmp_path_factory.mktemp("site")
    node = RunningNode(folder / "node")
    with Orthanc(folder / "orthanc") as orthanc, Lis() as lis:
        node.configure(orthanc=orthanc, lis=lis, sections={"retry": {"analysis_attempts": 4}})
        node.start()
        yield Site(node=node, orthanc=orthanc, lis=lis)
        node.stop()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    """A node that is configured by the test and ended after it."""
    running = RunningNode(tmp_path / "node")
    yield running
    running.stop()
