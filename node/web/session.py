"""Signing in and out, and one's own password."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from node.errors import SignInRefused
from node.people.accounts import Person, set_password
from node.people.sessions import token_hash
from node.web.identity import COOKIE, Viewer, address_of
from node.web.problems import RequestError
from node.web.sources import Sources

session = APIRouter(prefix="/api/session", tags=["session"])


class Credentials(BaseModel):
    """A name and its password."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=256)]


class NewPassword(BaseModel):
    """The password now and the one wanted."""

    model_config = ConfigDict(extra="forbid")

    current: Annotated[str, Field(max_length=256)]
    new: Annotated[str, Field(max_length=256)]


@session.post("")
def sign_in(credentials: Credentials, request: Request, response: Response, sources: Sources) -> Person:
    """Open a session, kept in a cookie that scripts cannot read."""
    address = address_of(request)
    person = sources.sign_in.check(credentials.name, credentials.password, address)
    token = sources.sessions.open(person, address)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, path="/")
    return person


@session.get("")
def signed_in(person: Viewer) -> Person:
    """Who is signed in."""
    return person


@session.delete("", status_code=204)
def sign_out(request: Request, response: Response, sources: Sources) -> None:
    """End the session."""
    if token := request.cookies.get(COOKIE):
        sources.sessions.close(token)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", path="/")


@session.put("/password", status_code=204)
def change_password(passwords: NewPassword, person: Viewer, request: Request, sources: Sources) -> None:
    """Change one's own password, which ends one's sessions elsewhere."""
    if person.demo:
        raise RequestError(409, "the demo reviewer has no password", remedy="sign in with an account")
    try:
        sources.sign_in.check(person.name, passwords.current, address_of(request))
    except SignInRefused as exc:  # 401 would say that nobody is signed in
        raise RequestError(422, "this is not your password", field="current", remedy="correct it") from exc
    set_password(
        sources.database,
        sources.passwords,
        person.name,
        passwords.new,
        actor=person.name,
        but_session=token_hash(request.cookies[COOKIE]),
    )
