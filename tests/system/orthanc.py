"""Debian's Orthanc as the PACS."""

import json
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.system.processes import free_port, wait_until


class Orthanc:
    """One Orthanc with its own storage; may be stopped and started again."""

    def __init__(self, folder: Path, *, plugins: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.ae_title = "ORTHANC"
        self.dicom_port, self.http_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self._plugins = plugins
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        program = shutil.which("Orthanc")
        assert program is not None, "Debian's orthanc is missing: apt-get install orthanc"
        configuration = {
            "Name": "test",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "DicomAet": self.ae_title,
            "DicomPort": self.dicom_port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "UnknownSopClassAccepted": True,
            "Plugins": list(self._plugins),
        }
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(configuration))
        with (self.folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen([program, str(path)], stdout=log, stderr=log)
        wait_until(self._answers, "Orthanc answers")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def instances(self) -> list[dict[str, Any]]:
        """The main tags of each instance, with its modality."""
        found = []
        for identifier in httpx.get(f"{self.url}/instances").json():
            tags = httpx.get(f"{self.url}/instances/{identifier}/simplified-tags").json()
            found.append(tags)
        return found

    def results(self) -> list[dict[str, Any]]:
        """The instances that are no slides."""
        return [tags for tags in self.instances() if tags["Modality"] != "SM"]

    def _answers(self) -> bool:
        assert self._process is not None
        ended = self._process.poll()
        assert ended is None, f"Orthanc ended with {ended}: {(self.folder / 'orthanc.log').read_text()[-2000:]}"
        try:
            return httpx.get(f"{self.url}/system").is_success
        except httpx.TransportError:
            return False
