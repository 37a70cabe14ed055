"""Real marrow cells, the whole way: dcmsend → node → Orthanc and a strict LIS, within ten minutes on two cores."""

import json
import time
from pathlib import Path

import pytest

from node.views import CaseState
from tests.system.lis import Lis, order_for, place
from tests.system.orthanc import Orthanc
from tests.system.running_node import RunningNode
from tests.system.scans import dcmsend, scan_of
from tests.system.site import OBJECTS

TIME_LIMIT_S = 600.0


@pytest.mark.alone
@pytest.mark.shared
@pytest.mark.timeout(1500)
def test_marrow_fields(node: RunningNode, orthanc: Orthanc, lis: Lis, shared: Path) -> None:
    """A mosaic of 298 real Giemsa fields has no body and tail, so the whole slide is the region."""
    node.configure(
        orthanc=orthanc,
        lis=lis,
        sections={"analysis": {"roi": "whole", "tiles": "auto", "minimum_cells": 200, "check_quality": True}},
    )
    node.start()
    scan = scan_of(shared / "slides" / "marrow-fields")
    began = time.monotonic()
    place(node.ports["hl7"], order_for(scan))
    dcmsend(node.ports["dicom"], scan.paths)
    view = node.wait_for_state(scan.accession, CaseState.REPORTED, CaseState.HELD, CaseState.FAILED, timeout_s=1200)
    took_s = time.monotonic() - began
    assert view.row.state is CaseState.REPORTED, view.events
    result = json.loads(next(file.path for file in view.files if file.kind == "RESULT").read_text())
    assert result["differential"]["total"] > 1000
    assert sorted(tags["Modality"] for tags in orthanc.results()) == OBJECTS
    assert len(lis.received) == 1
    assert took_s < TIME_LIMIT_S
