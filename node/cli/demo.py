"""`marrow-node demo`: a real node in a temporary home, with this process as its scanner, PACS and LIS.

Every step is seen from outside: what the PACS received by C-STORE, what the LIS received by MLLP.
"""

import asyncio
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
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
from hl7.acks import accept, short_control_id
from hl7.messages import read_header
from hl7.placer import encode_order
from node.cases import list_cases, read_case
from node.cli.demo_site import Site, start_node
from node.cli.show import differential_table, progress_bar
from node.cli.tools import write_slide
from node.database import Database
from node.errors import NodeError
from node.results.archive import load_analysis
from node.views import CaseState, CaseView
from pipeline.domain import EntityId, Order, Priority, SlideInfo
from pipeline.phantom.slide import PhantomSlide
from pipeline.phantom.spec import PhantomSpec

_CASE_TIMEOUT_S = 3600.0
_POLL_S = 0.2
_ENDED = (CaseState.REPORTED, CaseState.HELD, CaseState.FAILED, CaseState.CANCELLED)
_SIZE, _MPP, _SEED = (12_000, 8_000), 0.25, 7
_EXPECTED = ("ANN", "SEG", "SR")  # modalities


class DemoFailed(NodeError):
    """A step of the demonstration was not seen; the message says which."""


@dataclass(slots=True)
class Received:
    """What the demonstration's PACS and LIS were given."""

    pacs_port: int = 0
    lis_port: int = 0
    modalities: list[str] = field(default_factory=list)
    results: list[bytes] = field(default_factory=list)


def run_demo(
    slide: Path | None, *, roi: str, tiles: str, port_base: int | None, visit: Callable[[str], None] | None = None
) -> None:
    """Send a slide and its order through a node, and check what comes out.

    Parameters
    ----------
    slide : Path or None
        A folder of DICOM instances; without it a synthetic smear is made.
    roi, tiles : str
        The keys of the same name of the site's section `analysis`.
    port_base : int or None
        The node listens on this port, the next and the one after; without it on free ports.
    visit : Callable[[str], None], optional
        Called with the address of the result page while the node is still up.

    Raises
    ------
    DemoFailed
        A step was not seen.

    """
    console = Console()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marrow-node-demo-")))
        folder = slide if slide is not None else _synthetic(home / "smear")
        with DicomSlide.open([folder]) as opened:
            info, files = opened.info, opened.paths
        received = Received()
        stack.enter_context(_pacs(home / "pacs", received))
        stack.enter_context(_lis(received))
        site = Site(
            home=home / "node",
            pacs_port=received.pacs_port,
            lis_port=received.lis_port,
            roi=roi,
            tiles=tiles,
            port_base=port_base,
        )
        ports = stack.enter_context(start_node(site))
        console.print(f"[green]✓[/] a node is up; its worklist: http://127.0.0.1:{ports['web']}/")
        send(Peer(ae_title="MARROW", host="127.0.0.1", port=ports["dicom"], calling_ae="SCANNER"), files)
        console.print(f"[green]✓[/] C-STORE: {len(files)} instances of the slide sent and acknowledged")
        mllp.send("127.0.0.1", ports["hl7"], _order_message(info))
        console.print("[green]✓[/] MLLP: an order (OML^O21) sent and acknowledged")
        view = _follow(Database(site.database_url))
        _check(view, received, console)
        _show(view, site, console)
        page = f"http://127.0.0.1:{ports['web']}/cases/{view.row.case_id}"
        console.print(f"the result page: {page}")
        if visit is not None:
            visit(page)


def show_page(page: str) -> None:
    """Open a page when a person is at the terminal, until Enter is pressed."""
    if sys.stdin.isatty():
        webbrowser.open(page)
        Console().input("press Enter to end the demonstration ")


def _synthetic(folder: Path) -> Path:
    smear = PhantomSlide(PhantomSpec(seed=_SEED, size=_SIZE, mpp=_MPP))
    write_slide(smear, folder, container=f"PHANTOM-{_SEED}", synthetic=True)
    return folder


def _order_message(info: SlideInfo) -> bytes:
    order = Order(
        patient=info.patient,
        placer_order_number=EntityId(value="DEMO-1", namespace="LIS"),
        accession_number=info.accession_number,
        container_ids=(info.container_identifier,) if info.container_identifier else (),
        specimen_ids=(info.specimen_identifier,) if info.specimen_identifier else (),
        test_code="47286-0",
        test_name="Differential panel - Bone marrow",
        priority=Priority.STAT,
    )
    return encode_order(order, control="NW", control_id="DEMO-ORDER-1", at=datetime.now(UTC))


@contextmanager
def _pacs(folder: Path, received: Received) -> Iterator[None]:
    """A Storage SCP that keeps what it is given."""

    def keep(header: InstanceHeader, _calling_ae: str) -> None:
        received.modalities.append(header.modality)

    config = ListenerConfig(ae_title="DEMOPACS", port=0)
    listener = DicomListener(config, FileStore(folder), keep, lambda _series: None, lambda _error: 0xC000)
    listener.start()
    received.pacs_port = listener.port
    try:
        yield
    finally:
        listener.stop()


@contextmanager
def _lis(received: Received) -> Iterator[None]:
    """An MLLP receiver that acknowledges every result."""

    async def take(message: bytes, _peer: str) -> tuple[bytes, ...]:
        received.results.append(message)
        number = short_control_id(f"ACK{len(received.results)}")
        return accept(message, at=datetime.now(UTC), control_id=number)

    loop = asyncio.new_event_loop()
    server = mllp.MllpServer("127.0.0.1", 0, take)
    thread = threading.Thread(target=loop.run_forever, name="lis", daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    received.lis_port = server.port
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _follow(database: Database) -> CaseView:
    """Show the case's progress until it has ended."""
    deadline = time.monotonic() + _CASE_TIMEOUT_S
    with progress_bar() as show:
        while time.monotonic() < deadline:
            row = next(iter(list_cases(database).rows), None)
            if row is not None:
                show(row.stage or "read", row.progress)
                view = read_case(database, row.case_id)
                if view is not None and row.state in _ENDED and view.files:
                    return view
                if row.state in {CaseState.FAILED, CaseState.CANCELLED}:
                    raise DemoFailed(f"the case is {row.state}: {row.cause}")
                if row.state is CaseState.HELD:
                    raise DemoFailed(f"the case is held before it was counted: {row.cause}")
            time.sleep(_POLL_S)
    raise DemoFailed(f"the case did not end within {_CASE_TIMEOUT_S:g} s")


def _check(view: CaseView, received: Received, console: Console) -> None:
    """Everything the case made must have arrived outside."""
    if view.row.state not in {CaseState.REPORTED, CaseState.HELD}:
        raise DemoFailed(f"the case is {view.row.state}: {view.row.cause}")
    made = {file.kind for file in view.files if file.sop_instance_uid}
    if len(received.modalities) != len(made):
        raise DemoFailed(f"{len(made)} objects were made, the PACS received {len(received.modalities)}")
    counted = any(file.kind == "OVERVIEW" for file in view.files)
    if counted and (missing := [modality for modality in _EXPECTED if modality not in received.modalities]):
        raise DemoFailed(f"the PACS received no {missing[0]}")
    console.print(f"[green]✓[/] the PACS received {', '.join(sorted(made))} by C-STORE")
    if len(received.results) != 1 or read_header(received.results[0]).message_type != "ORU":
        raise DemoFailed(f"the LIS received {len(received.results)} messages instead of one ORU^R01")
    console.print("[green]✓[/] the LIS received the ORU^R01 by MLLP")
    if not counted:
        raise DemoFailed(f"the slide could not be counted, and PACS and LIS were told so: {view.row.cause}")


def _show(view: CaseView, site: Site, console: Console) -> None:
    analysis = load_analysis(next((site.home / "cases" / view.row.case_id).glob("analysis-*.npz")))
    console.print(differential_table(analysis.differential))
    for alert in view.row.alerts:
        console.print(f"[yellow]![/] {alert}")
    if view.row.state is CaseState.HELD:
        console.print(f"[yellow]held for a person:[/] {view.row.cause}")
