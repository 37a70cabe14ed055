"""The site is told of an urgent case once, also when its web server was away."""

from collections.abc import Callable

from node.views import CaseState
from tests.system.processes import free_port, wait_until
from tests.system.reviewer import Reviewer
from tests.system.running_node import RunningNode
from tests.system.scans import Scan, dcmsend
from tests.web_hook import WebHook


def waiting(node: RunningNode) -> int:
    """How many attempts to tell the site are still to come."""
    going = "SELECT count(*) FROM workflow_status WHERE name = 'notify' AND status NOT IN ('SUCCESS', 'ERROR')"
    with node.database.read() as connection:
        return int(connection.exec_driver_sql(going).scalar_one())


def test_a_server_that_was_away_is_told_once(node: RunningNode, scan: Callable[[str], Scan]) -> None:
    port = free_port()
    sections = {
        "notify": {"url": f"http://127.0.0.1:{port}/hook"},
        "web": {"public_url": "https://marrow.example.org"},
        "review": {"blast_percent": 0.01},
        "intake": {"require_order": False, "order_timeout_s": 0.5},
    }
    node.configure(sections=sections)
    node.start()
    dcmsend(node.ports["dicom"], scan("N-1").paths)
    case_id = node.wait_for_state("N-1", CaseState.REPORTED).row.case_id
    reviewer = Reviewer(node, case_id)
    first, second = reviewer.read("cells")["id"][:2]
    reviewer.give(first, "myeloblast")

    def told(text: str) -> bool:
        view = node.case("N-1")
        return view is not None and any(text in event.cause for event in view.events)

    wait_until(lambda: told("notify.url cannot be reached"), "the failure is told")
    with WebHook(port) as hook:
        wait_until(lambda: told("the site was notified: blasts"), "the server is told", 30)
        reviewer.give(second, "myeloblast")
        reviewer.give(second, "promonocyte")
        wait_until(lambda: not waiting(node), "no notice is asked for any more")
        received = hook.received
    page = f"https://marrow.example.org/cases/{case_id}"
    assert received == [{"case_id": case_id, "accession_number": "N-1", "reason": "blasts", "page": page}]
