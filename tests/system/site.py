"""A node with a PACS and a LIS, shared by tests that look only at their own accession numbers."""

from dataclasses import dataclass
from typing import Any

from hl7.messages import read_message
from node.views import CaseState, CaseView
from tests.system.lis import Lis, order_for, place
from tests.system.orthanc import Orthanc
from tests.system.running_node import RunningNode
from tests.system.scans import Scan, dcmsend

OBJECTS = ["ANN", "SEG", "SEG", "SR", "SR"]  # modalities of what one counted case gives the PACS
ENDED = (CaseState.REPORTED, CaseState.HELD, CaseState.FAILED, CaseState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The three peers of one laboratory."""

    node: RunningNode
    orthanc: Orthanc
    lis: Lis

    def order(self, scan: Scan, **changes: Any) -> bytes:
        """Place the order of a scan; returns the acknowledgement."""
        return place(self.node.ports["hl7"], order_for(scan, **changes))

    def send(self, scan: Scan, levels: slice = slice(None)) -> None:
        """Send a scan, or some levels of it."""
        dcmsend(self.node.ports["dicom"], scan.paths[levels])

    def ended(self, accession: str, timeout_s: float = 180.0) -> CaseView:
        return self.node.wait_for_state(accession, *ENDED, timeout_s=timeout_s)

    def archived(self, accession: str) -> list[dict[str, Any]]:
        """The result objects in the PACS, as their main tags."""
        return [tags for tags in self.orthanc.results() if tags["AccessionNumber"] == accession]

    def reported(self, accession: str) -> list[bytes]:
        """The result messages the LIS has received, repetitions too."""
        return [message for message in self.lis.received if accession_of(message) == accession]


def accession_of(message: bytes) -> str:
    """OBR-18 or OBR-20 of a result."""
    obr = next(segment for segment in read_message(message).segments if segment.name == "OBR")
    return obr.value(18) or obr.value(20)
