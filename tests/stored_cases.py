"""Cases in a database with their files on the disk, as the node leaves them; for tests of what reads them."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import sqlalchemy as sa
from PIL import Image, ImageDraw

from dicom_io.store import FileStore, InstanceHeader
from node import cases
from node.database import Database, deliveries, instances, objects, orders, prepare, slides
from node.views import CaseState
from node.web.dicomweb import Receiver
from pipeline.domain import Priority, Report
from tests.builders import build_report

_WAY = (CaseState.WAITING, CaseState.QUEUED, CaseState.RUNNING, CaseState.DELIVERING, CaseState.REPORTED)
_MEDIA = {"RESULT": "application/json", "OVERVIEW": "image/png", "ORU": "x-application/hl7-v2+er7"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A database, a store of instances and a folder for the files of the cases."""

    database: Database
    store: FileStore
    folder: Path
    released: list[frozenset[str]] = field(default_factory=list)

    @classmethod
    @contextmanager
    def at(cls, home: Path) -> Iterator[Self]:
        """A new site in `home`."""
        database = prepare(f"sqlite:///{home / 'node.sqlite'}")
        yield cls(database=database, store=FileStore(home / "store", reserve_bytes=0), folder=home / "results")
        database.close()

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


def store_case(site: Site, state: CaseState, *, cause: str = "", report: Report | None = None, **values: Any) -> str:
    """A case that went the usual way to `state`; with a report it has a result, files and a delivery."""
    columns = {
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
        _store_report(site, case_id, report)
    return case_id


def reported_case(site: Site, **changes: Any) -> str:
    """A finished case with the result of `build_report`."""
    return store_case(site, CaseState.REPORTED, report=build_report(**changes))


def result_document(report: Report) -> dict[str, Any]:
    """`result.json` of design.md, the parts the pages read."""
    bundle = {"name": report.bundle.name, "version": report.bundle.version, "digest": report.bundle.digest}
    if report.analysis is None:
        return {"bundle": bundle, "differential": None, "reason": report.reason, "warnings": list(report.warnings)}
    differential = report.analysis.differential
    rows = [
        {"name": row.name, "count": row.count, "percent": row.percent, "ci95": list(row.ci95), "flag": row.flag}
        for row in differential.components
    ]
    return {
        "bundle": bundle | {"unrecognised": list(report.bundle.unrecognised)},
        "differential": {
            "total": differential.total,
            "components": rows,
            "me_ratio": differential.me_ratio,
            "me_definition": differential.me_definition,
            "excluded": dict(differential.excluded),
        },
        "warnings": [*report.analysis.warnings, *report.warnings],
    }


def _store_report(site: Site, case_id: str, report: Report) -> None:
    folder = site.folder / case_id
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result_document(report)))
    (folder / "oru.hl7").write_text("MSH|^~\\&|\r")
    _overview(report).save(folder / "overview.png")
    now = datetime.now(UTC)
    order_id = f"order of {case_id}"
    series = f"{report.slide.series_instance_uid}.{int(case_id[1:], 16)}"
    with site.database.write() as connection:
        connection.execute(
            orders.insert().values(
                id=order_id,
                business_key=order_id,
                state="open",
                body=cases.ORDER.dump_python(report.order, mode="json"),
                received_at=now,
                updated_at=now,
            )
        )
        connection.execute(
            slides.insert().values(
                series_instance_uid=series,
                study_instance_uid=report.slide.study_instance_uid,
                state="complete",
                info=cases.SLIDE_INFO.dump_python(report.slide, mode="json"),
                first_instance_at=now,
                last_instance_at=now,
            )
        )
        cases.note(
            connection,
            case_id,
            "result made",
            order_id=order_id,
            series_instance_uid=series,
            result_status=report.status.value,
            synthetic=report.slide.synthetic,
        )
        for kind, name in (("RESULT", "result.json"), ("OVERVIEW", "overview.png"), ("ORU", "oru.hl7")):
            connection.execute(
                objects.insert().values(
                    case_id=case_id,
                    revision=0,
                    kind=kind,
                    name=name,
                    media_type=_MEDIA[kind],
                    path=str(folder / name),
                    sha256="",
                    created_at=now,
                )
            )
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
                updated_at=now,
            )
        )


def _overview(report: Report) -> Image.Image:
    width, height = report.slide.size
    picture = Image.fromarray(np.full((height // 2, width // 2, 3), 235, np.uint8))
    pen = ImageDraw.Draw(picture)
    for cell in report.analysis.cells if report.analysis else ():
        pen.polygon([(x / 2, y / 2) for x, y in cell.polygon], outline=(75, 47, 127), fill=(190, 170, 215))
    return picture
