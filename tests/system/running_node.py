"""`marrow-node serve` as a site runs it, which a test may kill at any moment and start again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from node.cases import list_cases, read_case
from node.database import Database
from node.people.accounts import Role, add_account, list_accounts
from node.people.passwords import Passwords
from node.views import CaseRow, CaseState, CaseView, WorklistQuery
from tests.system.lis import Lis
from tests.system.orthanc import Orthanc
from tests.system.processes import wait_until

START_TIMEOUT_S = 120.0
REPOSITORY = Path(__file__).resolve().parents[2]


class RunningNode:
    """A node in a home of its own; ports are free ones, chosen anew at each start."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.database = Database(f"sqlite:///{home / 'node.sqlite'}")
        self.ports: dict[str, int] = {}
        self.config = home / "node.toml"
        self._process: subprocess.Popen[bytes] | None = None

    def configure(
        self,
        *,
        orthanc: Orthanc | None = None,
        lis: Lis | None = None,
        sections: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        """Write the site's file: quick waits, the whole slide counted, the peers that are given."""
        wanted: dict[str, dict[str, Any]] = {
            "dicom": {"port": 0},
            "hl7": {"port": 0},
            "web": {"port": 0},
            "intake": {"quiet_s": 0.3, "incomplete_s": 3.0},
            "analysis": {"roi": "whole", "tiles": "all", "minimum_cells": 5, "check_quality": False},
            "retry": {"delivery_first_s": 0.5, "delivery_longest_s": 1.0, "analysis_first_s": 0.2},
            "log": {"level": "info"},
        }
        for section, keys in (sections or {}).items():
            wanted.setdefault(section, {}).update(keys)
        lines = [f"home = {json.dumps(str(self.home))}"]
        for section, keys in wanted.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        if orthanc is not None:
            lines += ["[[pacs]]", 'name = "archive"', f'ae_title = "{orthanc.ae_title}"', 'host = "127.0.0.1"']
            lines += [f"port = {orthanc.dicom_port}"]
        if lis is not None:
            lines += ["[[lis]]", 'name = "lis"', 'host = "127.0.0.1"', f"port = {lis.port}"]
        self.home.mkdir(parents=True, exist_ok=True)
        self.config.write_text("\n".join(lines) + "\n")

    def add_pacs(self, name: str, **keys: Any) -> None:
        """Configure one more archive."""
        table = {"name": name, **keys}
        lines = ["[[pacs]]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        with self.config.open("a") as file:
            file.write("\n".join(lines) + "\n")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `marrow-node` with this node's configuration."""
        command = [sys.executable, "-m", "node", *arguments, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)

    def start(self) -> None:
        """Start the node and wait until its worker is ready."""
        announced = self.home / "run.json"
        announced.unlink(missing_ok=True)
        with (self.home / "node.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "node", "serve", "--config", str(self.config)], stderr=log, cwd=REPOSITORY
            )
        process = self._process

        def up() -> bool:
            assert process.poll() is None, f"the node ended: {self.log()[-2000:]}"
            return announced.is_file()

        wait_until(up, "the node is up", START_TIMEOUT_S)
        self.ports = json.loads(announced.read_text())

    def stop(self) -> None:
        """End the node as its service manager would."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None
        self.database.close()

    def kill(self) -> None:
        """SIGKILL the node's first process; its worker sees the pipe close."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)
        self._process = None

    def kill_worker(self) -> None:
        """SIGKILL the worker."""
        os.kill(self.worker_pid(), signal.SIGKILL)

    def worker_pid(self) -> int:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        tasks = children.parent.parent.iterdir()
        found = {int(pid) for task in tasks for pid in (task / "children").read_text().split()}
        (pid,) = found
        return pid

    def client(self, role: Role = Role.REVIEWER) -> httpx.Client:
        """A client of the web side in which a person of that role, added for it, has signed in."""
        password = "a quiet sentence of tests"
        if role not in {account.name for account in list_accounts(self.database)}:
            who = {"name": role.value, "full_name": f"Test {role.capitalize()}", "role": role, "password": password}
            add_account(self.database, Passwords(), **who, actor="test")
        client = httpx.Client(base_url=f"http://127.0.0.1:{self.ports['web']}", timeout=30)
        client.post("/api/session", json={"name": role.value, "password": password}).raise_for_status()
        return client

    def log(self) -> str:
        return (self.home / "node.log").read_text(errors="replace")

    def rows(self) -> tuple[CaseRow, ...]:
        return list_cases(self.database, WorklistQuery(limit=1000)).rows

    def case(self, accession: str) -> CaseView | None:
        """The case of an accession number, once there is one."""
        for row in self.rows():
            if row.accession_number == accession and row.state is not CaseState.CANCELLED:
                return read_case(self.database, row.case_id)
        return None

    def wait_for_state(self, accession: str, *states: CaseState, timeout_s: float = 120.0) -> CaseView:
        """The case, once it is in one of `states`."""

        def reached() -> CaseView | None:
            view = self.case(accession)
            return view if view is not None and view.row.state in states else None

        try:
            return wait_until(reached, f"{accession} is {' or '.join(states)}", timeout_s)
        except AssertionError as exc:
            view = self.case(accession)
            events = [] if view is None else [f"{e.state}: {e.cause}" for e in view.events]
            raise AssertionError(f"{exc}; events {events}; log {self.log()[-3000:]}") from None

    def workflow_ended(self, case_id: str) -> bool:
        """Whether no run of the case is in hand or waits."""
        with self.database.read() as connection:
            going = connection.execute(
                sa.text(
                    "SELECT count(*) FROM workflow_status"
                    " WHERE workflow_uuid LIKE :key AND status IN ('PENDING', 'ENQUEUED')"
                ),
                {"key": f"count:{case_id}:%"},
            ).scalar_one()
            return bool(going == 0)

    def steps_done(self) -> list[str]:
        """Names of the steps that workflows have recorded, in order."""
        with self.database.read() as connection:
            rows = connection.execute(sa.text("SELECT function_name FROM operation_outputs ORDER BY rowid")).scalars()
            return list(rows)
