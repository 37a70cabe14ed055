"""Debian's PostgreSQL, one cluster for the tests that need one."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.system.processes import free_port

_VERSIONS = Path("/usr/lib/postgresql")


class Postgres:
    """A cluster with one empty database, `marrow`; as root it runs as the user postgres."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="marrow-postgres-"))  # pytest's folders are closed to other users
        self._port = free_port()
        self.url = f"postgresql+psycopg://marrow@127.0.0.1:{self._port}/marrow"

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "marrow")
        options = (
            f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} -c fsync=off"
        )
        self._run("pg_ctl", "-D", self._data, "-o", options, "-l", str(self._folder / "log"), "-w", "start")
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", "marrow", "marrow")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder)

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        programs = sorted(_VERSIONS.glob(f"*/bin/{program}"))
        assert programs, "Debian's postgresql is missing: apt-get install postgresql"
        owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        command = [str(programs[-1]), *arguments]
        log = self._folder / f"{program}.log"
        with log.open("ab") as output:
            done = subprocess.run(
                command,
                check=False,
                stdout=output,
                stderr=output,
                cwd="/",
                user=owner.pw_uid if owner else None,
                group=owner.pw_gid if owner else None,
            )
        assert done.returncode == 0, log.read_text()
