"""Signing in: whose name and password these are, and what slows guessing down.

An unknown name, a disabled account and a wrong password take the same time and get the same answer. Failures are
counted in the database by account and by address, so that a restart forgives nobody.
"""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from node import audit
from node.database import Database
from node.errors import SignInRefused, SlowDown
from node.people.accounts import Person, find_account, person_of
from node.people.passwords import Passwords
from node.tables import sign_in_failures

_FORGOTTEN_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """So many failures cost nothing; from there on the wait doubles from one second up to `longest_s`."""

    free: int
    longest_s: int

    def wait_s(self, failures: int) -> int:
        return 0 if failures < self.free else min(2 ** min(failures - self.free, 30), self.longest_s)


BY_ACCOUNT = Limit(free=5, longest_s=60)  # short, for else anyone could keep a colleague out
BY_ADDRESS = Limit(free=20, longest_s=900)


class SignIn:
    """Checks names and passwords, one at a time: a hash takes 64 MiB, and guesses must not overtake their count."""

    def __init__(self, database: Database, passwords: Passwords) -> None:
        self._database = database
        self._passwords = passwords
        self._turn = threading.Lock()

    def check(self, name: str, password: str, address: str) -> Person:
        """Whose name and password these are; `address` is where they came from.

        Raises
        ------
        SignInRefused
            Nobody's.
        SlowDown
            The account or the address has failed too often of late.

        """
        name = name.strip().lower()
        limits = {f"account {name}": BY_ACCOUNT, f"address {address}": BY_ADDRESS}
        with self._turn:
            with self._database.read() as connection:
                account = find_account(connection, name)
                wait_s = max(_wait_s(connection, origin, limit) for origin, limit in limits.items())
            usable = None if account is None or account.disabled else account
            if usable is not None and self._passwords.seen(usable.password_hash, password):
                return person_of(usable)
            if wait_s > 0:
                raise SlowDown(wait_s)
            if not self._passwords.matches(usable.password_hash if usable is not None else None, password):
                self._failed(tuple(limits), address, name if account is not None else "")
                msg = "name or password is wrong, or the account is disabled"
                raise SignInRefused(msg)
        assert usable is not None
        with self._database.write() as connection:
            connection.execute(sign_in_failures.delete().where(sign_in_failures.c.origin == f"account {name}"))
        return person_of(usable)

    def _failed(self, origins: tuple[str, ...], address: str, known_name: str) -> None:
        """Count a failure. A name that is no account's is not kept: people type passwords there."""
        now = datetime.now(UTC)
        with self._database.write() as connection:
            connection.execute(sign_in_failures.delete().where(sign_in_failures.c.last_at < now - _FORGOTTEN_AFTER))
            for origin in origins:
                again = sign_in_failures.update().where(sign_in_failures.c.origin == origin)
                if not connection.execute(again.values(failures=sign_in_failures.c.failures + 1, last_at=now)).rowcount:
                    connection.execute(sign_in_failures.insert().values(origin=origin, failures=1, last_at=now))
            audit.record(connection, address, "sign-in failed", subject=known_name)


def _wait_s(connection: Connection, origin: str, limit: Limit) -> int:
    """Whole seconds until this origin is heard again, rounded up; 0 when it is heard now."""
    row = connection.execute(sa.select(sign_in_failures).where(sign_in_failures.c.origin == origin)).one_or_none()
    if row is None or datetime.now(UTC) - row.last_at > _FORGOTTEN_AFTER:
        return 0
    until = row.last_at + timedelta(seconds=limit.wait_s(row.failures))
    return max(0, -int((datetime.now(UTC) - until).total_seconds() // 1))
