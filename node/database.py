"""Transactions on the node's database: SQLite (WAL, every commit fsynced) or PostgreSQL."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

BUSY_TIMEOUT_MS = 30_000
_WRITERS = 0x4D4152524F57  # "MARROW": the advisory lock of the node's writers


class Database:
    """Transactions on the node's database.

    Parameters
    ----------
    url : str
        SQLAlchemy address, such as ``sqlite:////srv/node.sqlite`` or ``postgresql+psycopg://host/marrow``.

    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction; on return it is on disk. Writers take turns, so what one read stays true while it writes.

        SQLite has one writer at a time by itself; PostgreSQL is told so by an advisory lock for each transaction.
        The transactions are short: no file, network or model is touched in one.
        """
        with self.engine.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITERS)))
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view that takes no lock."""
        with self.engine.connect().execution_options(node_read_only=True) as connection:
            yield connection

    def close(self) -> None:
        self.engine.dispose()


def _engine(url: str) -> Engine:
    engine = sa.create_engine(url, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # this module, not the driver, begins transactions
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",  # in WAL mode: each commit is fsynced before it returns
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("node_read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
