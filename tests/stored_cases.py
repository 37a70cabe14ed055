"""Cases in a database with their files on the disk, as the node leaves them; for tests of what reads them."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import sqlalchemy as sa
from dbos import DBOS
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from prometheus_client import CollectorRegistry
from scipy import ndimage

from dicom_io.codes import class_color
from dicom_io.header import parse_header
from dicom_io.results import write_results
from dicom_io.slide import DicomSlide
from dicom_io.store import FileStore, InstanceHeader
from hl7.results import ResultsConfig, encode_oru
from node import cases
from node.actions import CaseActions
from node.cases import list_cases, read_case
from node.codes import load_codes
from node.database import Database
from node.intake.linking import Linking
from node.opening import prepare
from node.people.accounts import Person, Role
from node.people.passwords import Passwords
from node.people.sessions import Sessions
from node.people.sign_in import SignIn
from node.queues import Work
from node.results.archive import analysis_file, save_analysis
from node.results.export import result_json
from node.results.run_book import RunRecord, keep_run
from node.review.cell_book import CellBook
from node.review.reviewing import Reviewing
from node.settings import IntakeSettings, Settings, WebSettings
from node.tables import accounts, deliveries, instances, objects, orders, slides
from node.views import CaseState, CaseView, Check
from node.web.classes import class_views
from node.web.dicomweb import Receiver
from node.web.sources import WebSources
from pipeline.domain import CELL_CLASSES, Box, Cell, Priority, Report, Slide
from tests.builders import build_analysis, build_cell, build_cells, build_report
from tests.slides import write_slide

_WAY = (CaseState.WAITING, CaseState.QUEUED, CaseState.RUNNING, CaseState.DELIVERING, CaseState.REPORTED)
_MEDIA = {"RESULT": "application/json", "OVERVIEW": "image/png", "ORU": "x-application/hl7-v2+er7"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A database, a store of instances and a folder for the files of the cases."""

    home: Path
    database: Database
    work: Work
    store: FileStore
    released: list[frozenset[str]] = field(default_factory=list)

    @classmethod
    @contextmanager
    def at(cls, home: Path) -> Iterator[Self]:
        """A new site in `home`."""
        url = f"sqlite:///{home / 'node.sqlite'}"
        database = prepare(url)
        DBOS.migrate(url)
        work = Work(url)
        yield cls(home=home, database=database, work=work, store=FileStore(home / "store", reserve_bytes=0))
        work.close()
        database.close()

    @property
    def folder(self) -> Path:
        """Where the files of the cases are."""
        return self.home / "cases"

    def web_sources(self, **changes: Any) -> WebSources:
        """What a web side over this site works on."""
        passwords, cells = Passwords(), CellBook(self.database, self.folder)
        settings = changes.get("settings", WebSettings())
        site = changes.pop("site", Settings(home=self.home))
        values: dict[str, Any] = {
            "database": self.database,
            "work": self.work,
            "settings": settings,
            "passwords": passwords,
            "sign_in": SignIn(self.database, passwords),
            "sessions": Sessions(self.database, settings.session_idle_s, settings.session_longest_s),
            "checks": lambda: (Check(name="database", ok=True),),
            "classes": class_views(load_codes(), class_color),
            "registry": CollectorRegistry(),
            "receiver": self.receiver,
            "actions": CaseActions(self.database, self.work, Linking(IntakeSettings(), self.database, self.work)),
            "cells": cells,
            "reviewing": Reviewing(site, self.database, self.work, cells),
            "cache": self.home / "cache",
        }
        return WebSources(**values | changes)

    def sign_in(self, role: Role = Role.REVIEWER) -> str:
        """The session token of a person of that role, whose name is the role's; the account has no password."""
        person = Person(name=role.value, full_name=f"Test {role.capitalize()}", role=role)
        with self.database.write() as connection:
            known = sa.select(accounts.c.name).where(accounts.c.name == person.name)
            if connection.execute(known).one_or_none() is None:
                row = {"name": person.name, "full_name": person.full_name, "role": role.value, "password_hash": ""}
                times = {"created_at": _now(), "password_changed_at": _now()}
                connection.execute(accounts.insert().values(**row, **times))
        return Sessions(self.database, 3600, 43_200).open(person, "test")

    @property
    def receiver(self) -> Receiver:
        """Takes instances in as a listener does."""
        return Receiver(store=self.store, index=self._index, released=self.released.append)

    def receive(self, path: Path) -> InstanceHeader:
        """A copy of the file at `path`, kept and indexed."""
        spooled = self.store.spool / path.name
        shutil.copyfile(path, spooled)
        header = self.store.keep(spooled)
        self._index(header, "TEST")
        return header

    def refer(self, path: Path) -> InstanceHeader:
        """The file at `path`, indexed where it lies."""
        header = parse_header(path)
        self._index(header, "TEST")
        return header

    def _index(self, header: InstanceHeader, calling_ae: str) -> None:
        with self.database.write() as connection:
            known = connection.execute(
                sa.select(instances.c.path).where(instances.c.sop_instance_uid == header.sop_instance_uid)
            ).scalar_one_or_none()
            if known is None:
                connection.execute(
                    instances.insert().values(
                        sop_instance_uid=header.sop_instance_uid,
                        series_instance_uid=header.series_instance_uid,
                        study_instance_uid=header.study_instance_uid,
                        sop_class_uid=header.sop_class_uid,
                        transfer_syntax_uid=header.transfer_syntax_uid,
                        modality=header.modality,
                        path=str(header.path),
                        sha256=header.sha256,
                        calling_ae=calling_ae,
                        received_at=datetime.now(UTC),
                    )
                )


def store_case(
    site: Site,
    state: CaseState,
    *,
    cause: str = "",
    report: Report | None = None,
    slide_paths: Sequence[Path] = (),
    picture: Image.Image | None = None,
    run: int = 0,
    **values: Any,
) -> str:
    """A case that went the usual way to `state`; with a report it has a result, files and a delivery."""
    columns = {
        "run": run,
        "accession_number": "S26-00017",
        "container_identifier": "S26-00017-A-1",
        "patient_id": "TEST-4711",
        "patient_name": "Muster^Maria",
        "priority": Priority.ROUTINE.value,
        **values,
    }
    with site.database.write() as connection:
        case_id = cases.create(connection, CaseState.ORDERED, "order received", actor="listener", **columns)
        for step in _WAY[: _WAY.index(state) + 1] if state in _WAY else ():
            cases.move(connection, case_id, step, "", actor="worker")
        if state not in {CaseState.ORDERED, *_WAY}:
            cases.move(connection, case_id, state, cause, actor="worker")
    if report is not None:
        _store_report(site, case_id, report, run, slide_paths, picture)
    return case_id


def reported_case(site: Site, **changes: Any) -> str:
    """A finished case with the result of `build_report`; its slide is not kept."""
    return store_case(site, CaseState.REPORTED, report=build_report(**changes))


def slide_case(site: Site, folder: Path, **changes: Any) -> str:
    """A finished case of the real slide in `folder`, received; its cells are nuclei found by their colour."""
    paths = receive_slide(site, folder)
    with DicomSlide.open(paths) as slide:
        cells = cells_by_colour(slide)
        analysis = build_analysis(slide.info, cells=cells, saliency=middle_saliency(len(cells)))
        report = build_report(slide=slide.info, analysis=analysis, **changes)
        picture = _thumbnail(slide)
    return store_case(site, CaseState.REPORTED, report=report, slide_paths=paths, picture=picture)


def small_case(site: Site, scanner: Path, *, run: int = 1) -> str:
    """A reported case of a small slide with 240 cells that is written to `scanner` and received."""
    paths = [site.receive(path).path for path in write_slide(scanner)]
    with DicomSlide.open(paths) as slide:
        info = slide.info
    report = build_report(slide=info, analysis=build_analysis(info, cells=build_cells(size=info.size)))
    return store_case(site, CaseState.REPORTED, report=report, slide_paths=paths, run=run)


def unwritten_case(site: Site, folder: Path, cells: Sequence[Cell] | None = None) -> str:
    """A finished case of the real slide in `folder` with its analysis alone: quick, and room for very many cells."""
    paths = receive_slide(site, folder)
    with DicomSlide.open(paths) as slide:
        info, found = slide.info, cells_by_colour(slide) if cells is None else tuple(cells)
    analysis = build_analysis(info, cells=found, saliency=middle_saliency(len(found)))
    case_id = store_case(site, CaseState.REPORTED)
    report = build_report(case_id=case_id, slide=info, analysis=analysis)
    save_analysis(analysis, analysis_file(site.folder, case_id, 0))
    with site.database.write() as connection:
        _store_parts(connection, case_id, report, exists=True)
        keep_run(connection, _record_of(report, 0, tuple(paths)))
    return case_id


def many_cells(count: int, size: tuple[int, int]) -> tuple[Cell, ...]:
    """About `count` cells in rows over a slide, of every class."""
    return build_cells(
        {name: round(count * share) for name, share in zip(CELL_CLASSES, _SHARES, strict=True)}, size=size
    )


def receive_slide(site: Site, folder: Path) -> list[Path]:
    """The files of a slide as the node keeps them."""
    return [site.receive(path).path for path in sorted(folder.glob("*.dcm"))]


def middle_saliency(cells: int, side: int = 14) -> NDArray[np.uint8]:
    """A classifier that looked at the middle of every cell, (cells, side, side)."""
    across = np.linspace(-1, 1, side)
    spot = 255 * np.exp(-4 * (across[:, None] ** 2 + across**2))
    return np.repeat(spot.astype(np.uint8)[None], cells, axis=0)


def cells_by_colour(slide: Slide, mpp: float = 1.0) -> tuple[Cell, ...]:
    """Dark violet spots of the size of a nucleus, each as a round cell of some class."""
    width, height = slide.size
    image = slide.read(Box(x0=0, y0=0, x1=width, y1=height), mpp).astype(np.int16)
    stained = (image[..., 1] < 110) & (image[..., 2] - image[..., 1] > 25)
    spots, count = ndimage.label(ndimage.binary_opening(stained, iterations=2))
    areas = ndimage.sum_labels(stained, spots, range(1, count + 1)) * mpp**2
    centres = ndimage.center_of_mass(stained, spots, range(1, count + 1))
    scale = mpp / slide.mpp
    found = [(x * scale, y * scale, area) for (y, x), area in zip(centres, areas, strict=True) if 25 < area < 250]
    names = np.random.default_rng(2).choice(CELL_CLASSES, len(found), p=_SHARES)
    return tuple(
        build_cell(number, str(name), (x, y), 1.35 * (area / np.pi) ** 0.5 / slide.mpp)
        for number, ((x, y, area), name) in enumerate(zip(found, names, strict=True), 1)
    )


_SHARES = np.array((4, 8, 17, 22, 31, 40, 6, 1, 2, 1, 4, 25, 30, 9, 20, 27, 2, 3, 1, 6, 3, 5)) / 267


def _store_report(
    site: Site,
    case_id: str,
    report: Report,
    run: int,
    slide_paths: Sequence[Path] = (),
    picture: Image.Image | None = None,
) -> None:
    report = replace(report, case_id=case_id)
    folder = site.folder / case_id / "revision-0"
    folder.mkdir(parents=True)
    made = write_results(report, slide_paths, load_codes(), folder) if slide_paths else ()
    (folder / "result.json").write_bytes(result_json(report))
    (folder / "oru.hl7").write_bytes(encode_oru(report, load_codes(), ResultsConfig()))
    if report.analysis is not None:
        (picture or _overview(report)).save(folder / "overview.png")
        save_analysis(report.analysis, analysis_file(site.folder, case_id, run))
    rows = [
        {
            "kind": written.kind,
            "path": written.path,
            "sop_class_uid": written.sop_class_uid,
            "sop_instance_uid": written.sop_instance_uid,
            "series_instance_uid": written.series_instance_uid,
        }
        for written in made
    ]
    plain = (("RESULT", "result.json"), ("OVERVIEW", "overview.png"), ("ORU", "oru.hl7"))
    rows += [{"kind": kind, "path": folder / name} for kind, name in plain if (folder / name).is_file()]
    with site.database.write() as connection:
        _store_parts(connection, case_id, report, exists=bool(slide_paths))
        if report.analysis is not None:
            keep_run(connection, _record_of(report, run, tuple(slide_paths)))
        for row in rows:
            common = {"case_id": case_id, "revision": 0, "name": row["path"].name, "sha256": ""}
            media_type = _MEDIA.get(row["kind"], "application/dicom")
            values = {**common, **row, "path": str(row["path"]), "media_type": media_type, "created_at": _now()}
            connection.execute(objects.insert().values(**values))


def _record_of(report: Report, run: int, files: tuple[Path, ...]) -> RunRecord:
    return RunRecord(
        case_id=report.case_id,
        run=run,
        revision=report.revision,
        files=files,
        slide=report.slide,
        bundle=report.bundle,
        field_um=21.6,
        warnings=report.warnings,
        analysed_at=report.analysed_at,
    )


def _store_parts(connection: sa.Connection, case_id: str, report: Report, *, exists: bool) -> None:
    """Order, slide and a refused delivery of a case."""
    order_id = f"order of {case_id}"
    series = report.slide.series_instance_uid if exists else f"2.25.{int(case_id[1:], 16)}"
    body = cases.ORDER.dump_python(report.order, mode="json")
    connection.execute(
        orders.insert().values(
            id=order_id, business_key=order_id, state="open", body=body, received_at=_now(), updated_at=_now()
        )
    )
    connection.execute(
        slides.insert().values(
            series_instance_uid=series,
            study_instance_uid=report.slide.study_instance_uid,
            state="complete",
            info=cases.SLIDE_INFO.dump_python(report.slide, mode="json"),
            first_instance_at=_now(),
            last_instance_at=_now(),
        )
    )
    about = {"order_id": order_id, "series_instance_uid": series, "slide_digest": report.slide.digest}
    result = {"result_status": report.status.value, "synthetic": report.slide.synthetic, "analysed_at": _now()}
    cases.note(connection, case_id, "result made", **about, **result)
    connection.execute(
        deliveries.insert().values(
            id=f"{case_id} pacs",
            case_id=case_id,
            revision=0,
            destination="pacs",
            kind="dicom",
            state="refused",
            attempts=2,
            problem="association rejected",
            updated_at=_now(),
        )
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _thumbnail(slide: Slide) -> Image.Image:
    width, height = slide.size
    return Image.fromarray(slide.read(Box(x0=0, y0=0, x1=width, y1=height), slide.mpp * max(width, height) / 1500))


def _overview(report: Report) -> Image.Image:
    width, height = report.slide.size
    picture = Image.fromarray(np.full((height // 2, width // 2, 3), 235, np.uint8))
    pen = ImageDraw.Draw(picture)
    for cell in report.analysis.cells if report.analysis else ():
        pen.polygon([(x / 2, y / 2) for x, y in cell.polygon], outline=(75, 47, 127), fill=(190, 170, 215))
    return picture


def only_case(database: Database) -> CaseView:
    """The case of a database that has one."""
    (row,) = list_cases(database).rows
    view = read_case(database, row.case_id)
    assert view is not None
    return view
