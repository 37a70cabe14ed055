"""A node started as a site starts it, `marrow-node serve` with a configuration file, and ended with the block."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.errors import NodeError

_START_TIMEOUT_S = 180.0
_STOP_TIMEOUT_S = 20.0
_POLL_S = 0.1


class NodeDidNotStart(NodeError):
    """The node of the demonstration ended or did not come up; the message is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a demonstration's configuration file says."""

    home: Path
    pacs_port: int
    lis_port: int
    roi: str = "auto"
    tiles: str = "auto"
    port_base: int | None = None

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.home / 'node.sqlite'}"

    def toml(self) -> str:
        """The configuration file."""
        dicom, hl7, web = (0, 0, 0) if self.port_base is None else range(self.port_base, self.port_base + 3)
        return "\n".join(
            (
                f"home = {json.dumps(str(self.home))}",
                f"dicom = {{ port = {dicom} }}",
                f"hl7 = {{ port = {hl7} }}",
                f"web = {{ port = {web}, demo_reviewer = true }}",
                "intake = { quiet_s = 0.5 }",
                f'analysis = {{ roi = "{self.roi}", tiles = "{self.tiles}" }}',
                'log = { level = "warning" }',
                "[[pacs]]",
                'name = "pacs"',
                'ae_title = "DEMOPACS"',
                'host = "127.0.0.1"',
                f"port = {self.pacs_port}",
                "[[lis]]",
                'name = "lis"',
                'host = "127.0.0.1"',
                f"port = {self.lis_port}",
                "",
            )
        )


@contextmanager
def start_node(site: Site) -> Iterator[dict[str, int]]:
    """Start the node; yields its ports by the names dicom, hl7 and web.

    Raises
    ------
    NodeDidNotStart
        With the last line the node wrote.

    """
    site.home.mkdir(parents=True)
    config = site.home / "node.toml"
    config.write_text(site.toml(), encoding="utf-8")
    log = site.home / "node.log"
    with log.open("wb") as lines:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "node", "serve", "--config", str(config)], stderr=lines
        )
    try:
        yield _wait_for_ports(site.home / "run.json", process, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_ports(announced: Path, process: subprocess.Popen[bytes], log: Path) -> dict[str, int]:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not announced.is_file():
        if process.poll() is not None or time.monotonic() > deadline:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise NodeDidNotStart(f"the node did not start: {''.join(last)}")
        time.sleep(_POLL_S)
    ports = json.loads(announced.read_text(encoding="utf-8"))
    return {name: ports[name] for name in ("dicom", "hl7", "web")}
