"""Opening the database: a new one is made, an old one is brought to this version."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import OperationalError

from node.database import Database
from node.errors import SettingsError


def migrate(database: Database) -> None:
    """Create the tables, or bring them to this version (alembic, `node/migrations`)."""
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with database.write() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")


def open_existing(url: str) -> Database:
    """The database a node has already made.

    Raises
    ------
    SettingsError
        There is none yet, or it cannot be reached.

    """
    database = Database(url)
    path = database.engine.url.database
    if database.engine.dialect.name == "sqlite" and path and not Path(path).is_file():
        msg = f"there is no database at {path}; start the node once with `marrow-node serve`, or check `home`"
        raise SettingsError(msg)
    try:
        with database.read() as connection:
            known = sa.inspect(connection).has_table("cases")
    except OperationalError as exc:
        msg = f"database.url: {database.engine.url.render_as_string()} cannot be reached; check address and server"
        raise SettingsError(msg) from exc
    if not known:
        msg = "database.url names a database without the node's tables; start the node once with `marrow-node serve`"
        raise SettingsError(msg)
    return database


def prepare(url: str) -> Database:
    """Open the database, creating its file's folder and migrating the tables.

    Raises
    ------
    SettingsError
        It cannot be opened.

    """
    database = Database(url)
    path = database.engine.url.database
    try:
        if database.engine.dialect.name == "sqlite" and path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        migrate(database)
    except (OperationalError, OSError) as exc:
        msg = f"database.url: {database.engine.url.render_as_string()} cannot be opened ({type(exc).__name__}); "
        raise SettingsError(msg + "check address, server and permissions") from exc
    return database
