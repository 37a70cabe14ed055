"""Each destination by itself: an absent or refusing peer loses nothing, doubles nothing, and blocks no other."""

from collections.abc import Callable
from pathlib import Path

from dicom_io.errors import InstanceRejected
from dicom_io.listener import DicomListener, ListenerConfig
from dicom_io.store import FileStore, InstanceHeader
from node.views import CaseState, CaseView, DeliveryView
from tests.system.lis import Lis, order_for, place
from tests.system.orthanc import Orthanc
from tests.system.processes import wait_until
from tests.system.running_node import RunningNode
from tests.system.scans import Scan, dcmsend
from tests.system.site import OBJECTS

DICOMWEB = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"  # Debian's orthanc-dicomweb


def delivery(view: CaseView | None, destination: str) -> DeliveryView | None:
    found = () if view is None else view.deliveries
    return next((each for each in found if each.destination == destination), None)


def is_in(node: RunningNode, accession: str, destination: str, state: str) -> bool:
    found = delivery(node.case(accession), destination)
    return found is not None and found.state == state


def test_absent_pacs_does_not_hold_up_the_lis_and_gets_everything_when_it_is_back(
    node: RunningNode, orthanc: Orthanc, lis: Lis, scan: Callable[[str], Scan]
) -> None:
    node.configure(orthanc=orthanc, lis=lis)
    orthanc.stop()
    node.start()
    for accession in ("D-1", "D-2"):
        place(node.ports["hl7"], order_for(scan(accession)))
        dcmsend(node.ports["dicom"], scan(accession).paths)
    for accession in ("D-1", "D-2"):
        wait_until(lambda name=accession: is_in(node, name, "lis", "sent"), f"{accession} is at the LIS", 120)
    assert len(lis.received) == 2

    def tried_again() -> bool:
        found = delivery(node.case("D-1"), "archive")
        return found is not None and found.attempts >= 2

    wait_until(tried_again, "the PACS is tried again", 60)
    view = node.case("D-1")
    assert view is not None
    assert view.row.state is CaseState.DELIVERING
    found = delivery(view, "archive")
    assert found is not None
    assert found.state == "pending"
    assert str(orthanc.dicom_port) in found.last_error
    orthanc.start()
    for accession in ("D-1", "D-2"):
        node.wait_for_state(accession, CaseState.REPORTED)
        own = [tags for tags in orthanc.results() if tags["AccessionNumber"] == accession]
        assert sorted(tags["Modality"] for tags in own) == OBJECTS
    assert len(lis.received) == 2


def test_absent_lis_then_back(node: RunningNode, orthanc: Orthanc, lis: Lis, scan: Callable[[str], Scan]) -> None:
    node.configure(orthanc=orthanc, lis=lis)
    lis.stop()
    node.start()
    place(node.ports["hl7"], order_for(scan("D-3")))
    dcmsend(node.ports["dicom"], scan("D-3").paths)
    wait_until(lambda: is_in(node, "D-3", "archive", "sent"), "the PACS has the objects", 120)
    assert lis.received == []
    lis.start()
    node.wait_for_state("D-3", CaseState.REPORTED)
    assert len(lis.received) == 1


def test_given_up_then_requeued(node: RunningNode, orthanc: Orthanc, lis: Lis, scan: Callable[[str], Scan]) -> None:
    """A PACS that never answers makes a dead letter; a person requeues it when the PACS is back."""
    node.configure(orthanc=orthanc, lis=lis, sections={"retry": {"delivery_attempts": 2, "delivery_first_s": 0.1}})
    orthanc.stop()
    node.start()
    place(node.ports["hl7"], order_for(scan("D-4")))
    dcmsend(node.ports["dicom"], scan("D-4").paths)
    view = node.wait_for_state("D-4", CaseState.FAILED)
    assert "archive" in view.row.cause
    found = delivery(view, "archive")
    assert found is not None
    assert (found.state, found.attempts) == ("dead", 2)
    orthanc.start()
    done = node.command("requeue", view.row.case_id)
    assert done.returncode == 0, done.stderr
    node.wait_for_state("D-4", CaseState.REPORTED)
    assert sorted(tags["Modality"] for tags in orthanc.results()) == OBJECTS
    assert len(lis.received) == 1, "the LIS had its result already"


def test_pacs_that_refuses_one_kind_gets_the_others(
    node: RunningNode, lis: Lis, scan: Callable[[str], Scan], tmp_path: Path
) -> None:
    """Annotations are new to many archives: what is refused is named, the rest arrives, nothing is asked again."""
    kept: list[str] = []

    def keep(header: InstanceHeader, _calling_ae: str) -> None:
        if header.modality == "ANN":
            raise InstanceRejected(0xA900, "no annotations here")
        kept.append(header.modality)

    def status_of(error: Exception) -> int:
        assert isinstance(error, InstanceRejected)
        return error.status

    archive = DicomListener(
        ListenerConfig(ae_title="OLDPACS", port=0), FileStore(tmp_path / "old"), keep, lambda _series: None, status_of
    )
    archive.start()
    try:
        node.configure(lis=lis)
        node.add_pacs("old", ae_title="OLDPACS", host="127.0.0.1", port=archive.port)
        node.start()
        place(node.ports["hl7"], order_for(scan("D-5")))
        dcmsend(node.ports["dicom"], scan("D-5").paths)
        view = node.wait_for_state("D-5", CaseState.FAILED)
    finally:
        archive.stop()
    found = delivery(view, "old")
    assert found is not None
    assert (found.state, found.attempts) == ("refused", 1)
    assert "Annotation" in view.row.cause
    assert sorted(kept) == ["SEG", "SEG", "SR", "SR"]
    assert len(lis.received) == 1


def test_no_destination_at_all(node: RunningNode, scan: Callable[[str], Scan]) -> None:
    node.configure()
    node.start()
    place(node.ports["hl7"], order_for(scan("D-6")))
    dcmsend(node.ports["dicom"], scan("D-6").paths)
    view = node.wait_for_state("D-6", CaseState.REPORTED)
    assert view.row.cause == "no destination is configured"
    assert view.files


def test_archive_by_stow(node: RunningNode, lis: Lis, scan: Callable[[str], Scan], tmp_path: Path) -> None:
    """Orthanc's DICOMweb plugin as the target."""
    with Orthanc(tmp_path / "dicomweb", plugins=(DICOMWEB,)) as archive:
        node.configure(lis=lis)
        node.add_pacs("web", url=f"{archive.url}/dicom-web/studies")
        node.start()
        place(node.ports["hl7"], order_for(scan("D-7")))
        dcmsend(node.ports["dicom"], scan("D-7").paths)
        node.wait_for_state("D-7", CaseState.REPORTED)
        assert sorted(tags["Modality"] for tags in archive.results()) == OBJECTS
