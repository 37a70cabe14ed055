"""Who may use the pages: the site's own accounts, with a role each."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from node import audit
from node.database import Database
from node.errors import AccountError, UnknownAccount
from node.people.passwords import Passwords
from node.tables import accounts, sessions, sign_in_failures

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_NOT_PEOPLE = frozenset({"node", "lis", "worker", "listener", "demo"})  # actors of the history nobody may pose as


class Role(StrEnum):
    """What a person may do; each role includes those before it."""

    VIEWER = "viewer"
    REVIEWER = "reviewer"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        roles = list(Role)
        return roles.index(self) >= roles.index(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who asks. `name` is the account's, and the actor of what the person does; `demo`: nobody had to sign in."""

    name: str
    full_name: str
    role: Role
    demo: bool = False


DEMO_REVIEWER = Person(name="demo", full_name="Demo reviewer", role=Role.ADMIN, demo=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account as a list shows it."""

    name: str
    full_name: str
    role: Role
    disabled: bool
    created_at: datetime


def add_account(
    database: Database, passwords: Passwords, *, name: str, full_name: str, role: Role, password: str, actor: str
) -> None:
    """Make an account.

    Raises
    ------
    AccountError
        The name is taken or unfit, the full name is empty, or the password is too short.

    """
    if not _NAME.fullmatch(name) or name in _NOT_PEOPLE:
        msg = f"name: {name!r} cannot be used; take lower-case letters, digits and . _ - @, and no part of the node"
        raise AccountError(msg)
    if not full_name.strip():
        msg = "full name: it is empty; give the name that stands under a report"
        raise AccountError(msg)
    now = datetime.now(UTC)
    values = {
        "name": name,
        "full_name": full_name.strip(),
        "role": role.value,
        "password_hash": passwords.hash(password),
        "disabled": False,
        "created_at": now,
        "password_changed_at": now,
    }
    with database.write() as connection:
        if find_account(connection, name) is not None:
            msg = f"name: there is an account {name} already; choose another name, or set its password"
            raise AccountError(msg)
        connection.execute(accounts.insert().values(**values))
        audit.record(connection, actor, "account added", subject=name, detail=role.value)


def list_accounts(database: Database) -> tuple[Account, ...]:
    """Every account, by name."""
    with database.read() as connection:
        rows = connection.execute(sa.select(accounts).order_by(accounts.c.name)).all()
    return tuple(
        Account(
            name=row.name,
            full_name=row.full_name,
            role=Role(row.role),
            disabled=row.disabled,
            created_at=row.created_at,
        )
        for row in rows
    )


def full_names(database: Database) -> dict[str, str]:
    """What everybody is called, by account; the demo reviewer too."""
    with database.read() as connection:
        rows = connection.execute(sa.select(accounts.c.name, accounts.c.full_name)).all()
    return {DEMO_REVIEWER.name: DEMO_REVIEWER.full_name} | {row.name: row.full_name for row in rows}


def enable_account(database: Database, name: str, *, actor: str) -> None:
    """Let a person sign in again by a disabled account, with the password it had.

    Raises
    ------
    UnknownAccount
        There is no such account.

    """
    with database.write() as connection:
        _change(connection, name, disabled=False)
        audit.record(connection, actor, "account enabled", subject=name)


def disable_account(database: Database, name: str, *, actor: str) -> None:
    """Let nobody sign in by an account any more, and end its sessions; what was done under its name stays.

    Raises
    ------
    UnknownAccount
        There is no such account.

    """
    with database.write() as connection:
        _change(connection, name, disabled=True)
        connection.execute(sessions.delete().where(sessions.c.account == name))
        audit.record(connection, actor, "account disabled", subject=name)


def set_password(
    database: Database, passwords: Passwords, name: str, password: str, *, actor: str, but_session: str = ""
) -> None:
    """Change a password: sessions of the account end, but for the one whose token has the hash `but_session`.

    Raises
    ------
    UnknownAccount
        There is no such account.
    AccountError
        The password is too short or too long.

    """
    password_hash = passwords.hash(password)
    with database.write() as connection:
        _change(connection, name, password_hash=password_hash, password_changed_at=datetime.now(UTC))
        connection.execute(sessions.delete().where(sessions.c.account == name, sessions.c.token_hash != but_session))
        connection.execute(sign_in_failures.delete().where(sign_in_failures.c.origin == f"account {name}"))
        audit.record(connection, actor, "password changed", subject=name)


def find_account(connection: Connection, name: str) -> Row[Any] | None:
    """The row of an account, disabled or not."""
    return connection.execute(sa.select(accounts).where(accounts.c.name == name)).one_or_none()


def person_of(account: Row[Any]) -> Person:
    """Who an account is."""
    return Person(name=account.name, full_name=account.full_name, role=Role(account.role))


def _change(connection: Connection, name: str, **values: object) -> None:
    if not connection.execute(accounts.update().where(accounts.c.name == name).values(**values)).rowcount:
        msg = f"there is no account {name}; `marrow-node user list` lists them"
        raise UnknownAccount(msg)
