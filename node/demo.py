"""`marrow-node demo`: a real node in a temporary home, with this process as its scanner, PACS and LIS.

Every step is seen from outside: what the PACS received by C-STORE, what the LIS received by MLLP.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from dicom_io.listener import DicomListener, ListenerConfig
from dicom_io.sender import Peer, send
from dicom_io.slide import DicomSlide
from dicom_io.store import FileStore, InstanceHeader
from hl7 import mllp
from hl7.acks import accept
from hl7.messages import read_header
from node.cases import list_cases, read_case
from node.cli_tools import write_slide
from node.database import Database
from node.errors import NodeError
from node.show import progress_bar
from node.views import CaseState, CaseView
from pipeline.domain import SlideInfo

_START_TIMEOUT_S = 120.0
_CASE_TIMEOUT_S = 3600.0
_POLL_S = 0.25
_ENDED = (CaseState.REPORTED, CaseState.HELD, CaseState.FAILED, CaseState.CANCELLED)


class DemoFailed(NodeError):
    """A step of the demonstration was not seen; the message says which."""


@dataclass(slots=True)
class Pacs:
    """What arrived at the demonstration's PACS."""

    port: int
    modalities: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Lis:
    """What arrived at the demonstration's LIS."""

    port: int
    results: list[bytes] = field(default_factory=list)


def run_demo(slide: Path | None, *, roi: str, tiles: str, port_base: int | None, browser: bool) -> None:
    """Send a slide and its order through a node, and check what comes out.

    Raises
    ------
    DemoFailed
        A step was not seen.

    """
    console = Console()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marrow-node-demo-")))
        folder = slide if slide is not None else _synthetic(home)
        with DicomSlide.open([folder]) as opened:
            info, files = opened.info, opened.paths
        pacs = stack.enter_context(_pacs(home))
        lis = stack.enter_context(_lis())
        config = _write_config(home, pacs, lis, roi=roi, tiles=tiles, port_base=port_base)
        ports = stack.enter_context(_node(home, config))
        page = f"http://127.0.0.1:{ports['web']}/"
        console.print(f"a node is up in {home}; its worklist: {page}")

        send(Peer(ae_title="MARROW", host="127.0.0.1", port=ports["dicom"], calling_ae="SCANNER"), files)
        console.print(f"[green]✓[/] C-STORE: {len(files)} instances of the slide sent and acknowledged")
        mllp.send("127.0.0.1", ports["hl7"], order_message(info, datetime.now(UTC)))
        console.print("[green]✓[/] MLLP: OML^O21 sent and acknowledged")
        view = _follow(home)
        _check(view, pacs, lis, console)
        _show_result(view, console)
        case_page = f"{page}cases/{view.row.case_id}"
        console.print(f"the result page: {case_page}")
        if browser and sys.stdin.isatty():
            webbrowser.open(case_page)
            console.input("press Enter to end the demonstration ")
