"""PostgreSQL by one setting: the same way, the same result."""

from collections.abc import Callable

from node.database import Database
from node.views import CaseState
from tests.system.lis import Lis, order_for, place
from tests.system.orthanc import Orthanc
from tests.system.postgres import Postgres
from tests.system.running_node import RunningNode
from tests.system.scans import Scan, dcmsend
from tests.system.site import OBJECTS


def test_whole_way_and_a_killed_worker(
    node: RunningNode, orthanc: Orthanc, lis: Lis, scan: Callable[[str], Scan]
) -> None:
    with Postgres() as cluster:
        node.configure(orthanc=orthanc, lis=lis, sections={"database": {"url": cluster.url}})
        node.database = Database(cluster.url)
        node.start()
        place(node.ports["hl7"], order_for(scan("P-1")))
        dcmsend(node.ports["dicom"], scan("P-1").paths)
        node.wait_for_state("P-1", CaseState.RUNNING)
        node.kill_worker()
        view = node.wait_for_state("P-1", CaseState.REPORTED)
        assert {delivery.state for delivery in view.deliveries} == {"sent"}
        assert sorted(tags["Modality"] for tags in orthanc.results()) == OBJECTS
        assert len(set(lis.received)) == 1
        node.stop()
    assert not list(node.home.glob("*.sqlite"))
