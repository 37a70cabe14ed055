"""Slides to send: the same pixels under different identities."""

import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from dicom_io.header import parse_header
from dicom_io.wsi import WsiIdentity, write_pyramid
from pipeline.domain import Patient, Slide


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The files of one slide and what they say of it."""

    accession: str
    container: str
    patient: Patient
    paths: tuple[Path, ...]


def write_scan(slide: Slide, folder: Path, accession: str) -> Scan:
    """Scan `slide` under an accession number."""
    patient = Patient(patient_id=f"P-{accession}", name="Test^System", birth_date=date(1960, 1, 1), sex="F")
    container = f"{accession}-A-1"
    identity = WsiIdentity(
        patient=patient,
        container_identifier=container,
        accession_number=accession,
        acquired_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        synthetic=True,
    )
    paths = write_pyramid(slide, folder, identity)
    return Scan(accession=accession, container=container, patient=patient, paths=paths)


def scan_of(folder: Path) -> Scan:
    """A slide that is on the disk already."""
    paths = tuple(sorted(folder.glob("*.dcm")) or sorted(folder.iterdir()))
    header = parse_header(paths[0])
    return Scan(
        accession=header.accession_number,
        container=header.container_identifier,
        patient=header.patient,
        paths=paths,
    )


def dcmsend(port: int, paths: tuple[Path, ...]) -> None:
    """Send instances with dcmtk, in one association, each in the syntax it is stored in."""
    program = shutil.which("dcmsend")
    assert program is not None, "Debian's dcmtk is missing: apt-get install dcmtk"
    command = [program, "--decompress-never", "-aec", "MARROW", "127.0.0.1", str(port), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
