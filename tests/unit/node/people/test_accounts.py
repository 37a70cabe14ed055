"""Accounts, passwords, sign-in and its slowing down, sessions: on a real database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from node.database import Database
from node.errors import AccountError, SignInRefused, SlowDown, UnknownAccount
from node.people.accounts import (
    Person,
    Role,
    add_account,
    disable_account,
    enable_account,
    full_names,
    list_accounts,
    set_password,
)
from node.people.passwords import Passwords
from node.people.sessions import Sessions, token_hash
from node.people.sign_in import BY_ACCOUNT, BY_ADDRESS, SignIn
from node.tables import accounts, audit, sessions, sign_in_failures

PASSWORD = "a quiet sentence"
ANNA = Person(name="anna", full_name="Dr. Anna Beispiel", role=Role.REVIEWER)


@pytest.fixture(scope="module")
def passwords() -> Passwords:
    return Passwords()


@pytest.fixture
def anna(database: Database, passwords: Passwords) -> Person:
    add(database, passwords)
    return ANNA


@pytest.fixture
def sign_in(database: Database, passwords: Passwords) -> SignIn:
    return SignIn(database, passwords)


@pytest.fixture
def book(database: Database) -> Iterator[Sessions]:
    return Sessions(database, idle_s=600, longest_s=3600)


def add(database: Database, passwords: Passwords, **changes: str) -> None:
    values = {"name": "anna", "full_name": "Dr. Anna Beispiel", "password": PASSWORD, **changes}
    add_account(database, passwords, role=Role.REVIEWER, actor="root", **values)


def audited(database: Database) -> list[tuple[str, str, str]]:
    with database.read() as connection:
        rows = connection.execute(sa.select(audit).order_by(audit.c.id)).all()
    return [(row.actor, row.action, row.subject) for row in rows]


def long_ago(database: Database, table: sa.Table, column: str, seconds: float) -> None:
    with database.write() as connection:
        connection.execute(table.update().values({column: datetime.now(UTC) - timedelta(seconds=seconds)}))


def test_roles_include_those_before_them() -> None:
    assert Role.ADMIN.includes(Role.REVIEWER)
    assert Role.REVIEWER.includes(Role.REVIEWER)
    assert not Role.VIEWER.includes(Role.REVIEWER)


def test_an_account_signs_in_with_its_password_only(anna: Person, sign_in: SignIn, database: Database) -> None:
    assert sign_in.check(" Anna ", PASSWORD, "10.1.0.7") == anna
    with pytest.raises(SignInRefused):
        sign_in.check("anna", PASSWORD + ".", "10.1.0.7")
    with pytest.raises(SignInRefused):
        sign_in.check("otto", PASSWORD, "10.1.0.7")
    failed = [("10.1.0.7", "sign-in failed", "anna"), ("10.1.0.7", "sign-in failed", "")]
    assert audited(database) == [("root", "account added", "anna"), *failed]


def test_the_password_is_kept_as_argon2id_only(anna: Person, database: Database) -> None:
    with database.read() as connection:
        kept = connection.execute(sa.select(accounts.c.password_hash)).scalar_one()
    assert kept.startswith("$argon2id$")
    assert PASSWORD not in kept


def test_a_password_is_the_same_in_every_unicode_form(database: Database, passwords: Passwords) -> None:
    add(database, passwords, password="Grüße aus Köln")
    assert SignIn(database, passwords).check("anna", "Gru\u0308ße aus Ko\u0308ln", "")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "Anna"}, "name"),
        ({"name": "an na"}, "name"),
        ({"name": "node"}, "name"),
        ({"full_name": " "}, "full name"),
        ({"password": "elevenchars"}, "password"),
        ({"password": "x" * 257}, "password"),
    ],
)
def test_an_unfit_account_names_the_field(
    database: Database, passwords: Passwords, changes: dict[str, str], named: str
) -> None:
    with pytest.raises(AccountError, match=f"^{named}: "):
        add(database, passwords, **changes)
    assert list_accounts(database) == ()


def test_failures_slow_an_account_down_from_wherever_they_come(
    anna: Person, sign_in: SignIn, database: Database
) -> None:
    for number in range(BY_ACCOUNT.free):
        with pytest.raises(SignInRefused):
            sign_in.check("anna", "wrong", f"10.1.0.{number}")
    with pytest.raises(SlowDown) as told:
        sign_in.check("anna", PASSWORD, "10.2.0.1")
    assert told.value.wait_s == 1
    long_ago(database, sign_in_failures, "last_at", 1.1)
    assert sign_in.check("anna", PASSWORD, "10.2.0.1") == anna
    with pytest.raises(SignInRefused):
        sign_in.check("anna", "wrong", "10.2.0.1")  # the right password made the count begin anew


def test_who_is_in_already_is_not_kept_out_by_the_failures_of_others(anna: Person, sign_in: SignIn) -> None:
    sign_in.check("anna", PASSWORD, "10.1.0.7")
    for _ in range(BY_ACCOUNT.free):
        with pytest.raises(SignInRefused):
            sign_in.check("anna", "wrong", "10.9.0.9")
    with pytest.raises(SlowDown):
        sign_in.check("anna", "wrong", "10.9.0.9")
    assert sign_in.check("anna", PASSWORD, "10.1.0.7") == anna


def test_failures_slow_an_address_down_whatever_the_name(anna: Person, sign_in: SignIn, database: Database) -> None:
    with database.write() as connection:
        row = {"origin": "address 10.1.0.7", "failures": BY_ADDRESS.free + 4, "last_at": datetime.now(UTC)}
        connection.execute(sign_in_failures.insert().values(**row))
    with pytest.raises(SlowDown) as told:
        SignIn(database, Passwords()).check("otto", PASSWORD, "10.1.0.7")  # after a restart too
    assert told.value.wait_s == 16
    assert sign_in.check("anna", PASSWORD, "10.1.0.8") == anna


def test_the_wait_has_an_end() -> None:
    assert [BY_ACCOUNT.wait_s(failures) for failures in (4, 5, 6, 9, 12, 5000)] == [0, 1, 2, 16, 60, 60]


def test_old_failures_are_forgotten(anna: Person, sign_in: SignIn, database: Database) -> None:
    for _ in range(BY_ACCOUNT.free):
        with pytest.raises(SignInRefused):
            sign_in.check("anna", "wrong", "10.1.0.7")
    long_ago(database, sign_in_failures, "last_at", 3601)
    with pytest.raises(SignInRefused):
        sign_in.check("anna", "wrong", "10.1.0.7")
    with database.read() as connection:
        assert connection.execute(sa.select(sign_in_failures.c.failures)).scalars().all() == [1, 1]


def test_a_session_is_known_by_the_hash_of_its_token(anna: Person, book: Sessions, database: Database) -> None:
    token = book.open(anna, "10.1.0.7")
    assert book.person(token) == anna
    assert book.person(token[:-1]) is None
    with database.read() as connection:
        assert connection.execute(sa.select(sessions.c.token_hash)).scalar_one() == token_hash(token) != token
    book.close(token)
    assert book.person(token) is None
    assert audited(database)[1:] == [("anna", "signed in", ""), ("anna", "signed out", "")]


def test_a_session_ends_when_it_is_idle(anna: Person, book: Sessions, database: Database) -> None:
    token = book.open(anna, "")
    long_ago(database, sessions, "used_at", 599)
    assert book.person(token, used=False) == anna  # what a page asks by itself does not count
    long_ago(database, sessions, "used_at", 599)
    assert book.person(token) == anna
    with database.read() as connection:
        used_at = connection.execute(sa.select(sessions.c.used_at)).scalar_one()
    assert datetime.now(UTC) - used_at < timedelta(seconds=60)
    long_ago(database, sessions, "used_at", 601)
    assert book.person(token) is None


def test_a_session_ends_however_busy_it_is(anna: Person, book: Sessions, database: Database) -> None:
    token = book.open(anna, "")
    long_ago(database, sessions, "opened_at", 3601)
    assert book.person(token) is None
    book.open(anna, "")
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(sessions)).scalar_one() == 1


def test_disabling_ends_sessions_and_sign_in(anna: Person, book: Sessions, sign_in: SignIn, database: Database) -> None:
    sign_in.check("anna", PASSWORD, "")
    token = book.open(anna, "")
    disable_account(database, "anna", actor="root")
    assert book.person(token) is None
    with pytest.raises(SignInRefused):
        sign_in.check("anna", PASSWORD, "")
    with pytest.raises(UnknownAccount):
        disable_account(database, "otto", actor="root")
    enable_account(database, "anna", actor="root")
    assert sign_in.check("anna", PASSWORD, "") == anna
    assert book.person(token) is None, "what was ended stays ended"
    assert audited(database)[-1] == ("root", "account enabled", "anna")
    with pytest.raises(UnknownAccount):
        enable_account(database, "otto", actor="root")


def test_everybody_has_a_full_name(anna: Person, database: Database) -> None:
    assert full_names(database) == {"anna": "Dr. Anna Beispiel", "demo": "Demo reviewer"}


def test_a_new_password_ends_the_other_sessions(
    anna: Person, book: Sessions, sign_in: SignIn, database: Database, passwords: Passwords
) -> None:
    sign_in.check("anna", PASSWORD, "")
    here, elsewhere = book.open(anna, ""), book.open(anna, "")
    set_password(database, passwords, "anna", "another sentence", actor="anna", but_session=token_hash(here))
    assert (book.person(here), book.person(elsewhere)) == (anna, None)
    with pytest.raises(SignInRefused):
        sign_in.check("anna", PASSWORD, "")
    assert sign_in.check("anna", "another sentence", "") == anna
