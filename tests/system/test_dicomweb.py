"""DICOMweb of a running node with archives around it: what comes by STOW-RS starts what C-STORE starts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from dicomweb_client import DICOMwebClient
from pydicom import dcmread
from requests import Session

from node.views import CaseState
from tests.system.orthanc import Orthanc
from tests.system.processes import wait_until
from tests.system.scans import Scan
from tests.system.site import OBJECTS, Site

DICOMWEB = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"  # Debian's orthanc-dicomweb


@pytest.fixture
def archive(site: Site, tmp_path: Path) -> Iterator[Orthanc]:
    """Orthanc with its DICOMweb plugin, which knows the node as a server."""
    with Orthanc(tmp_path / "dicomweb", plugins=(DICOMWEB,)) as running:
        server = {"Url": f"http://127.0.0.1:{site.node.ports['web']}/dicomweb"}
        httpx.put(f"{running.url}/dicom-web/servers/node", json=server).raise_for_status()
        yield running


def ask(archive: Orthanc, what: str, body: dict[str, object]) -> httpx.Response:
    answer = httpx.post(f"{archive.url}/dicom-web/servers/node/{what}", json=body, timeout=120)
    assert answer.is_success, answer.text
    return answer


def events(site: Site, accession: str) -> list[tuple[CaseState, str]]:
    view = site.ended(accession)
    assert view.row.state is CaseState.REPORTED, view.events
    return [(event.state, event.cause) for event in view.events]


def test_a_stored_slide_is_counted_like_a_sent_one(site: Site, scan: Callable[[str], Scan]) -> None:
    sent, stored = scan("Q-1"), scan("Q-2")
    site.order(sent)
    site.order(stored)
    site.send(sent)
    with Session() as session:
        client = DICOMwebClient(f"http://127.0.0.1:{site.node.ports['web']}/dicomweb", session=session)
        told = client.store_instances([dcmread(path) for path in stored.paths])
    assert len(told.ReferencedSOPSequence) == len(stored.paths)
    assert events(site, "Q-2") == events(site, "Q-1")
    assert sorted(tags["Modality"] for tags in site.archived("Q-2")) == OBJECTS


def test_orthanc_stores_a_slide_and_fetches_the_results(
    site: Site, archive: Orthanc, scan: Callable[[str], Scan]
) -> None:
    """Orthanc is the source of the slide, by STOW-RS, and fetches what the node made of it, by QIDO-RS and WADO-RS."""
    slide = scan("Q-3")
    site.order(slide)
    for path in slide.paths:
        httpx.post(f"{archive.url}/instances", content=path.read_bytes()).raise_for_status()
    ask(archive, "stow", {"Resources": httpx.get(f"{archive.url}/instances").json(), "Synchronous": True})
    assert events(site, "Q-3")[-1][0] is CaseState.REPORTED

    for identifier in httpx.get(f"{archive.url}/studies").json():
        httpx.delete(f"{archive.url}/studies/{identifier}").raise_for_status()
    found = ask(archive, "qido", {"Uri": "/studies", "Arguments": {"AccessionNumber": "Q-3"}}).json()
    (study,) = [row["0020000D"]["Value"] for row in found]
    assert study == dcmread(slide.paths[0]).StudyInstanceUID
    ask(archive, "retrieve", {"Resources": [{"Study": study}], "Synchronous": True})
    wait_until(lambda: len(archive.instances()) == len(slide.paths) + len(OBJECTS), "Orthanc has the whole study")
    assert sorted(tags["Modality"] for tags in archive.results()) == OBJECTS
