"""The wiring: everything `marrow-node serve` runs is built here from one `Settings`.

One process holds the listeners and the pages; the model works in a child process, which may die and is started again.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog
from dbos import DBOS

from dicom_io.codes import class_color
from dicom_io.errors import PeerError
from dicom_io.listener import DicomListener, ListenerConfig
from dicom_io.sender import Peer
from dicom_io.store import FileStore
from hl7.mllp import MllpServer
from node.actions import CaseActions
from node.codes import load_codes
from node.database import Database
from node.errors import SettingsError, dimse_status
from node.home import announce, own_home
from node.intake.intake import Intake
from node.intake.linking import Linking
from node.metrics import build_registry, readiness
from node.opening import prepare
from node.people.passwords import Passwords
from node.people.sessions import Sessions
from node.people.sign_in import SignIn
from node.queues import Work
from node.review.cell_book import CellBook
from node.review.reviewing import Reviewing
from node.settings import Settings
from node.web.app import create_web
from node.web.classes import class_views
from node.web.dicomweb import Receiver
from node.web.server import WebServer
from node.web.sources import WebSources
from node.work.supervisor import Supervisor

_log = structlog.get_logger(__name__)


def serve(settings: Settings, config: Path) -> None:
    """Run the node until it is told to stop (SIGTERM, SIGINT).

    Raises
    ------
    SettingsError
        A port is taken, the home is in use, or the worker cannot use the configuration or the bundle.

    """
    asyncio.run(_serve(settings, config))


async def _serve(settings: Settings, config: Path) -> None:
    with ExitStack() as stack:
        home = stack.enter_context(own_home(settings.home_folder))
        database = prepare(settings.database_url)
        stack.callback(database.close)
        DBOS.migrate(settings.database_url)
        work = Work(settings.database_url)
        stack.callback(work.close)
        intake = Intake(settings, database, work)
        supervisor = Supervisor(config)
        store = FileStore(settings.home_folder / "store")
        store.discard_unfinished()
        dicom = _dicom(settings, intake, store)
        mllp = _mllp(settings, intake)
        receiver = Receiver(store=store, index=intake.instance, released=intake.released)
        book = CellBook(database, home / "cases")
        stack.callback(book.close)
        sources = _sources(settings, database, work, supervisor, receiver, book)
        web = WebServer(create_web(sources), settings.web.host, settings.web.port)
        with _taken("dicom", settings.dicom.port):
            dicom.start()
        stack.callback(dicom.stop)
        with _taken("web", settings.web.port):
            web.start()
        stack.callback(web.stop)
        with _taken("hl7", settings.hl7.port):
            await mllp.start()
        try:
            supervisor.start()
            stack.callback(supervisor.stop)
            stop = _stop_signal()
            ready = asyncio.create_task(asyncio.to_thread(supervisor.wait_until_ready))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({ready, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
                announce(home, dicom=dicom.port, hl7=mllp.port, web=web.port)
            await stopped
        finally:
            await mllp.stop()
        _log.info("stopping")


def _dicom(settings: Settings, intake: Intake, store: FileStore) -> DicomListener:
    config = ListenerConfig(
        ae_title=settings.dicom.ae_title,
        host=settings.dicom.host,
        port=settings.dicom.port,
        allowed_calling_ae=settings.dicom.allowed_calling_ae,
        allowed_addresses=settings.dicom.allowed_addresses,
        check_called_ae=settings.dicom.check_called_ae,
        network_timeout_s=settings.dicom.network_timeout_s,
        maximum_associations=settings.dicom.maximum_associations,
        commitment_peers=tuple(
            Peer(ae_title=peer.ae_title, host=peer.host, port=peer.port, calling_ae=settings.dicom.ae_title)
            for peer in settings.dicom.commitment_peers
        ),
    )
    return DicomListener(config, store, intake.instance, intake.released, dimse_status, intake.available)


def _mllp(settings: Settings, intake: Intake) -> MllpServer:
    async def handle(message: bytes, peer: str) -> tuple[bytes, ...]:
        return await asyncio.to_thread(intake.message, message, peer)

    return MllpServer(
        settings.hl7.host,
        settings.hl7.port,
        handle,
        allowed_addresses=settings.hl7.allowed_addresses,
        max_frame_bytes=settings.hl7.maximum_frame_bytes,
        idle_timeout_s=settings.hl7.idle_timeout_s or None,
        stall_timeout_s=settings.hl7.stall_timeout_s,
    )


def _sources(
    settings: Settings, database: Database, work: Work, supervisor: Supervisor, receiver: Receiver, book: CellBook
) -> WebSources:
    passwords = Passwords()
    return WebSources(
        database=database,
        work=work,
        settings=settings.web,
        passwords=passwords,
        sign_in=SignIn(database, passwords),
        sessions=Sessions(database, settings.web.session_idle_s, settings.web.session_longest_s),
        checks=lambda: readiness(database, settings.home_folder, lambda: supervisor.ready),
        classes=class_views(load_codes(), class_color),
        registry=build_registry(database, lambda: supervisor.ready),
        receiver=receiver,
        actions=CaseActions(database, work, Linking(settings.intake, database, work)),
        cells=book,
        reviewing=Reviewing(settings, database, work, book),
        cache=settings.home_folder / "cache",
    )


@contextmanager
def _taken(section: str, port: int) -> Iterator[None]:
    try:
        yield
    except (OSError, PeerError) as exc:
        msg = f"{section}.port {port} cannot be opened ({exc}); stop what uses it, or set another port"
        raise SettingsError(msg) from exc


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
