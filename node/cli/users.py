"""`marrow-node user`: who may use the pages."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from node.database import Database
from node.opening import prepare
from node.people import accounts
from node.people.accounts import Role
from node.people.passwords import Passwords
from node.settings import load_settings

Config = Annotated[Path | None, typer.Option(help="The site's TOML file.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="What the person signs in with.")]

app = typer.Typer(help="Accounts of the people who use the pages.", no_args_is_help=True)
_PASSWORD = "NODE_USER_PASSWORD"  # noqa: S105 - the name of a variable


@app.command()
def add(
    name: Name,
    full_name: Annotated[str, typer.Option(help="As it stands under a report.")],
    role: Annotated[Role, typer.Option(help="viewer: look; reviewer: also change and sign; admin: all.")],
    config: Config = None,
) -> None:
    """Add a person; the password is asked for, or taken from NODE_USER_PASSWORD."""
    with _database(config) as database:
        password = _new_password()
        passwords, person = Passwords(), getpass.getuser()
        accounts.add_account(
            database, passwords, name=name, full_name=full_name, role=role, password=password, actor=person
        )
    print(f"{name}: added as {role}")


@app.command("list")
def show(config: Config = None) -> None:
    """Show every account."""
    table = Table(box=SIMPLE_HEAD)
    for heading in ("name", "full name", "role", "since", ""):
        table.add_column(heading)
    with _database(config) as database:
        for account in accounts.list_accounts(database):
            state = "disabled" if account.disabled else ""
            since = f"{account.created_at.astimezone():%Y-%m-%d}"
            table.add_row(account.name, account.full_name, account.role, since, state)
    Console().print(table)


@app.command()
def disable(name: Name, config: Config = None) -> None:
    """Let a person sign in no more, and sign them out; what they did keeps their name."""
    with _database(config) as database:
        accounts.disable_account(database, name, actor=getpass.getuser())
    print(f"{name}: disabled")


@app.command()
def enable(name: Name, config: Config = None) -> None:
    """Let a disabled person sign in again, with the password they had."""
    with _database(config) as database:
        accounts.enable_account(database, name, actor=getpass.getuser())
    print(f"{name}: enabled")


@app.command()
def password(name: Name, config: Config = None) -> None:
    """Set a person's password, asked for or taken from NODE_USER_PASSWORD; ends their sessions."""
    with _database(config) as database:
        accounts.set_password(database, Passwords(), name, _new_password(), actor=getpass.getuser())
    print(f"{name}: password changed")


@contextmanager
def _database(config: Path | None) -> Iterator[Database]:
    database = prepare(load_settings(config).database_url)  # people may be added before the node's first start
    try:
        yield database
    finally:
        database.close()


def _new_password() -> str:
    given = os.environ.get(_PASSWORD)
    return given or str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
