"""`marrow-node check`: everything that can be wrong with a site before its first slide."""

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import httpx

from dicom_io.sender import echo
from node.codes import load_codes
from node.database import Database
from node.errors import SettingsError
from node.results.delivery import peer_of
from node.settings import LisSettings, PacsSettings, Settings
from node.views import Check
from node.work.inference import bundle_folder
from pdf.sheet import check_font
from pipeline.bundle import bundle_info, device_name, verify_bundle

_ENOUGH_BYTES = 20 << 30
_TIMEOUT_S = 5.0


def run_checks(settings: Settings) -> tuple[Check, ...]:
    """Each check by itself: one that fails does not hide the next."""
    return tuple(_try(name, check) for name, check in _checks(settings))


def _checks(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "codes", lambda: f"{len(load_codes())} classes"
    yield "home", lambda: _home(settings)
    yield "database", lambda: _database(settings)
    yield "bundle", lambda: _bundle(settings)
    if settings.report.font:
        yield "report font", lambda: _font(settings.report.font)
    yield "device", lambda: device_name(settings.bundle.device)
    for name, host, port in (
        ("dicom port", settings.dicom.host, settings.dicom.port),
        ("hl7 port", settings.hl7.host, settings.hl7.port),
        ("web port", settings.web.host, settings.web.port),
    ):
        yield name, partial(_port, host, port)
    for pacs in settings.pacs:
        yield f"pacs {pacs.name}", partial(_pacs, pacs, settings)
    for lis in settings.lis:
        yield f"lis {lis.name}", partial(_lis, lis)


def _try(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=check())
    except Exception as exc:
        return Check(name=name, ok=False, detail=str(exc) or type(exc).__name__)


def _home(settings: Settings) -> str:
    home = settings.home_folder
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=home):
        free = shutil.disk_usage(home).free
    if free < _ENOUGH_BYTES:
        raise SettingsError(f"{home} has {free >> 30} GiB free; one slide can need 15 GiB")
    return f"{home}, {free >> 30} GiB free"


def _database(settings: Settings) -> str:
    if settings.database_url.startswith("sqlite"):
        return "SQLite in home"
    with closing(Database(settings.database_url)) as database, database.read() as connection:
        return f"{connection.dialect.name} answers"


def _bundle(settings: Settings) -> str:
    folder = bundle_folder(settings.bundle)
    verify_bundle(folder)
    info = bundle_info(folder)
    return f"{info.name} {info.version}, {len(info.classes)} classes"


def _font(font: str) -> str:
    check_font(font)
    return font


def _port(host: str, port: int) -> str:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as exc:
            raise SettingsError(f"{host}:{port} cannot be opened: {exc.strerror}; is a node running already?") from exc
    return f"{host}:{port} is free"


def _pacs(pacs: PacsSettings, settings: Settings) -> str:
    if pacs.url is not None:
        answer = httpx.get(pacs.url, params={"limit": 1}, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        return f"{pacs.url} answers"
    peer = peer_of(pacs, settings)
    echo(peer, timeout_s=_TIMEOUT_S)
    return f"{peer.ae_title} at {peer.host}:{peer.port} answers C-ECHO"


def _lis(lis: LisSettings) -> str:
    with socket.create_connection((lis.host, lis.port), timeout=_TIMEOUT_S):
        return f"{lis.host}:{lis.port} accepts connections"
