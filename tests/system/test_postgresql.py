"""PostgreSQL by one setting: the same way, the same result."""

from collections.abc import Callable
from contextlib import closing

from node.database import Database
from node.views import CaseState
from tests.system.lis import Lis, order_for, place
from tests.system.orthanc import Orthanc
from tests.system.postgres import Postgres
from tests.system.processes import wait_until
from tests.system.reviewer import Reviewer
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
        reviewer = Reviewer(node, view.row.case_id)
        reviewer.confirm()
        reviewer.give(reviewer.read("cells")["id"][0], "basophil")
        assert reviewer.sign().status_code == 202

        def signed() -> bool:
            now = node.case("P-1")
            return now is not None and (now.status, now.row.state) == ("F", CaseState.REPORTED)

        wait_until(signed, "the signed result is delivered", 120)
        with closing(node.client()) as client:
            months = client.get("/api/agreement").raise_for_status().json()["all"]
        assert months[0]["n"] == reviewer.read()["reviewed"]
        assert sorted(tags["Modality"] for tags in orthanc.results()) == sorted(OBJECTS * 2)
        node.stop()
    assert not list(node.home.glob("*.sqlite"))
